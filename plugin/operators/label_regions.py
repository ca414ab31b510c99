"""The operator that labels regions with a stated precision."""

import fiftyone.operators.types as types

from alphaclip.indexing.labelling.report_words import summary_lines

from ..common.forms import add_table, alert, count, text
from ..common.indexes import open_index
from ..common.label_form import add_form, read_form
from ..common.label_reports import CLASS_COLUMNS, class_rows, figures
from ..common.operators import JobOperator, configure

WAITS = "waits"
SAID = {
    "done": ("success", "Labels written"),
    "moved": ("warning", "The new regions are not like the reviewed ones"),
    "not reachable": ("warning", "The precision cannot be promised"),
    WAITS: ("info", "The random sample waits for reviews"),
}
"""Of each outcome of a run, how loud it is said, and what."""

FIGURES = {"reliability": "Do the probabilities hold?", "classes": "Each class"}


class LabelRegions(JobOperator):
    """Gives the regions of an index a class where the stated precision can be promised."""

    config = configure(
        name="label_regions",
        label="Label regions with a stated precision",
        description="Gives regions a class where a stated precision can be promised, and "
        "queues the rest for review",
        icon="fact_check",
        allow_delegated_execution=True,
        view_target=False,
        risk_level=types.RiskLevel.MEDIUM,
    )
    button = "Label"
    begins = "Reading the regions"
    results_label = "Regions labelled"

    def add_form(self, ctx, inputs):
        add_form(ctx, inputs)

    def resolve_run_name(self, ctx):
        return "Label the regions of %s" % ctx.params.get("key")

    def describe_job(self, ctx):
        form = read_form(ctx)
        return form.key, "Labelling into %s" % form.settings.into

    def work(self, ctx, job):
        form = read_form(ctx)
        index = open_index(ctx.dataset, form.key)
        report = index.label(form.classes, progress=job.progress, **vars(form.settings))
        results = _summarize(report.to_dict())
        job.said = "%s: %s" % (SAID[results["outcome"]][1], results["lines"][0])
        return results

    def finish(self, ctx, results):
        if results["outcome"] == WAITS:
            yield ctx.ops.open_panel("label_regions_panel", layout="horizontal")

        yield self.show_results(ctx, results)

    def lay_out(self, results, outputs):
        severity, label = SAID[results["outcome"]]
        counts, told = results["counts"], results["lines"][0]
        if results["outcome"] == WAITS:
            missing, sample = counts["sample to review"], count(counts["sample"])
            told = (
                "%d of %s are to be reviewed in the panel “Label regions”; then label again. %s"
                % (missing, sample, told)
            )

        outputs.view("outcome", alert(severity, label, told))
        for number, line in enumerate(results["lines"][1:]):
            outputs.view("line_%d" % number, text(line))

        for name, figure in results["figures"].items():
            outputs.plot("%s_figure" % name, label=FIGURES[name], **figure)

        add_table(outputs, "classes", CLASS_COLUMNS, label="Classes")
        if results["outcome"] != WAITS:
            outputs.view("rests_on", types.Header(label="What this rests on"))
            for number, line in enumerate(results["assumptions"]):
                outputs.view("assumption_%d" % number, text(line))


def _summarize(report):
    missing = report["counts"]["sample to review"]
    is_waiting = report["outcome"] == "not reachable" and missing > 0
    return {
        "outcome": WAITS if is_waiting else report["outcome"],
        "run": report["run"],
        "counts": report["counts"],
        "promise": report["promise"],
        "lines": summary_lines(report),
        "classes": class_rows(report),
        "assumptions": report["assumptions"],
        "figures": figures(report),
    }
