"""The panel "Label regions"."""

import fiftyone.operators.types as types
from fiftyone.operators.categories import Categories
from fiftyone.operators.panel import Panel, PanelConfig

from alphaclip.indexing.dataset.locations import index_keys
from alphaclip.indexing.labelling.review.queueing import review_queue
from alphaclip.indexing.labelling.review.runs import labelled_fields

from ..common.forms import alert
from ..common.job_list import add_jobs
from ..common.panels import stamp
from ..common.tiles import add_button
from .class_form import ClassEvents, add_classes
from .pages import draw_page, first_page
from .preview import PreviewEvents, add_preview, show_preview
from .promise_form import RunEvents, add_promise, step_after
from .report import ReportEvents, add_report, show_report
from .review import ReviewEvents, add_review
from .review_keys import KEYS_HELP
from .state import (
    CLASSES,
    LABEL,
    REPORT,
    REVIEW,
    STEPS,
    chosen_into,
    guarded,
    prepare,
    timed,
)

EMBED = "@alphaclip/regions/embed_regions"
BACKGROUND = {"background": True}
HELP = (
    "Gives regions a class by words, with a stated precision: name the classes, press “Label”, "
    "review the random sample, and press “Label” again. What can be promised is written, the rest "
    "waits in a queue, and every run can be undone." + KEYS_HELP
)


class LabelRegionsPanel(ClassEvents, PreviewEvents, RunEvents, ReviewEvents, ReportEvents, Panel):
    """Labels the regions of an index, with a person's reviews."""

    @property
    def config(self):
        return PanelConfig(
            name="label_regions_panel",
            label="Label regions",
            help_markdown=HELP,
            category=Categories.CURATE,
            icon="label",
            surfaces="grid",
        )

    @timed
    def on_load(self, ctx):
        prepare(ctx)
        if ctx.dataset is not None:
            self.redraw(ctx)

    @guarded
    def on_embed(self, ctx):
        ctx.prompt(EMBED, params=BACKGROUND, on_success=self.on_load)

    @guarded
    def on_step(self, ctx):
        step = ctx.params.get("step")
        self.show_step(ctx, step if step in STEPS else CLASSES)

    def on_run_over(self, ctx):
        """Shows what a run has led to."""
        into = ctx.panel.get_state("running_into")
        told = ctx.panel.get_state("outcome")
        if into in labelled_fields(ctx.dataset) and told and told["severity"] == "success":
            ctx.panel.state.set("where.into", into)
            self.show_step(ctx, step_after(review_queue(ctx.dataset, into)))
            if ctx.panel.get_state("step") == REPORT:
                ctx.panel.state.set("outcome", None)

    def show_step(self, ctx, step):
        """Shows a step.

        Args:
            step: of ``STEPS``
        """
        known = labelled_fields(ctx.dataset)
        into = chosen_into(ctx)
        into = into if into in known else next(iter(known), None)
        ctx.panel.state.set("step", step)
        if step == REVIEW and into:
            first_page(ctx, into)
        elif step == REVIEW:
            ctx.panel.state.set("review", None)
        elif step == REPORT:
            show_report(ctx, into)

    def redraw(self, ctx):
        """Draws the pictures of what is shown."""
        step = ctx.panel.get_state("step")
        if step == REVIEW:
            draw_page(ctx)
        elif step == REPORT and ctx.panel.get_state("report"):
            show_report(ctx, ctx.panel.get_state("report")["into"])
        elif step == CLASSES and ctx.panel.get_state("preview"):
            show_preview(ctx, ctx.panel.get_state("preview")["page"])

    def render(self, ctx):
        root = types.Object()
        if ctx.dataset is None:
            root.view("empty", types.Notice(label="Open a dataset first"))
        elif not index_keys(ctx.dataset):
            self._add_first_step(ctx, root)
        else:
            self._add_steps(ctx, root)

        stamp(root, ctx.panel.get_state("stamp") or "")
        return types.Property(
            root, view=types.GridView(orientation="vertical", columns=1, gap=1, pad=2)
        )

    def _add_steps(self, ctx, root):
        step = ctx.panel.get_state("step") or CLASSES
        bar = root.grid("steps", orientation="2d", gap=1)
        for number, (name, label) in enumerate(STEPS.items(), 1):
            add_button(
                bar, name, "%d. %s" % (number, label), self.on_step,
                params={"step": name}, variant="contained" if name == step else "outlined",
            )  # fmt: skip

        add_jobs(ctx, root, self)
        error = ctx.panel.get_state("error")
        if error:
            root.view("error", alert("error", "It did not work", error))

        if step == CLASSES:
            add_classes(ctx, root, self)
            add_preview(ctx, root, self)
        else:
            {LABEL: add_promise, REVIEW: add_review, REPORT: add_report}[step](ctx, root, self)

    def _add_first_step(self, ctx, root):
        said = "No regions of this dataset are embedded yet, so there is nothing to label."
        root.view("empty", types.Notice(label="Embed regions first", description=said))
        add_jobs(ctx, root, self)
        root.btn("embed", label="Embed regions", on_click=self.on_embed, variant="contained")
