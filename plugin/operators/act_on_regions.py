"""The operator that tags, labels, keeps as a view or exports the regions that a search found."""

import base64

import fiftyone.operators.types as types

from alphaclip.arguments import COSINE, check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import FieldError, region_fields
from alphaclip.indexing.dataset.schema import check_name

from ..common.forms import MESSAGE_CHARACTERS, count, dropdown, plain, read_types, refuse, reject
from ..common.grid import reload, state
from ..common.reports import ids_and_scores
from ..panel.actions import keep_done
from ..panel.asking import completed, find_above, find_these, measure
from ..panel.history import describe
from .base import FormOperator, configure

SELECTION, ABOVE = "selection", "above"
VERBS = {"tag": "Tag", "label": "Label", "save_view": "Save", "export": "Export"}
VALUES = {
    "tag": ("Tag", "as “check”; labels that have it already stay as they are"),
    "label": ("Class", "as “apple”"),
    "save_view": ("Name of the view", "as “apples to check”"),
}
PARTS = {
    "action": "str", "min_score": "float", "label_ids": "Sequence[str]", "token": "str",
    "scope": "str", "value": "str", "into": "str", "where": "str",
}  # fmt: skip
INPLACE, COPY = "in_place", "copy"
MAX_CHARACTERS = 1000


class ActOnRegions(FormOperator):
    """Does something to the regions that a search of the panel found."""

    config = configure(
        name="act_on_regions",
        label="Act on found regions",
        description="Tags, labels, saves or exports the regions that a search found",
        icon="checklist",
        unlisted=True,
        view_target=False,
        risk_level=types.RiskLevel.MEDIUM,
    )

    def resolve_input(self, ctx):
        inputs = types.Object()
        if not _has_parts(ctx, inputs):
            return types.Property(inputs, view=types.PromptView(label=self.config.label))

        action = ctx.params["action"]
        _add_hidden(inputs)
        number = _add_scope(ctx, inputs)
        if action in VALUES:
            _add_value(ctx, inputs, action)

        read_types(ctx, inputs)
        button = "%s %s" % (VERBS[action], count(number))
        view = types.PromptView(label=button, submit_button_label=button)
        return types.Property(inputs, view=view)

    def steps(self, ctx):
        hits = _hits(ctx)
        if not len(hits):
            raise AlphaClipError("No region is left to act on: search again")

        action = ctx.params["action"]
        if action == "export":
            yield _download(ctx, hits)
            yield ctx.ops.notify("%d ids exported" % len(hits), variant="success")
            return ids_and_scores(hits)

        before = state(ctx.dataset)
        done = _do(ctx, hits, action)
        if ctx.params.get("token"):
            keep_done(ctx.dataset, ctx.params["token"], done.id)

        yield from reload(ctx, before)
        message = "%s: %s" % (VERBS[action], count(done.count))
        if done.left:
            message += "; %d stay as they were" % done.left

        yield ctx.ops.notify(message, variant="success")
        return {"action": done.id, "kind": done.kind, "count": done.count, "left": done.left}


def _has_parts(ctx, inputs):
    """Looks whether all is there that the panel's buttons send; fills in what may be left out, and
    says in the form what else is missing or none."""
    if ctx.dataset is None or not ctx.params.get("asked"):
        refuse(inputs, "Nothing was searched", "Search in the panel “Region search” first.")
        return False

    try:
        ctx.params["asked"] = completed(ctx.dataset, ctx.params["asked"])
        for name in PARTS.keys() & ctx.params.keys():
            limits = COSINE if name == "min_score" else None
            ctx.params[name] = check(name, ctx.params[name], "%s | None" % PARTS[name], limits)

        action = ctx.params.get("action")
        if action not in VERBS:
            told = "action is %r: expected one of %s"
            raise AlphaClipError(told % (action, ", ".join(VERBS)))

        if ctx.params.get("min_score") is None and not ctx.params.get("label_ids"):
            raise AlphaClipError("min_score is missing: give the lowest score, or label_ids")
    except AlphaClipError as error:
        refuse(inputs, "This cannot be done", plain(error, MESSAGE_CHARACTERS))
        return False

    return True


