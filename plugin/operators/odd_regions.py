"""The operator that shows near-duplicates, outliers, or labels that something is wrong with."""

import importlib.util

import fiftyone.operators.types as types

from alphaclip.indexing.brain.exporting import similarity_run
from alphaclip.indexing.dataset.locations import index_keys

from ..common.forms import add_table, alert, choose_index, count, dropdown, reject, shorten
from ..common.grid import show_view
from ..common.indexes import named_hits, open_index
from ..common.label_reports import percent
from ..common.operators import JobOperator, configure, show_in_panel
from ..common.region_forms import text_attributes
from ..common.reports import ids_and_scores

DUPLICATES, OUTLIERS, ERRORS = "duplicates", "outliers", "label errors"
MISSING, DRAWN, DOUBLED = "missing labels", "badly drawn", "doubled"
KINDS = {
    DUPLICATES: "Near-duplicates, each with those that are like it",
    OUTLIERS: "Outliers: the regions whose nearest neighbours are least like them",
    ERRORS: "Label errors: the regions whose label the vectors speak against",
    MISSING: "Missing labels: proposals of a segmenter that no label covers",
    DRAWN: "Badly drawn labels: their box is not the one of the segmenter's mask",
    DOUBLED: "Doubled labels: two of one object",
}
DEFAULT_SIMILARITY, DEFAULT_COUNT = 0.98, 50
MAX_SHOWN, MAX_NAMED = 10_000, 50
"""Regions that the results name, and label errors that the form of the results lists."""

ERROR_COLUMNS = {
    "number": "No.",
    "given": "Label",
    "suggested": "Rather",
    "probability": "Probability of the label",
}


class FindOddRegions(JobOperator):
    """Finds regions that are nearly the same as others or unlike even the nearest ones, and labels
    that are wrong, missing, drawn badly or doubled."""

    config = configure(
        name="find_odd_regions",
        label="Find odd regions",
        description="Shows near-duplicates, outliers, or labels that are wrong, missing or doubled",
        icon="rule",
        allow_delegated_execution=True,
        view_target=False,
        risk_level=types.RiskLevel.LOW,
    )
    button = "Find"
    begins = "Comparing the regions"
    results_label = "Odd regions"
    offers_background = False

    def add_form(self, ctx, inputs):
        if choose_index(ctx, inputs) is None:
            return

        prop = dropdown(inputs, "kind", KINDS, ctx.params.get("kind"), label="What to find")
        kind = ctx.params.get("kind") or DUPLICATES
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
        if kind in (ERRORS, MISSING):
            _add_attribute(ctx, inputs)

        if kind == ERRORS and importlib.util.find_spec("cleanlab") is None:
            reject(prop, "Label errors need cleanlab: run pip install cleanlab")

    def resolve_run_name(self, ctx):
        return "Odd regions of %s" % ctx.params.get("key")

    def describe_job(self, ctx):
        return ctx.params["key"], "Comparing the regions of %s" % ctx.params["key"]

    def work(self, ctx, job):
        find = FINDERS.get(ctx.params.get("kind") or DUPLICATES, _find)
        return find(ctx, ctx.params["key"], job.progress)

    def finish(self, ctx, results):
        if not results["count"]:
            yield ctx.ops.notify("Nothing was found", variant="info")
            return

        if "errors" in results:
            yield self.show_results(ctx, results)

        yield from show_in_panel(ctx, results["entry"])

        index = open_index(ctx.dataset, results.get("key") or ctx.params["key"])
        shown = named_hits(index, results["names"][:MAX_SHOWN])
        yield from show_view(ctx, shown.view())
        yield ctx.ops.notify("%s found" % count(results["count"]), variant="success")

    def lay_out(self, results, outputs):
        if "errors" in results:
            _add_errors(outputs, results)
        else:
            outputs.int("count", label="Regions")

        outputs.list("label_ids", types.String(), label="Labels")


