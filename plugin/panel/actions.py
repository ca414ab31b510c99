"""What is done to hits: tagging, labelling, saving as a view, exporting; and taking it back."""

import base64

import fiftyone as fo

from alphaclip.arguments import COSINE, check
from alphaclip.errors import AlphaClipError

from ..common.forms import count, shorten
from ..common.grid import reload, remake_patches, state
from ..common.panels import event
from .questions import completed, find_above, find_these

LABEL_REGIONS = "label_regions_panel"
MAX_CHARACTERS = 1_000
DONE = {
    "tag": "tagging %s “%s”",
    "tag_samples": "tagging %s “%s”",
    "label": "labelling %s “%s”",
    "copy": "copying %s as “%s”",
    "attribute": "labelling %s in “%s”",
    "save_view": "saving %s as the view “%s”",
}
NAMED = ("label", "tag", "name", "into")
"""Of what an action was, the first of these that it has is said."""


class ActionEvents:
    """Events that change something."""

    @event
    def act(self, ctx):
        """Does an action to the regions of ``ids``, else to all at or above ``min_score``."""
        params = ctx.params
        action = check("action", params["action"], "str")
        hits = hits_to_act_on(
            ctx.dataset, completed(ctx.dataset, params["question"]), params.get("ids"),
            params.get("min_score"),
        )  # fmt: skip
        if action == "export":
            ctx.ops.browser_download(ids_url(hits), filename="regions.json")
            return {"said": "%s exported" % count(len(hits))}

        before = state(ctx.dataset)
        done = act(hits, action, params.get("value"), params)
        reload(ctx, before)
        said = "%s%s" % (
            count(done.count),
            "; %d stay as they were" % done.left if done.left else "",
        )
        return {"said": said, "done": _in_json(done)}

    @event
    def open_label_regions(self, ctx):
        """Opens the panel that the page has made a class for, as a tab beside this one's: it would
        else hide the grid, or be a third column."""
        spaces = ctx.spaces
        space = _space_with(spaces, "region_search") if spaces else None
        if space is None or _space_with(spaces, LABEL_REGIONS):
            ctx.ops.open_panel(LABEL_REGIONS, layout="horizontal")
            return

        panel = fo.Panel(type=LABEL_REGIONS)
        space.children, space.active_child = [*space.children, panel], panel.component_id
        ctx.ops.set_spaces(spaces=spaces)

    @event
    def undo(self, ctx):
        from alphaclip.indexing.act.acting import undo

        before = state(ctx.dataset)
        undone = undo(ctx.dataset, check("action", ctx.params["action"], "str"))
        remake_patches(ctx)
        reload(ctx, before)
        said = "Taken back: %d are as they were before" % undone.restored
        if undone.left:
            said += "; %d were edited or deleted since and stay as they are" % undone.left

        return {"said": said}


def hits_to_act_on(dataset, question, ids, min_score):
    """Finds what an action is for.

    Args:
        question: see :mod:`questions`
        ids: of regions; without any, all of the question at or above ``min_score``
        min_score: the lowest cosine

    Raises:
        AlphaClipError: if there is nothing
    """
    ids = check("ids", ids, "Sequence[str] | None")
    min_score = check("min_score", min_score, "float | None", COSINE)
    if not ids and min_score is None:
        raise AlphaClipError("min_score is missing: give the lowest score, or ids")

    found = find_these(dataset, question, ids) if ids else find_above(dataset, question, min_score)
    if not len(found):
        raise AlphaClipError("No region is left to act on: search again")

    return found


def act(hits, action, value, options):
    """Does an action to hits.

    Args:
        action: "tag", "label" or "save_view"
        value: the tag, class or name
        options: a dict with ``where`` ("in_place" or "copy"), ``into``, ``overwrite`` and ``add``,
            of which all may be left out

    Returns:
        an ``alphaclip.indexing.act.acting.Action``
    """
    from alphaclip.indexing.act import acting

    value = check("value", value or "", "str").strip()
    if not 0 < len(value) <= MAX_CHARACTERS:
        raise AlphaClipError("value is no name: expected 1 to %d characters" % MAX_CHARACTERS)

    if action == "tag" and not hasattr(hits, "label_ids"):
        return acting.tag_samples(hits, value)

    if action == "tag":
        return acting.tag(hits, value)

    if action == "save_view":
        return acting.save_view(hits, value, add=bool(options.get("add")))

    if action != "label":
        raise AlphaClipError("action is %r: expected tag, label, save_view or export" % action)

    if options.get("where") != "in_place":
        return acting.label(hits, value, into=options.get("into") or "found")

    return acting.label(hits, value, overwrite=bool(options.get("overwrite")))


def ids_url(hits):
    """Writes the ids of hits as a file that the browser downloads."""
    from alphaclip.indexing.act.acting import export_ids

    content = base64.b64encode(export_ids(hits).encode()).decode()
    return "data:application/json;base64," + content


def last_actions(dataset, most=10):
    """Lists what can be taken back, the newest first.

    Returns:
        a list of dicts of ``id`` and ``said``
    """
    from alphaclip.indexing.act.acting import history

    return [_in_json(action) for action in history(dataset, most) if not action.undone]


def _space_with(space, panel):
    """The space that a panel stands in; None if it is not open."""
    inner = [_space_with(one, panel) for one in space.children if isinstance(one, fo.Space)]
    is_here = any(one.type == panel for one in space.children if isinstance(one, fo.Panel))
    return space if is_here else next(filter(None, inner), None)


def _in_json(action):
    detail = action.detail
    value = next((detail[name] for name in NAMED if detail.get(name)), "")
    of = "picture" if action.kind == "tag_samples" else "region"
    said = DONE[action.kind] % (count(action.count, of), shorten(value, 60))
    return {"id": action.id, "said": said}
