"""
The panel's buttons that change something: each opens a form that says how many regions it is for.
"""

import uuid

import fiftyone.operators as foo

from alphaclip.errors import AlphaClipError

from ..common.forms import count, shorten
from ..common.tiles import add_button
from .state import guarded, threshold

ACT = "@alphaclip/regions/act_on_regions"
STORE, KEPT_SECONDS = "alphaclip_acted", 24 * 3600
ACTIONS = {
    "tag": ("Tag", "sell"),
    "label": ("Label", "label"),
    "save_view": ("Save view", "bookmark_add"),
    "export": ("Export ids", "download"),
}
SAID = {
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
    """Events of the buttons."""

    @guarded
    def on_tag(self, ctx):
        _ask(self, ctx, "tag")

    @guarded
    def on_label(self, ctx):
        _ask(self, ctx, "label")

    @guarded
    def on_save_view(self, ctx):
        _ask(self, ctx, "save_view")

    @guarded
    def on_export(self, ctx):
        _ask(self, ctx, "export")

    @guarded
    def on_acted(self, ctx):
        _add_own(ctx, (ctx.params.get("original_params") or {}).get("token"))
        show_last_action(ctx)

    @guarded
    def on_undo(self, ctx):
        from alphaclip.indexing.act.acting import undo

        last = ctx.panel.get_state("action")
        if not last:
            raise AlphaClipError("Nothing is left to take back")

        try:
            undone = undo(ctx.dataset, last["id"])
        finally:
            show_last_action(ctx)

        ctx.ops.reload_dataset()
        message = "Taken back: %d are as they were before" % undone.restored
        if undone.left:
            message += "; %d were edited or deleted since and stay as they are" % undone.left

        ctx.ops.notify(message, variant="success")

    def add_actions(self, ctx, bar):
        """Lays the buttons out.

        Args:
            bar: the :class:`fiftyone.operators.types.Object` to add to
        """
        for action, (label, icon) in ACTIONS.items():
            add_button(bar, action, label, getattr(self, "on_" + action), icon=icon)

        last = ctx.panel.get_state("action")
        if last:
            label = "Undo" if last["own"] else "Undo %s" % last["said"]
            title = "Take back %s" % last["said"]
            add_button(bar, "undo", label, self.on_undo, icon="undo", title=title)


def show_last_action(ctx):
    """Looks up what the Undo button takes back: the last action of this tab, else the last one of
    the dataset, which the button then names.
    """
    from alphaclip.indexing.act.acting import history

    own = ctx.panel.get_state("own_actions") or []
    found = [action for action in history(ctx.dataset) if not action.undone]
    found.sort(key=lambda action: action.id not in own)
    shown = [{"id": one.id, "said": say(one), "own": one.id in own} for one in found[:1]]
    ctx.panel.state.set("action", shown[0] if shown else None)


def keep_done(dataset, token, action_id):
    """Keeps which action a form did, for the tab that opened the form.

    Args:
        token: that the tab gave to the form
        action_id: of the action
    """
    _store(dataset).set_cache(token, action_id, ttl=KEPT_SECONDS)


def say(action):
    """Says what an action did.

    Args:
        action: an ``alphaclip.indexing.act.acting.Action``
    """
    detail = action.detail
    value = next((detail[name] for name in NAMED if detail.get(name)), "")
    of = "picture" if action.kind == "tag_samples" else "region"
    return SAID[action.kind] % (count(action.count, of), shorten(value, 60))


def _add_own(ctx, token):
    done = _store(ctx.dataset).get(token) if token else None
    if done:
        own = ctx.panel.get_state("own_actions") or []
        ctx.panel.state.set("own_actions", [*own, done])


def _store(dataset):
    return foo.ExecutionStore.create(STORE, dataset_id=dataset._doc.id)


def _ask(panel, ctx, action):
    params = {
        "action": action,
        "asked": ctx.panel.get_state("asked"),
        "min_score": threshold(ctx),
        "label_ids": ctx.panel.get_state("selected") or [],
        "token": uuid.uuid4().hex,
    }
    ctx.prompt(ACT, params=params, on_success=panel.on_acted)
