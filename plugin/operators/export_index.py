"""The operator that copies an index to another backend of FiftyOne's Brain."""

import fiftyone.operators.types as types

from alphaclip.indexing.brain.exporting import is_unfinished
from alphaclip.indexing.dataset.locations import CONFIG_CLASS

from ..common.forms import check_run_name, choose_index, dropdown
from ..common.indexes import open_index
from ..common.operators import JobOperator, configure


class ExportIndex(JobOperator):
    """Copies the vectors of an index to another vector engine."""

    config = configure(
        name="export_index",
        label="Export region index",
        description="Copies an index to another backend of FiftyOne's Brain",
        icon="ios_share",
        allow_delegated_execution=True,
        view_target=False,
        risk_level=types.RiskLevel.MEDIUM,
    )
    button = "Export"
    begins = "Copying the vectors"
    results_label = "Index exported"
    offers_background = False

    def add_form(self, ctx, inputs):
        if choose_index(ctx, inputs) is None:
            return

        backends = _backends()
        chosen, about = ctx.params.get("backend"), "As FiftyOne is set up for"
        dropdown(inputs, "backend", backends, chosen, label="Backend", description=about)
        prop = inputs.str(
            "brain_key",
            label="Name of the copy",
            description="Letters, digits and underscores",
            required=True,
        )
        check_run_name(ctx, prop, goes_on=is_unfinished)

    def resolve_run_name(self, ctx):
        return "Export %s" % ctx.params.get("key")

    def describe_job(self, ctx):
        return ctx.params["key"], "Exporting %s" % ctx.params["key"]

    def work(self, ctx, job):
        from alphaclip import indexing

        backend = ctx.params.get("backend") or next(iter(_backends()))
        brain_key = ctx.params["brain_key"]
        copy = indexing.export(open_index(ctx.dataset, ctx.params["key"]), backend, brain_key)
        return {
            "vectors": int(copy.total_index_size),
            "brain_key": brain_key,
            "backend": backend,
        }

    def finish(self, ctx, results):
        message = "%d vectors are in %s" % (results["vectors"], results["brain_key"])
        yield ctx.ops.notify(message, variant="success")

    def lay_out(self, results, outputs):
        outputs.int("vectors", label="Vectors copied")
        outputs.str("brain_key", label="Brain run")


def _backends():
    """The other backends; sklearn, which needs nothing that is not installed, is preselected."""
    import fiftyone.brain as fob

    backends = fob.brain_config.similarity_backends
    names = [name for name, one in backends.items() if one.get("config_cls") != CONFIG_CLASS]
    return {name: name for name in sorted(names, key=lambda name: (name != "sklearn", name))}
