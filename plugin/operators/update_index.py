"""The operator that brings an index up to date."""

import dataclasses

import fiftyone.operators.types as types

from ..common.forms import add_background, choose_index
from ..common.indexes import open_index
from ..common.reports import in_words, outputs, summarize
from .base import JobOperator, configure


class UpdateIndex(JobOperator):
    """Embeds what is new or edited, and drops what is gone."""

    config = configure(
        name="update_index",
        label="Update region index",
        description="Embeds regions that are new or edited, and drops those that are gone",
        allow_delegated_execution=True,
        view_target=False,
        risk_level=types.RiskLevel.MEDIUM,
    )
    button = "Update"
    begins = "Reading the labels"

    def add_form(self, ctx, inputs):
        if choose_index(ctx, inputs) is not None:
            add_background(inputs)

    def resolve_run_name(self, ctx):
        return "Update %s" % ctx.params.get("key")

    def describe_job(self, ctx):
        return ctx.params["key"], "Updating %s" % ctx.params["key"]

    def work(self, ctx, job):
        index = open_index(ctx.dataset, ctx.params["key"])
        job.said = in_words(index.key, dataclasses.asdict(index.update(job.progress)))
        return summarize(index.info())

    def lay_out(self, results):
        return outputs(results)
