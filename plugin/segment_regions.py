"""
The operator that makes masks: for boxes, of everything in a picture, or of the parts of a
segmentation.
"""

import fiftyone.operators as foo
import fiftyone.operators.types as types
from alphaclip.indexing.labels import FieldError, region_fields
from alphaclip.indexing.mask_fields import check_name, mask_settings
from alphaclip.indexing.materializing import segmentation_fields

from alphaclip.sam_checkpoints import RELEASED_SAMS, how_to_install_sam, installed_sam_path
from alphaclip.sam_masks import AUTOMATIC_LIMITS, PROMPTED_LIMITS, MaskLimits

from .forms import dropdown, grid_button, refuse, reject
from .progress import follow, show_errors

AUTOMATIC = "automatic"
BOXES, PARTS = "boxes:", "parts:"
ZOO_SAM = ("segment-anything-", "med-sam")
SHOWN_SKIPPED = 100
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

    def resolve_placement(self, ctx):
        return grid_button(self.config)

    def resolve_input(self, ctx):
        inputs = types.Object()
        if _can_segment(ctx, inputs):
            _add_fields(ctx, inputs)

        return types.Property(inputs, view=types.PromptView(label=self.config.label))

    def resolve_run_name(self, ctx):
        return "Segment %s" % ctx.params.get("source")

    def execute(self, ctx):
        if ctx.delegated:
            return _segment(ctx, lambda report: ctx.set_progress(**report))

        return show_errors(ctx, _segment_in_app(ctx))

    def resolve_output(self, ctx):
        return _outputs(ctx.results)


def _can_segment(ctx, inputs):
    if ctx.dataset is None:
        refuse(inputs, "No dataset is open", "Open one first.")
    elif ctx.dataset.media_type is None:
        refuse(inputs, "This dataset is empty", "Add images first.")
    elif ctx.dataset.media_type == "video":
        refuse(
            inputs,
            "This dataset holds videos",
            "Masks are made of images: in Python, dataset.to_frames(sample_frames=True).clone() "
            "makes a dataset of the frames.",
        )
    elif ctx.dataset.media_type not in ("image", "group"):
        refuse(
            inputs,
            "This dataset holds no images",
            "Its media type is %s; masks are made of images." % ctx.dataset.media_type,
        )
    elif not _models() and not segmentation_fields(ctx.dataset):
        refuse(inputs, "No SAM is installed", "Please %s." % how_to_install_sam(RELEASED_SAMS[0]))
    else:
        return True

    return False


def _add_fields(ctx, inputs):
    inputs.view_target(
        ctx,
        action_description="Segment",
        allow_dataset_view=ctx.view._is_generated,
        current_view_description="The images shown",
    )
    sources = _sources(ctx.dataset)
    dropdown(inputs, "source", sources, label="What to segment", required=True)
    source = ctx.params.get("source") or next(iter(sources))
    _add_into(ctx, inputs, source)
    if not source.startswith(PARTS):
        models = _models()
        dropdown(inputs, "model", models, label="Model", description="The installed ones")

    _add_limits(ctx, inputs, source)


def _sources(dataset):
    sources = {}
    if _models():
        for name, kind in region_fields(dataset).items():
            if mask_settings(dataset, name) is None:
                sources[BOXES + name] = "Masks for the boxes of %s (%s)" % (name, kind)

        sources[AUTOMATIC] = "Everything in the picture"

    for name in segmentation_fields(dataset):
        sources[PARTS + name] = "The connected parts of %s (Segmentation)" % name

    return sources


def _models():
    import fiftyone.zoo as foz

    models = {
        released.name: "%s, Segment Anything" % released.name
        for released in reversed(RELEASED_SAMS)
        if installed_sam_path(released.name).is_file()
    }
    for name in sorted(foz.list_downloaded_zoo_models()):
        if name.startswith(ZOO_SAM) and "-video-" not in name:
            models[name] = "%s, of FiftyOne's zoo" % name

    return models


