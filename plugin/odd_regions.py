"""
The operator that shows near-duplicates, or outliers.
"""

import fiftyone.operators as foo
import fiftyone.operators.types as types

from .forms import choose_index, count, dropdown
from .indexes import open_index
from .jobs import stoppable
from .progress import follow, show_errors

DUPLICATES, OUTLIERS = "duplicates", "outliers"
KINDS = {
    DUPLICATES: "Near-duplicates, each with those that are like it",
    OUTLIERS: "Outliers: the regions whose nearest neighbours are least like them",
}
DEFAULT_SIMILARITY, DEFAULT_COUNT, MAX_SHOWN = 0.98, 50, 10_000


class FindOddRegions(foo.Operator):
    """Finds regions that are nearly the same as others, or unlike even the nearest ones."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="find_odd_regions",
            label="Find odd regions",
            description="Shows near-duplicates, or outliers, unlike even the nearest others",
            light_icon="/assets/search-light.svg",
            dark_icon="/assets/search-dark.svg",
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            view_target=False,
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        if choose_index(ctx, inputs) is not None:
            _add_fields(ctx, inputs)

        view = types.PromptView(label=self.config.label, submit_button_label="Find")
        return types.Property(inputs, view=view)

    def resolve_run_name(self, ctx):
        return "Odd regions of %s" % ctx.params.get("key")

    def execute(self, ctx):
        if ctx.delegated:
            return _find(ctx, lambda report: ctx.set_progress(**report))

        return show_errors(ctx, _find_in_app(ctx))

    def resolve_output(self, ctx):
        shown = types.Object()
        shown.int("count", label="Regions")
        shown.list("label_ids", types.String(), label="Labels")
        return types.Property(shown, view=types.View(label="Odd regions"))


def _add_fields(ctx, inputs):
    dropdown(inputs, "kind", KINDS, ctx.params.get("kind"), label="What to find")
    if ctx.params.get("kind", DUPLICATES) == DUPLICATES:
        inputs.float(
            "similarity",
            label="Alike from a cosine of",
            description="1 is the same vector; lower finds more",
            default=DEFAULT_SIMILARITY,
            min=0.5,
            max=1,
        )
    else:
        inputs.int("count", label="How many", default=DEFAULT_COUNT, min=1, max=MAX_SHOWN)


def _find_in_app(ctx):
    results = yield from follow(
        lambda report: _find(ctx, report),
        lambda report: ctx.ops.set_progress(**report),
    )
    if not results["count"]:
        yield ctx.ops.notify("No regions are that much alike", variant="info")
        return

    field = open_index(ctx.dataset, ctx.params["key"]).field
    shown = results["label_ids"][:MAX_SHOWN]
    yield ctx.ops.set_view(ctx.dataset.to_patches(field).select(shown, ordered=True))
    yield ctx.ops.notify("%s found" % count(results["count"]), variant="success")


def _find(ctx, report):
    from alphaclip.indexing import find_outliers

    key = ctx.params["key"]
    report({"progress": 0.0, "label": "Comparing the regions"})
    with stoppable(ctx.dataset, key, "Comparing the regions of %s" % key, report) as job:
        if ctx.params.get("kind", DUPLICATES) == DUPLICATES:
            label_ids = _duplicates(ctx, key)
        else:
            number = ctx.params.get("count", DEFAULT_COUNT)
            hits = find_outliers(open_index(ctx.dataset, key), number, progress=job.progress)
            label_ids = hits.label_ids.tolist()

    return {"count": len(label_ids), "label_ids": label_ids}


def _duplicates(ctx, key):
    results = ctx.dataset.load_brain_results(key)
    results.find_duplicates(thresh=1 - ctx.params.get("similarity", DEFAULT_SIMILARITY))
    return _grouped(results.neighbors_map)


def _grouped(neighbors):
    """The ids of each region and of those that are like it, side by side."""
    groups = ([kept, *(near for near, _ in others)] for kept, others in neighbors.items())
    return list(dict.fromkeys(str(label_id) for group in groups for label_id in group))
