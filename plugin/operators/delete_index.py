"""The operator that deletes an index."""

import fiftyone.operators.types as types

from alphaclip.indexing.dataset.locations import lost_keys

from ..common.forms import choose_index, reject
from ..common.grid import reload, state
from ..common.indexes import open_index
from ..common.operators import FormOperator, configure


class DeleteIndex(FormOperator):
    """Deletes the vectors of an index and its Brain run; the labels stay as they are."""

    config = configure(
        name="delete_index",
        label="Delete region index",
        description="Deletes the vectors of an index; the labels stay as they are",
        icon="delete_outline",
        view_target=False,
        risk_level=types.RiskLevel.HIGH,
    )
    button = "Delete"

    def add_form(self, ctx, inputs):
        lost = lost_keys(ctx.dataset) if ctx.dataset is not None else []
        key = choose_index(ctx, inputs, lost)
        if key is None:
            return

        prop = inputs.str(
            "confirm",
            label="Type the name of the index",
            description="Its vectors are deleted for good; the labels stay",
            required=True,
        )
        if ctx.params.get("confirm") not in (None, key):
            reject(prop, "That is not %r." % key)

    def steps(self, ctx):
        from alphaclip.indexing.region_index import RegionIndex

        key = ctx.params["key"]
        is_lost = key in lost_keys(ctx.dataset)
        index = RegionIndex(ctx.dataset, key) if is_lost else open_index(ctx.dataset, key)
        before = state(ctx.dataset)
        index.delete()
        yield from reload(ctx, before)
        yield ctx.ops.notify("Index %r is deleted" % key, variant="success")
        return {"deleted": key}
