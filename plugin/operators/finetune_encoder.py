"""The operator that trains an encoder further on a dataset's own regions."""

import fiftyone.operators.types as types

from alphaclip.catalog.choices import tuned_folder
from alphaclip.indexing.dataset.locations import check_key
from alphaclip.indexing.labelling.review.runs import labelled_fields

from ..common.forms import add_background, add_table, dropdown, reject, shorten, target_images
from ..common.models import encoders_of, trainable
from ..common.operators import JobOperator, configure
from ..common.region_forms import (
    add_encoder,
    add_key,
    add_region_field,
    finished_keys,
    refuse_without_regions,
    text_attributes,
)
from ..common.reports import add_counts

SHARES = {0.2: "a fifth of the pictures", 0.5: "half of the pictures"}
GAIN_COLUMNS = {
    "direction": "Mean average precision, %",
    "before": "Before",
    "after": "After",
    "difference": "Difference, 95 % interval",
}
CLASS_COLUMNS = {
    "name": "Class",
    "regions": "Regions kept out",
    "before": "Right of the first 10, before",
    "after": "After",
}
REVIEWED = "reviewed:"
"""Before the name of what was labelled into, where the texts are those of its reviews."""


class FinetuneEncoder(JobOperator):
    """Fine-tunes an encoder on the regions of a field, and measures what it gained."""

    config = configure(
        name="finetune_encoder",
        label="Fine-tune on this dataset",
        description="Trains an encoder on the regions of a field and their texts, and measures "
        "retrieval before and after on pictures that were kept out",
        icon="model_training",
        allow_delegated_execution=True,
        default_choice_to_delegated=True,
        risk_level=types.RiskLevel.MEDIUM,
    )
    begins = "Reading the regions"
    results_label = "Fine-tuned"

    def add_form(self, ctx, inputs):
        if refuse_without_regions(ctx, inputs, "Encoders are trained"):
            return

        field = add_region_field(ctx, inputs, "Train on", "Its regions and what is said of them")
        if field is not None:
            _add_text(ctx, inputs, field)

        about = "One that has weights to be trained"
        add_encoder(ctx, inputs, "Encoder to start from", about, only=trainable)
        chosen = ctx.params.get("held_out")
        dropdown(inputs, "held_out", SHARES, chosen, label="Kept out, to measure on")
        _add_key(ctx, inputs)
        inputs.bool(
            "embed",
            label="Embed the regions with it afterwards",
            description="As an index of the same name; the other indexes stay as they are",
            default=True,
        )
        add_background(inputs)

    def resolve_run_name(self, ctx):
        return "Fine-tune on %s" % ctx.params.get("field")

    def describe_job(self, ctx):
        key = ctx.params.get("key", "tuned")
        check_key(ctx.dataset, key)
        return key, "Fine-tuning %s" % key

    def work(self, ctx, job):
        from alphaclip import indexing
        from alphaclip.training.finetune.fiftyone_training import finetune_on_dataset

        key, field = ctx.params.get("key", "tuned"), ctx.params["field"]
        embeds = ctx.params.get("embed", True)
        done = finetune_on_dataset(
            target_images(ctx),
            field,
            tuned_folder("%s-%s" % (ctx.dataset.slug, key)),
            ctx.params.get("encoder") or trainable(encoders_of(ctx.dataset))[0]["name"],
            held_out=ctx.params.get("held_out") or min(SHARES),
            progress=job.progress,
            **_texts(ctx.params),
        )
        if embeds:
            indexing.build(
                target_images(ctx), field, encoder=str(done.model), key=key, progress=job.progress
            )

        job.said = "%s: %s" % (key, "; ".join(done.lines()))
        return _summarize(done, key if embeds else None)

    def lay_out(self, results, outputs):
        outputs.int("trained_on", label="Regions trained on")
        outputs.int("held_out", label="Regions kept out and measured on")
        if results.get("reviews"):
            about = "Those of a promise's random sample are in neither"
            outputs.str("reviews", label="Both as reviewed, into", description=about)

        add_table(outputs, "gains", GAIN_COLUMNS, label="On the pictures that were kept out")
        if results.get("classes"):
            add_table(outputs, "classes", CLASS_COLUMNS, label="The first hits for each class")

        add_counts(outputs, results, {"skipped": "Labels and images left out"})
        outputs.str("model", label="The model, to be loaded from")
        if results.get("index"):
            outputs.str("index", label="Index of its vectors")
        else:
            told = "In Python, indexing.build(…, encoder=MODEL) embeds with it"
            outputs.view("next", types.Notice(label=told))


def _add_text(ctx, inputs, field):
    choices = {name: name for name in text_attributes(ctx.dataset, field)}
    for into in labelled_fields(ctx.dataset):
        choices[REVIEWED + into] = "as reviewed, into %s" % shorten(into)

    prefilled = REVIEWED + str(ctx.params.get("reviews") or "")
    first = sorted(choices, key=lambda name: name != prefilled)
    chosen = ctx.params.get("text") or (None if prefilled == REVIEWED else prefilled)
    dropdown(
        inputs,
        "text",
        {name: choices[name] for name in first},
        chosen,
        label="Text",
        description="The attribute that says what a region shows; or what people answered when "
        "they reviewed labels, on their regions only, without the random sample of a promise",
    )


def _texts(params):
    """What finetune_on_dataset is told of the texts: what the form shows, else the prefilled."""
    chosen, reviews = params.get("text"), params.get("reviews")
    text = str(chosen or (REVIEWED + str(reviews) if reviews else "label"))
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
    if not prop.invalid and key in finished_keys(ctx.dataset):
        reject(prop, "There is an index %r: choose another name." % key)


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
        "classes": [{**vars(row), "name": shorten(row.name)} for row in done.classes],
        "skipped": sum(done.skipped.values()),
        "reviews": done.reviews and shorten(done.reviews),
        "index": key,
    }
