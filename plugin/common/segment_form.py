"""The form of the operator that makes masks: of what, by which model, into which field."""

import math
from dataclasses import dataclass

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import FieldError, region_fields
from alphaclip.indexing.dataset.schema import check_name, mask_settings
from alphaclip.indexing.masks.materializing import segmentation_fields
from alphaclip.indexing.masks.segmenters import ZOO_PREFIXES
from alphaclip.sam.masks import AUTOMATIC_LIMITS, PROMPTED_LIMITS, MaskLimits
from alphaclip.sam.sam import MOST_POINTS

from .forms import add_background, add_images, dropdown, refuse_other_media, reject, split
from .models import add_model, segmenters_of

AUTOMATIC, WORDS = "automatic", "words"
BOXES, PARTS = "boxes:", "parts:"
USUAL_POINTS = 32


@dataclass(frozen=True)
class SegmentForm:
    """What the form says, with its defaults.

    Attributes:
        source: "automatic", "words", or "boxes:" or "parts:" and the name of a field
        concepts: the words, for "words"
        into: the name of the field for the masks
        model: the name of the model, None where the parts of a segmentation are taken
        limits: a ``MaskLimits``
        points: of the grid that SAM starts from, a side
        overwrite: whether all masks of ``into`` are made again
        tries: whether only one picture is segmented, and nothing written
    """

    source: str
    concepts: list
    into: str
    model: str
    limits: MaskLimits
    points: int
    overwrite: bool
    tries: bool

    @property
    def parts_of(self):
        """The segmentation whose parts are taken, or None."""
        return self.source.removeprefix(PARTS) if self.source.startswith(PARTS) else None

    @property
    def boxes_of(self):
        """The field whose boxes get masks, or None."""
        return self.source.removeprefix(BOXES) if self.source.startswith(BOXES) else None


def add_form(ctx, inputs):
    """Lays the form out, or says why no masks can be made."""
    if not refuse_other_media(ctx, inputs, "Masks are made"):
        _add_fields(ctx, inputs)


def read_form(ctx):
    """Reads the form."""
    source = ctx.params["source"]
    usual = vars(_usual_limits(source))
    names = [name for name in usual if name != "min_stability" or source == AUTOMATIC]
    return SegmentForm(
        source=source,
        concepts=_concepts(ctx) if source == WORDS else [],
        into=_into(ctx, source),
        model=None if source.startswith(PARTS) else _model(ctx),
        limits=MaskLimits(**{**usual, **{name: _number(ctx, name, usual[name]) for name in names}}),
        points=int(_number(ctx, "points", USUAL_POINTS)),
        overwrite=ctx.params.get("overwrite", False),
        tries=bool(ctx.params.get("try_one")) and _can_try(source),
    )


def _can_try(source):
    return source == AUTOMATIC or source.startswith(BOXES)


def _concepts(ctx):
    given = ctx.params.get("concepts") or []
    return split(given) if isinstance(given, str) else [str(one).strip() for one in given]


def _model(ctx):
    chosen = ctx.params.get("model") or "auto"
    here = [model["name"] for model in segmenters_of() if model["installed"]]
    return here[0] if chosen == "auto" and here else chosen


def _add_fields(ctx, inputs):
    add_images(ctx, inputs, "Segment")
    sources = _sources(ctx.dataset)
    chosen = ctx.params.get("source")
    prop = dropdown(inputs, "source", sources, chosen, label="What to segment", required=True)
    if prop.invalid:
        return

    source, model = chosen or next(iter(sources)), None
    if source == WORDS:
        _add_words(ctx, inputs)

    if not source.startswith(PARTS):
        model = add_model(ctx, inputs, "model", segmenters_of(), label="Model")

    _add_into(ctx, inputs, source)
    _add_more(ctx, inputs, source, model)
    if _can_try(source):
        inputs.bool(
            "try_one",
            label="Try it on one picture",
            description="The selected one, or the first: shows what is found, and writes nothing",
            default=False,
        )

    add_background(inputs)


