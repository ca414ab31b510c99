"""The operator that tags, labels, keeps as a view or exports the regions of a search."""

import fiftyone.operators.types as types

from alphaclip.arguments import COSINE, check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.schema import check_name

from ..common.forms import MESSAGE_CHARACTERS, count, plain, refuse
from ..common.grid import reload, state
from ..common.operators import FormOperator, configure
from ..common.reports import ids_and_scores
from .actions import act, hits_to_act_on, ids_url
from .questions import completed

VERBS = {"tag": "Tag", "label": "Label", "save_view": "Save", "export": "Export"}
PARTS = {
    "action": "str", "value": "str", "min_score": "float", "label_ids": "Sequence[str]",
    "where": "str", "into": "str",
}  # fmt: skip


class ActOnRegions(FormOperator):
    """Does something to the regions of a search, for programs; the panel has its own events."""

    config = configure(
        name="act_on_regions",
        label="Act on regions of a search",
        description="Tags, labels, saves or exports the regions that match a search",
        icon="checklist",
        unlisted=True,
        view_target=False,
        risk_level=types.RiskLevel.MEDIUM,
    )

    def add_form(self, ctx, inputs):
        if ctx.dataset is None or not ctx.params.get("asked"):
            refuse(inputs, "Nothing was searched", "Search in the panel “Region search” first.")
            return

        try:
            _check_parts(ctx)
        except AlphaClipError as error:
            refuse(inputs, "This cannot be done", plain(error, MESSAGE_CHARACTERS))

    def steps(self, ctx):
        params = ctx.params
        question = completed(ctx.dataset, params["asked"])
        ids, least = params.get("label_ids"), params.get("min_score")
        hits = hits_to_act_on(ctx.dataset, question, ids, least)
        action = params["action"]
        if action == "export":
            yield ctx.ops.browser_download(ids_url(hits), filename="regions.json")
            return ids_and_scores(hits)

        before = state(ctx.dataset)
        done = act(hits, action, params.get("value"), params)
        yield from reload(ctx, before)
        message = "%s: %s" % (VERBS[action], count(done.count))
        if done.left:
            message += "; %d stay as they were" % done.left

        yield ctx.ops.notify(message, variant="success")
        return {"action": done.id, "kind": done.kind, "count": done.count, "left": done.left}


def _check_parts(ctx):
    params = ctx.params
    completed(ctx.dataset, params["asked"])
    for name in PARTS.keys() & params.keys():
        limits = COSINE if name == "min_score" else None
        params[name] = check(name, params[name], "%s | None" % PARTS[name], limits)

    action = params.get("action")
    if action not in VERBS:
        raise AlphaClipError("action is %r: expected one of %s" % (action, ", ".join(VERBS)))

    if params.get("min_score") is None and not params.get("label_ids"):
        raise AlphaClipError("min_score is missing: give the lowest score, or label_ids")

    if action == "label" and params.get("where") != "in_place":
        check_name(params.get("into") or "found")
