"""
The operator that shows near-duplicates, outliers, or label errors.
"""

import importlib.util

import fiftyone.operators as foo
import fiftyone.operators.types as types

from alphaclip.indexing.dataset.locations import index_keys

from ..common.forms import alert, choose_index, count, dropdown, reject, shorten
from ..common.indexes import open_index
from ..common.jobs import stoppable
from ..common.label_reports import percent
from ..common.progress import follow, show_errors
from ..common.region_forms import text_attributes

DUPLICATES, OUTLIERS, ERRORS = "duplicates", "outliers", "label errors"
KINDS = {
    DUPLICATES: "Near-duplicates, each with those that are like it",
    OUTLIERS: "Outliers: the regions whose nearest neighbours are least like them",
    ERRORS: "Label errors: the regions whose label the vectors speak against",
}
DEFAULT_SIMILARITY, DEFAULT_COUNT, MAX_SHOWN, MAX_NAMED = 0.98, 50, 10_000, 50
ERROR_COLUMNS = {
    "number": "No.",
    "given": "Label",
    "suggested": "Rather",
    "probability": "Probability of the label",
}


class FindOddRegions(foo.Operator):
    """Finds regions that are nearly the same as others, unlike even the nearest ones, or labelled
    as something that they do not look like."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="find_odd_regions",
            label="Find odd regions",
            description="Shows near-duplicates, outliers, or labels that are probably wrong",
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
        return _outputs(ctx.results)


def _add_fields(ctx, inputs):
    prop = dropdown(inputs, "kind", KINDS, ctx.params.get("kind"), label="What to find")
    kind = ctx.params.get("kind", DUPLICATES)
    if kind == DUPLICATES:
        inputs.float(
            "similarity",
            label="Alike from a cosine of",
            description="1 is the same vector; lower finds more",
            default=DEFAULT_SIMILARITY,
            min=0.5,
            max=1,
        )
        return

    inputs.int("count", label="How many", default=DEFAULT_COUNT, min=1, max=MAX_SHOWN)
    if kind == ERRORS:
        _add_attribute(ctx, inputs)
        if importlib.util.find_spec("cleanlab") is None:
            reject(prop, "Label errors need cleanlab: run pip install cleanlab")


def _add_attribute(ctx, inputs):
    index = open_index(ctx.dataset, ctx.params.get("key") or index_keys(ctx.dataset)[0])
    names = {name: name for name in text_attributes(ctx.dataset, index.field)}
    chosen, about = ctx.params.get("attribute"), "Of the labels, that holds the class"
    dropdown(inputs, "attribute", names, chosen, label="Attribute", description=about)


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
    if "errors" in results:
        yield ctx.ops.show_output(_outputs(results).to_json(), results)

    yield ctx.ops.set_view(ctx.dataset.to_patches(field).select(shown, ordered=True))
    yield ctx.ops.notify("%s found" % count(results["count"]), variant="success")


def _find(ctx, report):
    key = ctx.params["key"]
    report({"progress": 0.0, "label": "Comparing the regions"})
    with stoppable(ctx.dataset, key, "Comparing the regions of %s" % key, report) as job:
        return FINDERS[ctx.params.get("kind", DUPLICATES)](ctx, key, job.progress)


def _find_duplicates(ctx, key, progress):
    results = ctx.dataset.load_brain_results(key)
    results.find_duplicates(thresh=1 - ctx.params.get("similarity", DEFAULT_SIMILARITY))
    return _summarize(_grouped(results.neighbors_map))


def _find_outliers(ctx, key, progress):
    from alphaclip.indexing import find_outliers

    number = ctx.params.get("count", DEFAULT_COUNT)
    hits = find_outliers(open_index(ctx.dataset, key), number, progress=progress)
    return _summarize(hits.label_ids.tolist())


def _find_errors(ctx, key, progress):
    from alphaclip.indexing import find_label_errors

    found = find_label_errors(
        open_index(ctx.dataset, key),
        ctx.params.get("count", DEFAULT_COUNT),
        ctx.params.get("attribute") or "label",
        progress=progress,
    )
    return {
        **_summarize(found.hits.label_ids.tolist()),
        "given": found.given.tolist(),
        "suggested": found.suggested.tolist(),
        "probabilities": found.hits.scores.tolist(),
        "rows": _rows(found),
        "errors": found.errors,
        "judged": found.judged,
        "left_out": found.left_out,
        "judged_by": found.judged_by,
        "agreement": found.agreement,
    }


def _rows(found):
    """What is said of the first ones."""
    columns = (found.given, found.suggested, found.hits.scores.tolist())
    return [
        {
            "number": number,
            "given": shorten(given),
            "suggested": shorten(suggested),
            "probability": percent(score),
        }
        for number, (given, suggested, score) in enumerate(zip(*columns, strict=True), start=1)
        if number <= MAX_NAMED
    ]


FINDERS = {DUPLICATES: _find_duplicates, OUTLIERS: _find_outliers, ERRORS: _find_errors}


def _summarize(label_ids):
    return {"count": len(label_ids), "label_ids": label_ids}


def _grouped(neighbors):
    """The ids of each region and of those that are like it, side by side."""
    groups = ([kept, *(near for near, _ in others)] for kept, others in neighbors.items())
    return list(dict.fromkeys(str(label_id) for group in groups for label_id in group))


def _outputs(results):
    shown = types.Object()
    if "errors" in results:
        _add_errors(shown, results)
    else:
        shown.int("count", label="Regions")

    shown.list("label_ids", types.String(), label="Labels")
    return types.Property(shown, view=types.View(label="Odd regions"))


def _add_errors(shown, results):
    label = "%d of %s estimated to be wrong" % (
        results["errors"],
        count(results["judged"], "label"),
    )
    told = "The likeliest %d are shown, the surest first" % results["count"]
    told += "; judged by %s, which agree with %s of the labels" % (
        results["judged_by"],
        percent(results["agreement"]),
    )
    if results["left_out"]:
        told += "; %s could not be judged" % count(results["left_out"])

    shown.view("errors_note", alert("info", label, told))
    table = types.TableView()
    for name, heading in ERROR_COLUMNS.items():
        table.add_column(name, label=heading)

    shown.list("rows", types.Object(), label="The first %d" % len(results["rows"]), view=table)
