"""
The operator that trains an encoder further on a dataset's own regions.
"""

import fiftyone.operators as foo
import fiftyone.operators.types as types
from alphaclip.indexing.labels import PATCHABLE, region_fields
from alphaclip.indexing.places import check_key, index_keys

from alphaclip.zoo import models_folder

from .forms import add_background, dropdown, reject, target_images
from .jobs import stoppable
from .progress import follow, go_on_in_background, show_errors
from .region_forms import (
    add_encoder,
    add_key,
    add_region_field,
    installed_models,
    refuse_without_regions,
)

FOLDER = "fine-tuned"
SHARES = {0.2: "a fifth of the pictures", 0.5: "half of the pictures"}
NO_TEXTS = ("id", "mask_path")
LOOKED_AT = 20
"""Samples whose labels are looked at for attributes."""


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
    names = dict.fromkeys(["label", *_attributes(ctx.dataset, field)])
    dropdown(
        inputs,
        "text",
        {name: name for name in names},
        ctx.params.get("text"),
        label="Text",
        description="The attribute that says what a region shows",
    )


def _attributes(dataset, field):
    """The attributes with a text that the first labels have, dynamic ones among them."""
    kind = region_fields(dataset)[field]
    attribute = kind.lower() if kind in PATCHABLE else None
    for sample in dataset.exists(field).select_fields(field).limit(LOOKED_AT):
        value = sample[field]
        for label in [value] if attribute is None else value[attribute]:
            for name in label.field_names:
                if name not in NO_TEXTS and isinstance(label[name], str):
                    yield name


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
    from alphaclip.training.finetune.fiftyone_training import finetune_on_dataset

    from alphaclip import indexing

    key, field = ctx.params.get("key", "tuned"), ctx.params["field"]
    check_key(ctx.dataset, key)
    report({"progress": 0.0, "label": "Reading the regions"})
    with stoppable(ctx.dataset, key, "Fine-tuning %s" % key, report) as job:
        done = finetune_on_dataset(
            target_images(ctx),
            field,
            models_folder() / FOLDER / ("%s-%s" % (ctx.dataset.slug, key)),
            ctx.params.get("encoder") or installed_models()[0].name,
            text=(ctx.params.get("text") or "label",),
            held_out=ctx.params.get("held_out") or min(SHARES),
            progress=job.progress,
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
        "skipped": sum(done.skipped.values()),
        "index": key,
    }


def _outputs(results):
    shown = types.Object()
    shown.int("trained_on", label="Regions trained on")
    shown.int("held_out", label="Regions kept out and measured on")
    table = types.TableView()
    table.add_column("direction", label="Mean average precision, %")
    table.add_column("before", label="Before")
    table.add_column("after", label="After")
    table.add_column("difference", label="Difference, 95 % interval")
    shown.list("gains", types.Object(), label="On the pictures that were kept out", view=table)
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
