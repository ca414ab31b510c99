"""The operator that lays the regions of an index out as points, for FiftyOne's Embeddings panel."""

import importlib.util

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.brain.exporting import similarity_run

from ..common.forms import check_run_name, choose_index, count, dropdown, reject
from ..common.indexes import open_index
from ..common.operators import JobOperator, configure

METHODS = {
    "umap": ("UMAP", "umap", "umap-learn", "keeps neighbours together"),
    "tsne": ("t-SNE", "sklearn", "scikit-learn", "keeps neighbours together, slow above 10,000"),
    "pca": ("PCA", "sklearn", "scikit-learn", "quick, shows the main directions only"),
}
"""What FiftyOne's Brain can do: the label, the module that it needs and what pip calls that, and
what it is good for."""

LEAST = 5
"""With fewer regions than these, UMAP and t-SNE have no neighbours to keep together."""


class ComputeRegionVisualization(JobOperator):
    """Computes a point for each region of an index."""

    config = configure(
        name="compute_region_visualization",
        label="Compute region visualization",
        description="Lays the regions of an index out in FiftyOne's Embeddings panel",
        icon="scatter_plot",
        allow_delegated_execution=True,
        view_target=False,
        risk_level=types.RiskLevel.MEDIUM,
    )
    button = "Compute"
    begins = "Laying the regions out"
    results_label = "Regions laid out"
    offers_background = False

    def add_form(self, ctx, inputs):
        key = choose_index(ctx, inputs)
        if key is None:
            return

        methods, chosen = _installed(), ctx.params.get("method")
        about = "The installed ones"
        prop = dropdown(inputs, "method", methods, chosen, label="Method", description=about)
        if prop.invalid and isinstance(chosen, str) and chosen in METHODS:
            label, _, package, _ = METHODS[chosen]
            told = "%s needs %s: run pip install %s, or take %s"
            reject(prop, told % (label, package, package, " or ".join(methods)))

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
        method = ctx.params.get("method") or next(iter(_installed()))
        index = open_index(ctx.dataset, key)
        points = fob.compute_visualization(
            ctx.dataset,
            patches_field=index.field,
            similarity_index=similarity_run(ctx.dataset, key),
            method=method,
            brain_key=brain_key,
            num_dims=2,
            progress=False,
            **_options(index, method),
        )
        return {"points": len(points.points), "brain_key": brain_key, "method": method}

    def finish(self, ctx, results):
        yield ctx.ops.open_panel("Embeddings", layout="horizontal")
        message = "%d points: choose %r in the Embeddings panel"
        message %= results["points"], results["brain_key"]
        yield ctx.ops.notify(message, variant="success")

    def lay_out(self, results, outputs):
        outputs.int("points", label="Points")
        outputs.str("brain_key", label="Brain run")


def _installed():
    return {
        name: "%s: %s" % (label, about)
        for name, (label, module, _, about) in METHODS.items()
        if importlib.util.find_spec(module)
    }


def _options(index, method):
    """Those of a method that would not do for few regions."""
    snapshot = index.snapshot()
    there = len(index.rows_in(snapshot, index.dataset))
    if there < LEAST:
        told = "index %r has %s of this dataset: a layout needs at least %d"
        raise AlphaClipError(told % (index.key, count(there), LEAST))

    if method == "tsne":
        most = min(50, there, snapshot.version.dim)
        return {"perplexity": min(30.0, (there - 1) / 3), "pca_dims": most}

    return {"num_neighbors": min(15, there - 1)} if method == "umap" else {}


def _free_name(dataset, key):
    name, number = "%s_points" % key, 2
    while dataset.has_brain_run(name):
        name, number = "%s_points_%d" % (key, number), number + 1

    return name
