"""
The operator that deletes an index.
"""

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..common.forms import choose_index, reject
from ..common.indexes import open_index
from ..common.progress import show_errors


class DeleteIndex(foo.Operator):
    """Deletes the vectors of an index and its Brain run; the labels stay as they are."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="delete_index",
            label="Delete region index",
            description="Deletes the vectors of an index; the labels stay as they are",
            light_icon="/assets/embed-light.svg",
            dark_icon="/assets/embed-dark.svg",
            dynamic=True,
            execute_as_generator=True,
            view_target=False,
            risk_level=types.RiskLevel.HIGH,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        key = choose_index(ctx, inputs)
        if key is not None:
            prop = inputs.str(
                "confirm",
                label="Type the name of the index",
                description="Its vectors are deleted for good; the labels stay",
                required=True,
            )
            if ctx.params.get("confirm") not in (None, key):
                reject(prop, "That is not %r." % key)

        view = types.PromptView(label=self.config.label, submit_button_label="Delete")
        return types.Property(inputs, view=view)

    def execute(self, ctx):
        return show_errors(ctx, _delete(ctx))


def _delete(ctx):
    key = ctx.params["key"]
    open_index(ctx.dataset, key).delete()
    yield ctx.ops.reload_dataset()
    yield ctx.ops.notify("Index %r is deleted" % key, variant="success")
