"""
The operator that lays the regions of an index out as points, for FiftyOne's Embeddings panel.
"""

import importlib.util

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..common.forms import check_run_name, choose_index, dropdown
from ..common.indexes import open_index
from ..common.jobs import stoppable
from ..common.progress import follow, show_errors

METHODS = {
    "umap": ("UMAP", "umap", "keeps neighbours together"),
    "tsne": ("t-SNE", "sklearn", "keeps neighbours together, slow above 10,000 regions"),
    "pca": ("PCA", "sklearn", "quick, shows the main directions only"),
}


class ComputeRegionVisualization(foo.Operator):
    """Computes a point for each region of an index."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="compute_region_visualization",
            label="Compute region visualization",
            description="Lays the regions of an index out in FiftyOne's Embeddings panel",
            light_icon="/assets/embed-light.svg",
            dark_icon="/assets/embed-dark.svg",
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            view_target=False,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        key = choose_index(ctx, inputs)
        if key is not None:
            _add_fields(ctx, inputs, key)

        view = types.PromptView(label=self.config.label, submit_button_label="Compute")
        return types.Property(inputs, view=view)

    def resolve_run_name(self, ctx):
        return "Visualize %s" % ctx.params.get("key")

    def execute(self, ctx):
        if ctx.delegated:
            return _compute(ctx, lambda report: ctx.set_progress(**report))

        return show_errors(ctx, _compute_in_app(ctx))

    def resolve_output(self, ctx):
        shown = types.Object()
        shown.int("points", label="Points")
        shown.str("brain_key", label="Brain run")
        return types.Property(shown, view=types.View(label="Regions laid out"))


def _add_fields(ctx, inputs, key):
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


def _free_name(dataset, key):
    name, number = "%s_points" % key, 2
    while dataset.has_brain_run(name):
        name, number = "%s_points_%d" % (key, number), number + 1

    return name


def _compute_in_app(ctx):
    results = yield from follow(
        lambda report: _compute(ctx, report),
        lambda report: ctx.ops.set_progress(**report),
    )
    yield ctx.ops.reload_dataset()
    yield ctx.ops.open_panel("Embeddings", layout="horizontal")
    message = "%d points: choose %r in the Embeddings panel"
    message %= results["points"], results["brain_key"]
    yield ctx.ops.notify(message, variant="success")


def _compute(ctx, report):
    import fiftyone.brain as fob

    key = ctx.params["key"]
    brain_key = ctx.params.get("brain_key") or _free_name(ctx.dataset, key)
    report({"progress": 0.0, "label": "Laying the regions out"})
    with stoppable(ctx.dataset, key, "Visualizing %s" % key, report):
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
