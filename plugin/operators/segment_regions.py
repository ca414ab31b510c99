"""
The operator that makes masks: for boxes, of everything in a picture, or of the parts of a
segmentation.
"""

import fiftyone.operators as foo
import fiftyone.operators.types as types

from ..common.forms import count, target_images
from ..common.jobs import stoppable
from ..common.progress import follow, go_on_in_background, show_errors
from ..common.reports import SHOWN_SKIPPED, add_skipped
from ..common.segment_form import add_form, read_form

JOB = "masks:%s"
DROPPED = {
    "quality": "Left out, because SAM expects them to be poor",
    "area": "Left out, because they are too small or too large",
    "duplicate": "Left out, because they are duplicates",
    "empty": "Boxes in which SAM found nothing",
}


class SegmentRegions(foo.Operator):
    """Makes masks with Segment Anything and writes them into a field."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="segment_regions",
            label="Segment regions",
            description="Makes masks for boxes, of everything in a picture, or of a segmentation",
            light_icon="/assets/embed-light.svg",
            dark_icon="/assets/embed-dark.svg",
            dynamic=True,
            execute_as_generator=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        add_form(ctx, inputs)
        return types.Property(inputs, view=types.PromptView(label=self.config.label))

    def resolve_run_name(self, ctx):
        return "Segment %s" % ctx.params.get("source")

    def execute(self, ctx):
        if ctx.delegated:
            return _segment(ctx, lambda report: ctx.set_progress(**report))

        return show_errors(ctx, _segment_in_app(ctx))

    def resolve_output(self, ctx):
        return _outputs(ctx.results)


def _segment_in_app(ctx):
    if ctx.params.get("background"):
        yield from go_on_in_background(ctx, lambda report: _segment(ctx, report))
        return

    results = yield from follow(
        lambda report: _segment(ctx, report),
        lambda report: ctx.ops.set_progress(**report),
    )
    yield ctx.ops.reload_dataset()
    yield ctx.ops.show_output(_outputs(results).to_json(), results)


def _segment(ctx, report):
    form = read_form(ctx)
    report({"progress": 0.0, "label": "Loading the model"})
    title = "Segmenting into %s" % form.into
    with stoppable(ctx.dataset, JOB % form.into, title, report) as job:
        done = _make_masks(target_images(ctx), form, job.progress)
        job.said = "%s added to %s" % (count(done.added, "mask"), form.into)
        left_out = sum(done.dropped.values())
        if left_out:
            job.said += ", %d left out" % left_out

    return _summarize(done.to_dict())


def _make_masks(images, form, progress):
    from alphaclip.indexing.masks.materializing import materialize
    from alphaclip.indexing.masks.segmenting import segment

    shared = {"overwrite": form.overwrite, "progress": progress}
    if form.parts_of:
        return materialize(images, form.parts_of, form.into, form.limits.min_area, **shared)

    return segment(images, form.boxes_of, form.into, form.model, form.limits, form.points, **shared)


def _summarize(report):
    skipped = report["skipped"]
    return {**report, "skipped": len(skipped), "skipped_items": skipped[:SHOWN_SKIPPED]}


def _outputs(results):
    shown = types.Object()
    shown.str("into", label="Field")
    shown.int("added", label="Masks added")
    if results.get("kept"):
        shown.int("kept", label="Masks kept from before")

    shown.int("samples", label="Images")
    if results.get("done_before"):
        shown.int("done_before", label="Images that were done before")

    dropped = types.Object()
    for name, label in DROPPED.items():
        if results.get("dropped", {}).get(name):
            dropped.int(name, label=label)

    shown.define_property("dropped", dropped)
    shown.float("seconds", label="Seconds")
    if results.get("skipped"):
        shown.int("skipped", label="Skipped")
        add_skipped(shown)

    return types.Property(shown, view=types.View(label="Regions segmented"))
