"""
The operator that makes the regions of a field searchable.
"""

import fiftyone.operators as foo
import fiftyone.operators.types as types

from alphaclip.indexing.dataset.locations import index_keys

from ..common.forms import add_background, grid_button, reject, target_images
from ..common.jobs import stoppable
from ..common.progress import follow, go_on_in_background, show_errors
from ..common.region_forms import add_encoder, add_key, add_region_field, refuse_without_regions
from ..common.reports import in_words, outputs, summarize


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
        if not refuse_without_regions(ctx, inputs, "Regions are embedded"):
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


def _add_fields(ctx, inputs):
    add_region_field(
        ctx,
        inputs,
        "Embed the regions of",
        "The labels to embed: each box, mask or polygon gets one vector",
    )
    add_encoder(ctx, inputs, "Encoder", "The installed ones, the best for photographs first")
    _add_key(ctx, inputs)
    add_background(inputs)


def _add_key(ctx, inputs):
    key, prop = add_key(
        ctx,
        inputs,
        "regions",
        label="Name of the index",
        description="Lowercase letters, digits and underscores; also its FiftyOne brain key",
    )
    if prop.invalid or key not in index_keys(ctx.dataset):
        return

    inputs.bool(
        "overwrite",
        label="Bring the index of this name up to date",
        description="Only what is new or edited is embedded; another field or encoder replaces it",
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