def _add_words(ctx, inputs):
    from alphaclip.indexing.word_detectors import installed_detector

    prop = inputs.str(
        "concepts",
        label="Words",
        description="What to look for, separated by commas: excavator, hard hat",
        required=True,
    )
    try:
        installed_detector()
    except AlphaClipError as error:
        reject(prop, str(error))


def _add_more(ctx, inputs, source, model):
    """Adds what has a usual value: where that is asked for, and where it is another one now."""
    usual = {**vars(_usual_limits(source)), "points": USUAL_POINTS}
    differs = any(ctx.params.get(name, value) != value for name, value in usual.items())
    view = types.SwitchView()
    inputs.bool("more", label="More settings", default=differs, view=view)
    if not ctx.params.get("more", differs) and not differs:
        return

    # FiftyOne's own models have a grid of their own
    if source == AUTOMATIC and not (model and model["name"].startswith(ZOO_PREFIXES)):
        _add_grid(ctx, inputs)

    _add_limits(ctx, inputs, source)


def _sources(dataset):
    sources = {
        BOXES + name: "Masks for the boxes of %s (%s)" % (name, kind)
        for name, kind in region_fields(dataset).items()
        if mask_settings(dataset, name) is None
    }
    sources[AUTOMATIC] = "Everything in the picture"
    sources[WORDS] = "What is called by some words"
    for name in segmentation_fields(dataset):
        sources[PARTS + name] = "The connected parts of %s (Segmentation)" % name

    return sources


def _add_into(ctx, inputs, source):
    default = _default_into(source)
    prop = inputs.str(
        "into",
        label="Field for the masks",
        description="A new field, or one that was made here with the same settings",
        default=default,
    )
    name = _into(ctx, source)
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


def _into(ctx, source):
    into = ctx.params.get("into") or _default_into(source)
    return into.strip() if isinstance(into, str) else into


def _default_into(source):
    name = source.partition(":")[2]
    return "%s_masks" % name if name else "masks"


def _add_grid(ctx, inputs):
    prop = inputs.int(
        "points",
        label="Points a side",
        description="Of the grid that SAM starts from: more find smaller things, and take longer",
        default=USUAL_POINTS,
        min=1,
        max=MOST_POINTS,
    )
    points = _number(ctx, "points", USUAL_POINTS)
    if not 1 <= points <= MOST_POINTS or points != int(points):
        reject(prop, "Give a whole number from 1 to %d." % MOST_POINTS)

    described = "How little a mask changes with its threshold (an IoU)"
    _add_share(ctx, inputs, "min_stability", "Least stability", AUTOMATIC_LIMITS, described)


def _add_limits(ctx, inputs, source):
    usual = _usual_limits(source)
    if not source.startswith(PARTS):
        _add_share(ctx, inputs, "min_quality", "Least quality", usual, "The IoU that SAM predicts")
        _add_share(ctx, inputs, "max_overlap", "Greatest overlap", usual, "Else a duplicate (IoU)")
        _add_share(ctx, inputs, "max_area", "Largest area", usual, "As a share of the picture")

    prop = _add_share(
        ctx, inputs, "min_area", "Smallest area", usual, "As a share of the picture, from 0 to 1"
    )
    smallest, largest = (
        _number(ctx, name, getattr(usual, name)) for name in ("min_area", "max_area")
    )
    if not prop.invalid and smallest > largest:
        reject(prop, "The smallest area is above the largest: no mask would be kept.")


def _add_share(ctx, inputs, name, label, limits, description):
    usual = getattr(limits, name)
    prop = inputs.float(name, label=label, description=description, default=usual, min=0, max=1)
    if not 0 <= _number(ctx, name, usual) <= 1:
        reject(prop, "Give a number from 0 to 1.")

    return prop


def _number(ctx, name, usual):
    value = ctx.params.get(name)
    try:
        return usual if value is None else float(value)
    except (TypeError, ValueError):
        return math.nan


def _usual_limits(source):
    return AUTOMATIC_LIMITS if source == AUTOMATIC else PROMPTED_LIMITS
