"""The operator that makes masks: for boxes, of everything in a picture, or of the parts of a
segmentation."""

import fiftyone.operators.types as types

from ..common.forms import count, target_images
from ..common.reports import SHOWN_SKIPPED, add_counts, add_skipped
from ..common.segment_form import add_form, read_form
from .base import JobOperator, configure

DROPPED = {
    "quality": "Left out, because SAM expects them to be poor",
    "area": "Left out, because they are too small or too large",
    "duplicate": "Left out, because they are duplicates",
    "empty": "Boxes in which SAM found nothing",
}


class SegmentRegions(JobOperator):
    """Makes masks with Segment Anything and writes them into a field."""

    config = configure(
        name="segment_regions",
        label="Segment regions",
        description="Makes masks for boxes, of everything in a picture, or of a segmentation",
        icon="content_cut",
        allow_delegated_execution=True,
        risk_level=types.RiskLevel.MEDIUM,
    )
    begins = "Loading the model"
    results_label = "Regions segmented"

    def add_form(self, ctx, inputs):
        add_form(ctx, inputs)

    def resolve_run_name(self, ctx):
        return "Segment %s" % ctx.params.get("source")

    def describe_job(self, ctx):
        into = read_form(ctx).into
        return "masks:%s" % into, "Segmenting into %s" % into

    def work(self, ctx, job):
        form = read_form(ctx)
        report = _make_masks(target_images(ctx), form, job.progress).to_dict()
        job.said = "%s added to %s" % (count(report["added"], "mask"), form.into)
        left_out = sum(report["dropped"].values())
        if left_out:
            job.said += ", %d left out" % left_out

        skipped = report["skipped"]
        return {**report, "skipped": len(skipped), "skipped_items": skipped[:SHOWN_SKIPPED]}

    def lay_out(self, results, outputs):
        outputs.str("into", label="Field")
        outputs.int("added", label="Masks added")
        add_counts(outputs, results, {"kept": "Masks kept from before"})
        outputs.int("samples", label="Images")
        add_counts(outputs, results, {"done_before": "Images that were done before"})
        dropped = types.Object()
        add_counts(dropped, results.get("dropped", {}), DROPPED)
        outputs.define_property("dropped", dropped)
        outputs.float("seconds", label="Seconds")
        add_skipped(outputs, results)


def _make_masks(images, form, progress):
    from alphaclip.indexing.masks.materializing import materialize
    from alphaclip.indexing.masks.segmenting import segment

    shared = {"overwrite": form.overwrite, "progress": progress}
    if form.parts_of:
        return materialize(images, form.parts_of, form.into, form.limits.min_area, **shared)

    return segment(images, form.boxes_of, form.into, form.model, form.limits, form.points, **shared)
