"""The operator that deletes an index."""

import fiftyone.operators.types as types

from ..common.forms import choose_index, reject
from ..common.indexes import open_index
from .base import FormOperator, configure


class DeleteIndex(FormOperator):
    """Deletes the vectors of an index and its Brain run; the labels stay as they are."""

    config = configure(
        name="delete_index",
        label="Delete region index",
        description="Deletes the vectors of an index; the labels stay as they are",
        view_target=False,
        risk_level=types.RiskLevel.HIGH,
    )
    button = "Delete"

    def add_form(self, ctx, inputs):
        key = choose_index(ctx, inputs)
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
        key = ctx.params["key"]
        open_index(ctx.dataset, key).delete()
        yield ctx.ops.reload_dataset()
        yield ctx.ops.notify("Index %r is deleted" % key, variant="success")
        return {"deleted": key}
