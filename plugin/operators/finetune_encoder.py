"""
The operator that trains an encoder further on a dataset's own regions.
"""

import fiftyone.operators as foo
import fiftyone.operators.types as types

from alphaclip.catalog.released import models_folder
from alphaclip.indexing.dataset.locations import check_key, index_keys
from alphaclip.indexing.labelling.review.runs import labelled_fields

from ..common.forms import add_background, dropdown, reject, shorten, target_images
from ..common.jobs import stoppable
from ..common.progress import follow, go_on_in_background, show_errors
from ..common.region_forms import (
    add_encoder,
    add_key,
    add_region_field,
    installed_models,
    refuse_without_regions,
    text_attributes,
)

FOLDER = "fine-tuned"
SHARES = {0.2: "a fifth of the pictures", 0.5: "half of the pictures"}
REVIEWED = "reviewed:"
"""Before the name of what was labelled into, where the texts are those of its reviews."""


class FinetuneEncoder(foo.Operator):
    """Fine-tunes an encoder on the regions of a field, and measures what it gained."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="finetune_encoder",
            label="Fine-tune on this dataset",
            description="Trains an encoder on the regions of a field and their texts, and measures "
            "retrieval before and after on pictures that were kept out",
            light_icon="/assets/embed-light.svg",
            dark_icon="/assets/embed-dark.svg",
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            default_choice_to_delegated=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        if not refuse_without_regions(ctx, inputs, "Encoders are trained"):
            _add_fields(ctx, inputs)

        return types.Property(inputs, view=types.PromptView(label=self.config.label))

    def resolve_run_name(self, ctx):
        return "Fine-tune on %s" % ctx.params.get("field")

    def execute(self, ctx):
        if ctx.delegated:
            return _train(ctx, lambda report: ctx.set_progress(**report))

        return show_errors(ctx, _train_in_app(ctx))

    def resolve_output(self, ctx):
        return _outputs(ctx.results)


def _add_fields(ctx, inputs):
    field = add_region_field(ctx, inputs, "Train on", "Its regions and what is said of them")
    if field is not None:
        _add_text(ctx, inputs, field)

    add_encoder(ctx, inputs, "Encoder to start from", "The installed ones")
    dropdown(
        inputs,
        "held_out",
        SHARES,
        ctx.params.get("held_out"),
        label="Kept out, to measure on",
    )
    _add_key(ctx, inputs)
    inputs.bool(
        "embed",
        label="Embed the regions with it afterwards",
        description="As an index of the same name; the other indexes stay as they are",
        default=True,
    )
    add_background(inputs)


def _add_text(ctx, inputs, field):
    choices = {name: name for name in text_attributes(ctx.dataset, field)}
    places = labelled_fields(ctx.dataset)
    choices |= {REVIEWED + into: "as reviewed, into %s" % shorten(into) for into in places}
    prefilled = REVIEWED + str(ctx.params.get("reviews") or "")
    first = sorted(choices, key=lambda name: name != prefilled)
    asked = ctx.params.get("text") or (None if prefilled == REVIEWED else prefilled)
    dropdown(
        inputs,
        "text",
        {name: choices[name] for name in first},
        asked,
        label="Text",
        description="The attribute that says what a region shows; or what people answered when "
        "they reviewed labels, on their regions only, without the random sample of a promise",
    )


def _texts(params):
    """What finetune_on_dataset is told of the texts: what the form shows, else the prefilled."""
    asked, reviews = params.get("text"), params.get("reviews")
    text = str(asked or (REVIEWED + str(reviews) if reviews else "label"))
    if text.startswith(REVIEWED):
        return {"reviews": text[len(REVIEWED) :]}

    return {"text": (text,)}


def _add_key(ctx, inputs):
    key, prop = add_key(
        ctx,
        inputs,
        "tuned",
        label="Name",
        description="Of the model, and of the index; lowercase letters, digits and underscores",
    )
    if not prop.invalid and key in index_keys(ctx.dataset):
        reject(prop, "There is an index %r: choose another name." % key)


def _train_in_app(ctx):
    if ctx.params.get("background"):
        yield from go_on_in_background(ctx, lambda report: _train(ctx, report))
        return

    results = yield from follow(
        lambda report: _train(ctx, report),
        lambda report: ctx.ops.set_progress(**report),
    )
    yield ctx.ops.reload_dataset()
    yield ctx.ops.show_output(_outputs(results).to_json(), results)


def _train(ctx, report):
    from alphaclip import indexing
    from alphaclip.training.finetune.fiftyone_training import finetune_on_dataset

    key, field = ctx.params.get("key", "tuned"), ctx.params["field"]
    check_key(ctx.dataset, key)
    report({"progress": 0.0, "label": "Reading the regions"})
    with stoppable(ctx.dataset, key, "Fine-tuning %s" % key, report) as job:
        done = finetune_on_dataset(
            target_images(ctx),
            field,
            models_folder() / FOLDER / ("%s-%s" % (ctx.dataset.slug, key)),
            ctx.params.get("encoder") or installed_models()[0].name,
            held_out=ctx.params.get("held_out") or min(SHARES),
            progress=job.progress,
            **_texts(ctx.params),
        )
        if ctx.params.get("embed", True):
            indexing.build(
                target_images(ctx), field, encoder=str(done.model), key=key, progress=job.progress
            )

        job.said = "%s: %s" % (key, "; ".join(done.lines()))

    return _summarize(done, key if ctx.params.get("embed", True) else None)


def _summarize(done, key):
    rows = [
        {
            "direction": direction,
            "before": "%.1f" % gain.before,
            "after": "%.1f" % gain.after,
            "difference": gain.said,
        }
        for direction, gain in done.gains.items()
    ]
    return {
        "model": str(done.model),
        "trained_on": done.trained_on,
        "held_out": done.held_out,
        "gains": rows,
        "classes": [_class_row(found) for found in done.classes],
        "skipped": sum(done.skipped.values()),
        "reviews": done.reviews and shorten(done.reviews),
        "index": key,
    }


def _class_row(found):
    return {
        "name": shorten(found.name),
        "regions": found.regions,
        "before": found.before,
        "after": found.after,
    }


def _outputs(results):
    shown = types.Object()
    shown.int("trained_on", label="Regions trained on")
    shown.int("held_out", label="Regions kept out and measured on")
    if results.get("reviews"):
        about = "Those of a promise's random sample are in neither"
        shown.str("reviews", label="Both as reviewed, into", description=about)

    table = types.TableView()
    table.add_column("direction", label="Mean average precision, %")
    table.add_column("before", label="Before")
    table.add_column("after", label="After")
    table.add_column("difference", label="Difference, 95 % interval")
    shown.list("gains", types.Object(), label="On the pictures that were kept out", view=table)
    _show_classes(results, shown)
    if results.get("skipped"):
        shown.int("skipped", label="Labels and images left out")

    shown.str("model", label="The model, to be loaded from")
    if results.get("index"):
        shown.str("index", label="Index of its vectors")
    else:
        shown.view(
            "next",
            types.Notice(label="In Python, indexing.build(…, encoder=MODEL) embeds with it"),
        )

    return types.Property(shown, view=types.View(label="Fine-tuned"))


def _show_classes(results, shown):
    if not results.get("classes"):
        return

    table = types.TableView()
    table.add_column("name", label="Class")
    table.add_column("regions", label="Regions kept out")
    table.add_column("before", label="Right of the first 10, before")
    table.add_column("after", label="After")
    shown.list("classes", types.Object(), label="The first hits for each class", view=table)
