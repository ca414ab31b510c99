"""
The operator that labels regions with a stated precision.
"""

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..common.forms import alert, count, text
from ..common.indexes import open_index
from ..common.jobs import stoppable
from ..common.label_form import add_form, read_form
from ..common.label_reports import CLASS_COLUMNS, class_rows, figures, summary_lines
from ..common.progress import follow, go_on_in_background, show_errors

PANEL = "label_regions_panel"
WAITS = "waits"
SAID = {
    "done": ("success", "Labels written"),
    "moved": ("warning", "The new regions are not like the reviewed ones"),
    "not reachable": ("warning", "The precision cannot be promised"),
    WAITS: ("info", "The random sample waits for reviews"),
}
REVIEW = "%d of %s are to be reviewed in the panel “Label regions”; then label again"
FIGURES = {"reliability": "Do the probabilities hold?", "classes": "Each class"}


class LabelRegions(foo.Operator):
    """Gives the regions of an index a class where the stated precision can be promised."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="label_regions",
            label="Label regions with a stated precision",
            description="Gives regions a class where a stated precision can be promised, and "
            "queues the rest for review",
            light_icon="/assets/embed-light.svg",
            dark_icon="/assets/embed-dark.svg",
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            view_target=False,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        add_form(ctx, inputs)
        view = types.PromptView(label=self.config.label, submit_button_label="Label")
        return types.Property(inputs, view=view)

    def resolve_run_name(self, ctx):
        return "Label the regions of %s" % ctx.params.get("key")

    def execute(self, ctx):
        if ctx.delegated:
            return _label(ctx, lambda report: ctx.set_progress(**report))

        return show_errors(ctx, _label_in_app(ctx))

    def resolve_output(self, ctx):
        return _outputs(ctx.results)


def _label_in_app(ctx):
    if ctx.params.get("background"):
        yield from go_on_in_background(ctx, lambda report: _label(ctx, report))
        return

    results = yield from follow(
        lambda report: _label(ctx, report),
        lambda report: ctx.ops.set_progress(**report),
    )
    yield ctx.ops.reload_dataset()
    if results["outcome"] == WAITS:
        yield ctx.ops.open_panel(PANEL, layout="horizontal")

    yield ctx.ops.show_output(_outputs(results).to_json(), results)


def _label(ctx, report):
    form = read_form(ctx)
    report({"progress": 0.0, "label": "Reading the regions"})
    title = "Labelling into %s" % form.settings.into
    with stoppable(ctx.dataset, form.key, title, report) as job:
        results = _summarize(_run(ctx.dataset, form, job.progress))
        job.said = "%s: %s" % (SAID[results["outcome"]][1], results["lines"][0])

    return results


def _run(dataset, form, progress):
    index = open_index(dataset, form.key)
    return index.label(form.classes, progress=progress, **vars(form.settings)).to_dict()


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


def _outputs(results):
    shown = types.Object()
    severity, label = SAID[results["outcome"]]
    shown.view("outcome", alert(severity, label, _described(results)))
    for number, line in enumerate(results["lines"][1:]):
        shown.view("line_%d" % number, text(line))

    for name, figure in results["figures"].items():
        shown.plot("%s_figure" % name, label=FIGURES[name], **figure)

    table = types.TableView()
    for name, heading in CLASS_COLUMNS.items():
        table.add_column(name, label=heading)

    shown.list("classes", types.Object(), label="Classes", view=table)
    if results["outcome"] != WAITS:
        _add_assumptions(shown, results["assumptions"])

    return types.Property(shown, view=types.View(label="Regions labelled"))


def _add_assumptions(shown, assumptions):
    shown.view("rests_on", types.Header(label="What this rests on"))
    for number, line in enumerate(assumptions):
        shown.view("assumption_%d" % number, text(line))


def _described(results):
    counts, told = results["counts"], results["lines"][0]
    if results["outcome"] != WAITS:
        return told

    review = REVIEW % (counts["sample to review"], count(counts["sample"]))
    return "%s. %s" % (review, told)
