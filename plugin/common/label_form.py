"""
The form of the operator that labels regions: with which classes, where to, and what to promise.
"""

from dataclasses import dataclass, replace

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import region_fields, split_attribute
from alphaclip.indexing.labelling.promise.binomial import CONFIDENCE, check_share
from alphaclip.indexing.labelling.review.runs import labelling_of
from alphaclip.indexing.labelling.scoring.class_sets import (
    class_set_names,
    classes_from_text,
    saved_classes,
)
from alphaclip.indexing.labelling.scoring.classes import ClassSet
from alphaclip.indexing.labelling.settings import LabelSettings
from alphaclip.indexing.labelling.writing import check_into

from .forms import add_background, choose_index, count, dropdown, plain, reject
from .indexes import open_index

TYPED = "(typed)"
"""Stands for the classes of the text field; no saved set can have this name."""

INTO, PRECISION, ROWS = "auto", 0.95, 8
PROMISE, RANKING = "promise", "ranking"
MODES = {
    PROMISE: "The precision, with the stated confidence",
    RANKING: "Nothing: every answer is written, with its rank score",
}
EXAMPLE = "apple: a red apple, a green apple; not: tomato; kind of: fruit; also: apples"


@dataclass(frozen=True)
class LabelForm:
    """What the form says, with its defaults.

    Attributes:
        key: of the index
        classes: a list of ``LabelClass``
        settings: a ``LabelSettings``
    """

    key: str
    classes: list
    settings: LabelSettings


def add_form(ctx, inputs):
    """Lays the form out, or says why nothing can be labelled.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        inputs: the form, a :class:`fiftyone.operators.types.Object`
    """
    key = choose_index(ctx, inputs)
    if key is None:
        return

    _add_classes(ctx, inputs)
    _add_into(ctx, inputs, key)
    _add_promise(ctx, inputs)
    _add_which(inputs)
    add_background(inputs)


def read_form(ctx):
    """Reads the form.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`

    Returns:
        a :class:`LabelForm`

    Raises:
        AlphaClipError: if the classes or a number cannot be used
    """
    return LabelForm(ctx.params["key"], _classes(ctx), _settings(ctx))


def _settings(ctx):
    mode = _mode(ctx)
    options = {}
    if mode != RANKING:
        options["per_class"] = bool(ctx.params.get("per_class"))
        options["precision"] = _number(ctx, "precision", PRECISION)
        options["confidence"] = _number(ctx, "confidence", CONFIDENCE)
        options["sample"] = ctx.params.get("sample")

    flags = ("overwrite", "new_only", "retrain")
    options |= {name: bool(ctx.params.get(name)) for name in flags}
    return LabelSettings(into=_into(ctx), mode=mode, **options)


def _add_classes(ctx, inputs):
    names = class_set_names(ctx.dataset)
    prop = None
    if names:
        choices = {TYPED: "Typed below", **{name: name for name in names}}
        prop = dropdown(inputs, "class_set", choices, ctx.params.get("class_set"), label="Classes")
    elif ctx.params.get("class_set") not in (None, TYPED):
        prop = dropdown(
            inputs, "class_set", {TYPED: "Typed below"}, ctx.params["class_set"], label="Classes"
        )

    if prop is not None and prop.invalid:
        return

    if _class_set(ctx) == TYPED:
        prop = _add_typed(ctx, inputs)
        if ctx.params.get("classes") in (None, ""):
            return

    _check(prop, lambda: _add_count(ctx, inputs))


def _add_typed(ctx, inputs):
    if isinstance(ctx.params.get("classes"), (str, type(None))):
        return inputs.str(
            "classes",
            label="One class a line",
            description="As “%s”; only the name is needed" % EXAMPLE,
            view=types.TextFieldView(multiline=True, rows=ROWS),
            required=True,
        )

    # What a program sends: names, or classes as JSON holds them
    return inputs.list("classes", types.Object(), required=True, view=types.HiddenView())


def _add_count(ctx, inputs):
    classes = ClassSet(_classes(ctx))
    examples = sum(len(one.examples) for one in classes)
    told = "1 class" if len(classes) == 1 else "%d classes" % len(classes)
    told += ", %s to learn from" % count(examples, "example") if examples else ""
    inputs.view("class_count", types.Notice(label=told))


