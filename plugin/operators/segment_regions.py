"""The operator that makes masks: for boxes, of everything in a picture, of what words name, or of
the parts of a segmentation."""

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError

from ..common.forms import alert, count, target_images
from ..common.models import fetch
from ..common.operators import JobOperator, configure
from ..common.reports import SHOWN_SKIPPED, add_counts, add_skipped
from ..common.segment_form import WORDS, add_form, read_form
from ..common.tiles import data_uri

TRIAL_SIZE = (640, 640)
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
        fetch(form.model, job.progress)
        if form.tries:
            results = try_one(target_images(ctx), form, _selected(ctx))
            job.said = results["about"]
            return results

        report = _make_masks(target_images(ctx), form, job.progress).to_dict()
        job.said = "%s added to %s" % (count(report["added"], "mask"), form.into)
        left_out = sum(report["dropped"].values())
        if left_out:
            job.said += ", %d left out" % left_out

        skipped = report["skipped"]
        return {**report, "skipped": len(skipped), "skipped_items": skipped[:SHOWN_SKIPPED]}

    def lay_out(self, results, outputs):
        if "picture" in results:
            outputs.view("about_note", alert("info", "Tried on one picture", results["about"]))
            outputs.img("picture", alt_text=results["about"])
            _add_dropped(outputs, results)
            return

        outputs.str("into", label="Field")
        outputs.int("added", label="Masks added")
        add_counts(outputs, results, {"kept": "Masks kept from before"})
        outputs.int("samples", label="Images")
        add_counts(outputs, results, {"done_before": "Images that were done before"})
        _add_dropped(outputs, results)
        outputs.float("seconds", label="Seconds")
        add_skipped(outputs, results)


def try_one(images, form, sample_id=None):
    """Segments one picture, and writes nothing.

    Args:
        images: a :class:`fiftyone.core.collections.SampleCollection`
        form: a ``SegmentForm``
        sample_id (None): of the picture; None takes the first that there is something of to segment

    Returns:
        a dict of JSON values: ``sample_id``, ``count``, how many masks, ``dropped``, how many of
        them were left out and why, ``skipped_items``, ``seconds``, ``seconds_of_all``, an estimate,
        ``about``, all of it in words, and ``picture``, a JPEG as a data URI
    """
    from alphaclip.indexing import segment_one
    from alphaclip.indexing.dataset.labels import label_region
    from alphaclip.pages.tiles import draw_regions

    trial = segment_one(images, form.boxes_of, form.model, form.limits, form.points, sample_id)
    report = trial.report
    regions = [label_region(mask) for mask in trial.masks]
    seconds = report.seconds * trial.pictures
    about = "%s in %.1f seconds" % (count(report.added, "mask"), report.seconds)
    left_out = sum(report.dropped.values())
    about += ", %d left out" % left_out if left_out else ""
    about += "; all %s take about %s" % (count(trial.pictures, "picture"), _duration(seconds))
    if report.skipped:
        about += "; %s" % report.skipped[0].reason

    return {
        "sample_id": trial.sample_id,
        "count": report.added,
        "dropped": report.dropped,
        "skipped_items": report.to_dict()["skipped"][:SHOWN_SKIPPED],
        "seconds": report.seconds,
        "seconds_of_all": round(seconds),
        "about": about,
        "picture": data_uri(draw_regions(trial.filepath, regions, TRIAL_SIZE)),
    }


def _selected(ctx):
    """The picture that is open, or else the first that is selected."""
    if ctx.view is not None and ctx.view._is_generated:
        return None

    return ctx.current_sample or next(iter(ctx.selected or []), None)


def _duration(seconds):
    for unit, size in {"hours": 3600, "minutes": 60}.items():
        if seconds >= 2 * size:
            return "%d %s" % (round(seconds / size), unit)

    return "%d seconds" % max(1, round(seconds))


def _add_dropped(outputs, results):
    dropped = types.Object()
    add_counts(dropped, results.get("dropped", {}), DROPPED)
    outputs.define_property("dropped", dropped)


def _make_masks(images, form, progress):
    from alphaclip.indexing.masks.materializing import materialize
    from alphaclip.indexing.masks.segmenting import segment

    shared = {"overwrite": form.overwrite, "progress": progress}
    if form.parts_of:
        return materialize(images, form.parts_of, form.into, form.limits.min_area, **shared)

    if form.source == WORDS:
        if not any(form.concepts):
            raise AlphaClipError("concepts is empty: say what to look for, such as excavator")

        shared["concepts"] = form.concepts

    return segment(images, form.boxes_of, form.into, form.model, form.limits, form.points, **shared)