def _add_into(ctx, inputs, source):
    default = _default_into(source)
    prop = inputs.str(
        "into",
        label="Field for the masks",
        description="A new field, or one that was made here with the same settings",
        default=default,
        required=True,
    )
    name = (ctx.params.get("into") or default).strip()
    try:
        check_name(name)
    except FieldError as error:
        reject(prop, str(error))
        return

    if ctx.dataset.get_field(name) is None:
        return

    if mask_settings(ctx.dataset, name) is None:
        reject(prop, "There is a field %r that was not made here: choose another name." % name)
    else:
        inputs.bool(
            "overwrite",
            label="Make all of its masks again",
            description="Otherwise only what is new or edited is segmented",
            default=False,
        )


def _default_into(source):
    name = source.partition(":")[2]
    return "%s_masks" % name if name else "masks"


def _add_limits(ctx, inputs, source):
    usual = _usual_limits(source)
    if not source.startswith(PARTS):
        _add_share(ctx, inputs, "min_quality", "Least quality", usual, "The IoU that SAM predicts")
        _add_share(ctx, inputs, "max_overlap", "Greatest overlap", usual, "Else a duplicate (IoU)")
        _add_share(ctx, inputs, "max_area", "Largest area", usual, "As a share of the picture")

    prop = _add_share(
        ctx, inputs, "min_area", "Smallest area", usual, "As a share of the picture, from 0 to 1"
    )
    smallest, largest = (_number(ctx, name, usual) for name in ("min_area", "max_area"))
    if smallest > largest:
        reject(prop, "The smallest area is above the largest: no mask would be kept.")


def _add_share(ctx, inputs, name, label, usual, description):
    prop = inputs.float(
        name, label=label, description=description, default=getattr(usual, name), min=0, max=1
    )
    if not 0 <= _number(ctx, name, usual) <= 1:
        reject(prop, "Give a number from 0 to 1.")

    return prop


def _number(ctx, name, usual):
    value = ctx.params.get(name)
    return getattr(usual, name) if value is None else float(value)


def _usual_limits(source):
    return AUTOMATIC_LIMITS if source == AUTOMATIC else PROMPTED_LIMITS


def _segment_in_app(ctx):
    results = yield from follow(
        lambda report: _segment(ctx, report),
        lambda report: ctx.ops.set_progress(**report),
    )
    yield ctx.ops.reload_dataset()
    yield ctx.ops.show_output(_outputs(results).to_json(), results)


def _segment(ctx, report):
    from alphaclip.indexing.materializing import materialize
    from alphaclip.indexing.segmenting import segment

    def progress(what, done, total):
        label = "%d of %d %s" % (done, total, what)
        report({"progress": done / max(total, 1), "label": label})

    report({"progress": 0.0, "label": "Loading the model"})
    source = ctx.params["source"]
    into = (ctx.params.get("into") or _default_into(source)).strip()
    shared = {"overwrite": ctx.params.get("overwrite", False), "progress": progress}
    usual = _usual_limits(source)
    if source.startswith(PARTS):
        smallest = _number(ctx, "min_area", usual)
        done = materialize(_images(ctx), source.removeprefix(PARTS), into, smallest, **shared)
    else:
        field = source.removeprefix(BOXES) if source.startswith(BOXES) else None
        model = ctx.params.get("model") or next(iter(_models()))
        limits = _limits(ctx, usual)
        done = segment(_images(ctx), field, into, model, limits, **shared)

    return _summarize(done.to_dict())


def _limits(ctx, usual):
    names = ("min_quality", "min_area", "max_area", "max_overlap")
    return MaskLimits(**{**vars(usual), **{name: _number(ctx, name, usual) for name in names}})


def _images(ctx):
    view = ctx.target_view()
    return ctx.dataset.select(view.distinct("sample_id")) if view._is_generated else view


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
        _add_skipped(shown)

    return types.Property(shown, view=types.View(label="Regions segmented"))


def _add_skipped(shown):
    table = types.TableView()
    table.add_column("filepath", label="Image")
    table.add_column("label_id", label="Label")
    table.add_column("reason", label="Reason")
    shown.list(
        "skipped_items",
        types.Object(),
        label="Skipped, the first %d" % SHOWN_SKIPPED,
        view=table,
    )
