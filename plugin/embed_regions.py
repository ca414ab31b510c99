"""
The operator that makes the regions of a field searchable.
"""

import fiftyone.operators as foo
import fiftyone.operators.types as types
from alphaclip.indexing.labels import REGION_TYPES, region_fields
from alphaclip.indexing.places import KeyNameError, check_key, index_keys

from alphaclip.zoo import NANO, NANO_WARNING, list_models

from .forms import (
    add_background,
    dropdown,
    grid_button,
    refuse,
    refuse_other_media,
    reject,
    target_images,
)
from .jobs import stoppable
from .progress import follow, go_on_in_background, show_errors
from .reports import in_words, outputs, summarize

KEY_CHARACTERS = 80
"""Of a key that is too long anyway, so many are shown."""


class EmbedRegions(foo.Operator):
    """Embeds the regions of one field and builds the index over them."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="embed_regions",
            label="Embed regions",
            description="Makes boxes, masks and polygons searchable by text",
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
        if _can_embed(ctx, inputs):
            _add_fields(ctx, inputs)

        return types.Property(inputs, view=types.PromptView(label=self.config.label))

    def resolve_run_name(self, ctx):
        return "Embed %s" % ctx.params.get("field")

    def execute(self, ctx):
        if ctx.delegated:
            return _embed(ctx, lambda report: ctx.set_progress(**report))

        return show_errors(ctx, _embed_in_app(ctx))

    def resolve_output(self, ctx):
        return outputs(ctx.results)


def _can_embed(ctx, inputs):
    if refuse_other_media(ctx, inputs, "Regions are embedded"):
        return False

    if not region_fields(ctx.dataset):
        refuse(
            inputs,
            "This dataset has no field with regions",
            "Add labels of type %s first." % ", ".join(REGION_TYPES),
        )
    elif not any(model.installed for model in list_models()):
        refuse(inputs, "No encoder is installed", "`alphaclip models` says how to get one.")
    else:
        return True

    return False


def _add_fields(ctx, inputs):
    inputs.view_target(
        ctx,
        action_description="Embed the regions of",
        allow_dataset_view=ctx.view._is_generated,
        current_view_description="The images shown",
    )
    fields = region_fields(ctx.dataset)
    dropdown(
        inputs,
        "field",
        {name: "%s (%s)" % (name, kind) for name, kind in fields.items()},
        ctx.params.get("field"),
        label="Field",
        description="The labels to embed: each box, mask or polygon gets one vector",
        required=True,
    )
    _add_encoder(ctx, inputs)
    _add_key(ctx, inputs)
    add_background(inputs)


def _add_encoder(ctx, inputs):
    models = [model for model in list_models() if model.installed]
    dropdown(
        inputs,
        "encoder",
        {model.name: "%s: %s" % (model.name, model.summary) for model in models},
        ctx.params.get("encoder"),
        label="Encoder",
        description="The installed ones, the best for photographs first",
    )
    if ctx.params.get("encoder", models[0].name) == NANO:
        inputs.view("encoder_note", types.Notice(label=NANO_WARNING))


def _add_key(ctx, inputs):
    taken = index_keys(ctx.dataset)
    prop = inputs.str(
        "key",
        label="Name of the index",
        description="Lowercase letters, digits and underscores; also its FiftyOne brain key",
        default="regions",
    )
    key = str(ctx.params.get("key", "regions") or "")
    try:
        check_key(ctx.dataset, key[:KEY_CHARACTERS])
    except KeyNameError as error:
        reject(prop, str(error))
        return

    if key in taken:
        inputs.bool(
            "overwrite",
            label="Bring the index of this name up to date",
            description="Only what is new or edited is embedded; another field or encoder "
            "replaces it",
            default=False,
        )
        if not ctx.params.get("overwrite"):
            reject(prop, "There is an index %r: choose another name, or update it." % key)


def _embed_in_app(ctx):
    if ctx.params.get("background"):
        yield from go_on_in_background(ctx, lambda report: _embed(ctx, report))
        return

    results = yield from follow(
        lambda report: _embed(ctx, report),
        lambda report: ctx.ops.set_progress(**report),
    )
    yield ctx.ops.reload_dataset()
    yield ctx.ops.show_output(outputs(results).to_json(), results)


def _embed(ctx, report):
    from alphaclip import indexing

    key = ctx.params.get("key", "regions")
    report({"progress": 0.0, "label": "Loading the encoder"})
    with stoppable(ctx.dataset, key, "Embedding %s" % key, report) as job:
        index = indexing.build(
            target_images(ctx),
            ctx.params["field"],
            encoder=ctx.params.get("encoder") or "auto",
            key=key,
            overwrite=ctx.params.get("overwrite", False),
            progress=job.progress,
        )
        job.said = in_words(key, index.info()["report"])

    return summarize(index.info())