def _add_hidden(inputs):
    inputs.enum("action", list(VERBS), view=types.HiddenView())
    inputs.obj("asked", view=types.HiddenView())
    inputs.float("min_score", view=types.HiddenView())
    inputs.list("label_ids", types.String(), view=types.HiddenView())
    inputs.str("token", view=types.HiddenView())


def _add_scope(ctx, inputs):
    chosen = ctx.params.get("label_ids") or []
    said = plain(describe(ctx.params["asked"]))
    counts, choices = {}, {}
    if ctx.params.get("min_score") is not None:
        counts = {ABOVE: measure_above(ctx)}
        told = "All at or above %.3f: %s"
        choices = {ABOVE: told % (ctx.params["min_score"], count(counts[ABOVE]))}

    if chosen:
        counts = {SELECTION: len(chosen), **counts}
        choices = {SELECTION: "The selected ones: %s" % count(len(chosen)), **choices}

    first = next(iter(choices))
    scope, about = ctx.params.get("scope"), "Found for %s" % said
    dropdown(inputs, "scope", choices, scope, label="Which", description=about)
    return counts.get(scope or first, 0)


def measure_above(ctx):
    """Counts the regions that an action on everything above the threshold is for."""
    asked, least = ctx.params["asked"], ctx.params["min_score"]
    if asked["mode"] == "regions":
        return measure(ctx.dataset, asked).above(least)

    return len(find_above(ctx.dataset, asked, least))


def _add_value(ctx, inputs, action):
    label, description = VALUES[action]
    prop = inputs.str("value", label=label, description=description, required=True)
    value = ctx.params.get("value")
    if value is not None and not value.strip():
        reject(prop, "Type something.")
    elif value and len(value) > MAX_CHARACTERS:
        reject(prop, "At most %d characters." % MAX_CHARACTERS)

    if action == "label":
        _add_target(ctx, inputs)
    elif action == "save_view" and value in ctx.dataset.list_saved_views():
        inputs.bool("add", label="Add to the view of this name", default=False)
        if not ctx.params.get("add"):
            reject(prop, "There is a view of this name: choose another one, or add to it.")


def _add_target(ctx, inputs):
    choices = {
        COPY: "Into another field, as copies",
        INPLACE: "On the found labels themselves",
    }
    dropdown(inputs, "where", choices, ctx.params.get("where"), label="Where the class goes")
    if ctx.params.get("where") == INPLACE:
        inputs.bool(
            "overwrite",
            label="Replace the class of labels that have one",
            description="Otherwise only labels without a class get one; an undo brings it back",
            default=False,
        )
        return

    prop = inputs.str("into", label="Field", description="Made if need be", default="found")
    into = ctx.params.get("into", "found")
    try:
        check_name(into or "")
    except FieldError as error:
        reject(prop, str(error))
        return

    if into in ctx.dataset.get_field_schema() and into not in region_fields(ctx.dataset):
        reject(prop, "There is a field of this name that holds no regions: choose another one.")


def _hits(ctx):
    asked = ctx.params["asked"]
    chosen = list(ctx.params.get("label_ids") or [])
    if (ctx.params.get("scope") or (SELECTION if chosen else ABOVE)) == ABOVE:
        return find_above(ctx.dataset, asked, ctx.params["min_score"])

    return find_these(ctx.dataset, asked, chosen)


def _do(ctx, hits, action):
    from alphaclip.indexing.act import acting

    value = (ctx.params.get("value") or "").strip()
    if action == "tag":
        return acting.tag(hits, value)

    if action == "save_view":
        return acting.save_view(hits, value, add=bool(ctx.params.get("add")))

    if ctx.params.get("where") != INPLACE:
        return acting.label(hits, value, into=ctx.params.get("into") or "found")

    return acting.label(hits, value, overwrite=bool(ctx.params.get("overwrite")))


def _download(ctx, hits):
    from alphaclip.indexing.act.acting import export_ids

    content = base64.b64encode(export_ids(hits).encode()).decode()
    url = "data:application/json;base64," + content
    return ctx.ops.browser_download(url, filename="regions.json")
