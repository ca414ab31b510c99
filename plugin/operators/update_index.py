"""The operator that brings an index up to date."""

import fiftyone.operators.types as types

from ..common.forms import add_background, choose_index
from ..common.indexes import open_index, update_in_words
from ..common.operators import JobOperator, configure
from ..common.reports import add_summary, summarize


class UpdateIndex(JobOperator):
    """Embeds what is new or edited, and drops what is gone."""

    config = configure(
        name="update_index",
        label="Update region index",
        description="Embeds regions that are new or edited, and drops those that are gone",
        icon="sync",
        allow_delegated_execution=True,
        view_target=False,
        risk_level=types.RiskLevel.MEDIUM,
    )
    button = "Update"
    begins = "Reading the labels"
    results_label = "Regions embedded"

    def add_form(self, ctx, inputs):
        if choose_index(ctx, inputs) is not None:
            add_background(inputs)

    def resolve_run_name(self, ctx):
        return "Update %s" % ctx.params.get("key")

    def describe_job(self, ctx):
        return ctx.params["key"], "Updating %s" % ctx.params["key"]

    def work(self, ctx, job):
        key = ctx.params["key"]
        job.said = update_in_words(ctx.dataset, key, job.progress)
        return summarize(open_index(ctx.dataset, key).info())

    def lay_out(self, results, outputs):
        add_summary(outputs, results)