def _add_attribute(ctx, inputs):
    index = open_index(ctx.dataset, ctx.params.get("key") or index_keys(ctx.dataset)[0])
    names = {name: name for name in text_attributes(ctx.dataset, index.field)}
    chosen, about = ctx.params.get("attribute"), "Of the labels, that holds the class"
    dropdown(inputs, "attribute", names, chosen, label="Attribute", description=about)


def _find_duplicates(ctx, key, progress):
    from alphaclip import indexing

    results = similarity_run(ctx.dataset, key)
    results.find_duplicates(thresh=1 - (ctx.params.get("similarity") or DEFAULT_SIMILARITY))
    near = results.neighbors_map.items()
    groups = [list(map(str, [one, *(other for other, _ in others)])) for one, others in near]
    label_ids = list(dict.fromkeys(label_id for group in groups for label_id in group))
    shown = set(label_ids[:MAX_SHOWN])
    pairs = [(1 - far, str(other), str(one)) for one, others in near for other, far in others]
    nearest = {other: (score, one) for score, other, one in sorted(pairs)}
    names = sorted(nearest, key=nearest.get, reverse=True)
    scores, originals = ([nearest[name][part] for name in names] for part in (0, 1))
    finding = indexing.Finding(DUPLICATES, key, names, scores, originals)
    entry = indexing.remember(ctx.dataset, finding)
    return {
        "entry": entry,
        "count": len(label_ids),
        "label_ids": label_ids[:MAX_SHOWN],
        "names": label_ids[:MAX_SHOWN],
        "groups": [group for group in groups if group[0] in shown],
    }


def _find(ctx, key, progress):
    from alphaclip import indexing

    number, attribute = ctx.params.get("count") or DEFAULT_COUNT, ctx.params.get("attribute")
    index, kind = open_index(ctx.dataset, key), ctx.params["kind"]
    finding = indexing.find_odd(index, kind, number, attribute or "label", progress)
    hits, notes = finding.hits(open_index(ctx.dataset, finding.key))
    return {
        "entry": indexing.remember(ctx.dataset, finding),
        **_listed(ctx, finding.key, hits),
        "key": finding.key,
        "notes": notes,
    }


def _find_errors(ctx, key, progress):
    from alphaclip import indexing

    index, attribute = open_index(ctx.dataset, key), ctx.params.get("attribute") or "label"
    number = ctx.params.get("count") or DEFAULT_COUNT
    suspects = indexing.find_label_errors(index, number, attribute, progress=progress)
    columns = suspects.suggested, suspects.suggested_scores
    finding = indexing.Finding.of(ERRORS, index, suspects.hits, *columns, attribute)
    return {
        "entry": indexing.remember(ctx.dataset, finding),
        **_listed(ctx, key, suspects.hits),
        "given": suspects.given.tolist(),
        "suggested": suspects.suggested.tolist(),
        "probabilities": suspects.hits.scores.tolist(),
        "rows": _rows(suspects),
        "errors": suspects.errors,
        "judged": suspects.judged,
        "left_out": suspects.left_out,
        "judged_by": suspects.judged_by,
        "agreement": suspects.agreement,
    }


def _rows(suspects):
    """What is said of the first ones."""
    columns = (suspects.given, suspects.suggested, suspects.hits.scores.tolist())
    return [
        {
            "number": number,
            "given": shorten(label),
            "suggested": shorten(suggested),
            "probability": percent(score),
        }
        for number, (label, suggested, score) in enumerate(zip(*columns, strict=True), start=1)
        if number <= MAX_NAMED
    ]


FINDERS = {DUPLICATES: _find_duplicates, ERRORS: _find_errors}
"""Of the kinds that have more to say than a finding holds."""


def _listed(ctx, key, hits):
    return {**ids_and_scores(hits), "names": open_index(ctx.dataset, key).names(hits)}


def _add_errors(outputs, results):
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

    outputs.view("errors_note", alert("info", label, told))
    add_table(outputs, "rows", ERROR_COLUMNS, label="The first %d" % len(results["rows"]))
