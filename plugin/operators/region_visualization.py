"""The operator that lays the regions of an index out as points, for FiftyOne's Embeddings panel."""

import importlib.util

import fiftyone.operators.types as types

from ..common.forms import check_run_name, choose_index, dropdown
from ..common.indexes import open_index
from .base import JobOperator, configure

METHODS = {
    "umap": ("UMAP", "umap", "keeps neighbours together"),
    "tsne": ("t-SNE", "sklearn", "keeps neighbours together, slow above 10,000 regions"),
    "pca": ("PCA", "sklearn", "quick, shows the main directions only"),
}
"""What FiftyOne's Brain can do: the label, the package that it needs, and what it is good for."""


class ComputeRegionVisualization(JobOperator):
    """Computes a point for each region of an index."""

    config = configure(
        name="compute_region_visualization",
        label="Compute region visualization",
        description="Lays the regions of an index out in FiftyOne's Embeddings panel",
        allow_delegated_execution=True,
        view_target=False,
        risk_level=types.RiskLevel.LOW,
    )
    button = "Compute"
    begins = "Laying the regions out"
    results_label = "Regions laid out"
    offers_background = False

    def add_form(self, ctx, inputs):
        key = choose_index(ctx, inputs)
        if key is None:
            return

        methods = {
            name: "%s: %s" % (label, about)
            for name, (label, package, about) in METHODS.items()
            if importlib.util.find_spec(package)
        }
        chosen, about = ctx.params.get("method"), "The installed ones"
        dropdown(inputs, "method", methods, chosen, label="Method", description=about)
        prop = inputs.str(
            "brain_key",
            label="Name of the layout",
            description="Letters, digits and underscores",
            default=_free_name(ctx.dataset, key),
        )
        check_run_name(ctx, prop)

    def resolve_run_name(self, ctx):
        return "Visualize %s" % ctx.params.get("key")

    def describe_job(self, ctx):
        return ctx.params["key"], "Visualizing %s" % ctx.params["key"]

    def work(self, ctx, job):
        import fiftyone.brain as fob

        key = ctx.params["key"]
        brain_key = ctx.params.get("brain_key") or _free_name(ctx.dataset, key)
        points = fob.compute_visualization(
            ctx.dataset,
            patches_field=open_index(ctx.dataset, key).field,
            similarity_index=key,
            method=ctx.params.get("method"),
            brain_key=brain_key,
            num_dims=2,
            progress=False,
        )
        return {"points": len(points.points), "brain_key": brain_key}

    def finish(self, ctx, results):
        yield ctx.ops.reload_dataset()
        yield ctx.ops.open_panel("Embeddings", layout="horizontal")
        message = "%d points: choose %r in the Embeddings panel"
        message %= results["points"], results["brain_key"]
        yield ctx.ops.notify(message, variant="success")

    def lay_out(self, results, outputs):
        outputs.int("points", label="Points")
        outputs.str("brain_key", label="Brain run")


def _free_name(dataset, key):
    name, number = "%s_points" % key, 2
    while dataset.has_brain_run(name):
        name, number = "%s_points_%d" % (key, number), number + 1

    return name
