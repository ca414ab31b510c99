"""
The operator that brings an index up to date.
"""

import dataclasses

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..common.forms import add_background, choose_index
from ..common.indexes import open_index
from ..common.jobs import stoppable
from ..common.progress import follow, go_on_in_background, show_errors
from ..common.reports import in_words, outputs, summarize


class UpdateIndex(foo.Operator):
    """Embeds what is new or edited, and drops what is gone."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="update_index",
            label="Update region index",
            description="Embeds regions that are new or edited, and drops those that are gone",
            light_icon="/assets/embed-light.svg",
            dark_icon="/assets/embed-dark.svg",
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            view_target=False,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        if choose_index(ctx, inputs) is not None:
            add_background(inputs)

        view = types.PromptView(label=self.config.label, submit_button_label="Update")
        return types.Property(inputs, view=view)

    def resolve_run_name(self, ctx):
        return "Update %s" % ctx.params.get("key")

    def execute(self, ctx):
        if ctx.delegated:
            return _update(ctx, lambda report: ctx.set_progress(**report))

        return show_errors(ctx, _update_in_app(ctx))

    def resolve_output(self, ctx):
        return outputs(ctx.results)


def _update_in_app(ctx):
    if ctx.params.get("background"):
        yield from go_on_in_background(ctx, lambda report: _update(ctx, report))
        return

    results = yield from follow(
        lambda report: _update(ctx, report),
        lambda report: ctx.ops.set_progress(**report),
    )
    yield ctx.ops.reload_dataset()
    yield ctx.ops.show_output(outputs(results).to_json(), results)


def _update(ctx, report):
    key = ctx.params["key"]
    report({"progress": 0.0, "label": "Reading the labels"})
    with stoppable(ctx.dataset, key, "Updating %s" % key, report) as job:
        index = open_index(ctx.dataset, key)
        job.said = in_words(key, dataclasses.asdict(index.update(job.progress)))

    return summarize(index.info())