def _classes(ctx):
    name = _class_set(ctx)
    if name == TYPED:
        classes = ctx.params.get("classes")
        is_text = isinstance(classes, (str, type(None)))
        return classes_from_text(classes or "") if is_text else list(ClassSet(classes))

    return saved_classes(ctx.dataset, name)


def _class_set(ctx):
    return ctx.params.get("class_set") or TYPED


def _add_into(ctx, inputs, key):
    field, into = open_index(ctx.dataset, key).field, _into(ctx)
    prop = inputs.str(
        "into",
        label="Write into",
        description="A field for labelled copies, or an attribute as %s.auto_label" % plain(field),
        default=INTO,
    )
    _check(prop, lambda: _check_target(ctx.dataset, key, field, into))
    if not prop.invalid:
        inputs.view("into_note", types.Notice(label=plain(_what_happens(ctx.dataset, field, into))))


def _check_target(dataset, key, field, into):
    check_into(dataset, field, into)
    taken = into in dataset.get_field_schema() and into not in region_fields(dataset)
    if taken:
        raise AlphaClipError("There is a field %r that holds no regions: choose another." % into)

    before = labelling_of(dataset, into)
    if before is not None and before.key != key:
        raise AlphaClipError(
            "%r is labelled from the index %r: choose another place." % (into, before.key)
        )


def _what_happens(dataset, field, into):
    _, attribute = split_attribute(into)
    if attribute:
        return "Sets the attribute %s on the labels of %s" % (attribute, field)

    if into in dataset.get_field_schema():
        return "Adds to the field %s; what people wrote there stays" % into

    return "Makes the field %s of copies of the regions, each linked to its own" % into


def _into(ctx):
    into = ctx.params.get("into")
    return (into.strip() if isinstance(into, str) else into) or INTO


def _add_promise(ctx, inputs):
    dropdown(inputs, "mode", MODES, ctx.params.get("mode"), label="What to promise")
    if _mode(ctx) == RANKING:
        return

    _add_share(ctx, inputs, "precision", "Precision", "Share of labels that is right", PRECISION)
    described = "Probability that the promise holds"
    _add_share(ctx, inputs, "confidence", "Confidence", described, CONFIDENCE)
    inputs.bool(
        "per_class",
        label="A promise for each class",
        description="Instead of one over all; each needs a random sample of its own",
        default=False,
    )
    _add_sample(ctx, inputs)


def _add_share(ctx, inputs, name, label, described, usual):
    prop = inputs.float(
        name, label=label, description="%s, between 0 and 1" % described, default=usual
    )
    _check(prop, lambda: check_share(name, _number(ctx, name, usual)))


def _add_sample(ctx, inputs):
    prop = inputs.int(
        "sample",
        label="Regions of the random sample",
        description="Drawn once, and reviewed before anything is promised; %s" % _usual_size(ctx),
    )
    sample = ctx.params.get("sample")
    if sample is not None and (type(sample) is not int or sample < 1):
        reject(prop, "Give a whole number of at least 1, or leave it empty.")


def _usual_size(ctx):
    try:
        settings = _settings(ctx)
    except AlphaClipError:
        return "empty takes what the promise needs"

    of_each = " of each class" if settings.per_class else ""
    return "empty takes %d%s" % (replace(settings, sample=None).sample_size, of_each)


def _add_which(inputs):
    inputs.bool(
        "new_only",
        label="Only regions that are new or edited since the last run",
        default=False,
    )
    inputs.bool(
        "overwrite",
        label="Replace what people wrote",
        description="Otherwise only what is empty, or was written by a run, gets an answer",
        default=False,
    )
    inputs.bool(
        "retrain",
        label="Learn again from all reviews",
        description="It learns from the sample, too, and draws a new one, to be reviewed",
        default=False,
    )


def _mode(ctx):
    return ctx.params.get("mode") or PROMISE


def _number(ctx, name, usual):
    value = ctx.params.get(name)
    return usual if value is None else value


def _check(prop, look):
    try:
        look()
    except AlphaClipError as error:
        reject(prop, str(error))
