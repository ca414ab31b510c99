"""The operator that makes the regions of a field searchable."""

import fiftyone.operators.types as types

from ..common.forms import add_background, dropdown, reject, target_images
from ..common.models import fetch
from ..common.operators import JobOperator, configure
from ..common.region_forms import (
    add_encoder,
    add_key,
    add_region_field,
    finished_keys,
    refuse_without_regions,
)
from ..common.reports import add_summary, in_words, summarize

ITSELF, WORKERS = "itself", 2


class EmbedRegions(JobOperator):
    """Embeds the regions of one field and builds the index over them."""

    config = configure(
        name="embed_regions",
        label="Embed regions",
        description="Makes boxes, masks and polygons searchable by text",
        icon="hub",
        allow_delegated_execution=True,
        risk_level=types.RiskLevel.MEDIUM,
    )
    begins = "Loading the encoder"
    results_label = "Regions embedded"

    def add_form(self, ctx, inputs):
        if refuse_without_regions(ctx, inputs, "Regions are embedded", in_videos=True):
            return

        add_region_field(
            ctx,
            inputs,
            "Embed the regions of",
            "The labels to embed: each box, mask or polygon gets one vector",
        )
        if ctx.dataset.media_type == "video":
            inputs.int(
                "every",
                label="Every nth frame",
                description="1 embeds the regions of all frames; 10 those of frames 1, 11, 21, ...",
                default=1,
                min=1,
            )

        add_encoder(ctx, inputs, "Encoder", "What turns a region into a vector")
        _add_key(ctx, inputs)
        _add_engine(ctx, inputs)
        add_background(inputs)

    def resolve_run_name(self, ctx):
        return "Embed %s" % ctx.params.get("field")

    def describe_job(self, ctx):
        key = ctx.params.get("key", "regions")
        return key, "Embedding %s" % key

    def work(self, ctx, job):
        from alphaclip import indexing

        key, engine = ctx.params.get("key", "regions"), ctx.params.get("engine", ITSELF)
        fetch(ctx.params.get("encoder"), job.progress)
        index = indexing.build(
            target_images(ctx),
            ctx.params["field"],
            encoder=ctx.params.get("encoder") or "auto",
            key=key,
            overwrite=ctx.params.get("overwrite", False),
            progress=job.progress,
            engine=None if engine == ITSELF else engine,
            workers=ctx.params.get("workers", WORKERS),
            every=ctx.params.get("every", 1),
        )
        job.said = in_words(key, index.info()["report"])
        return summarize(index.info())

    def lay_out(self, results, outputs):
        add_summary(outputs, results)


def _add_engine(ctx, inputs):
    choices = {
        ITSELF: "One process",
        "local": "Workers on this machine",
        "ray": "Workers on a cluster of Ray",
    }
    chosen = ctx.params.get("engine")
    dropdown(inputs, "engine", choices, chosen, label="Embed by")
    if chosen in (None, ITSELF):
        return

    inputs.int(
        "workers",
        label="Workers",
        description="Side by side; more than there are GPUs, or cores, help nobody",
        default=WORKERS,
        min=1,
        max=1024,
    )


def _add_key(ctx, inputs):
    key, prop = add_key(
        ctx,
        inputs,
        "regions",
        label="Name of the index",
        description="Lowercase letters, digits and underscores; also its FiftyOne brain key",
    )
    if prop.invalid or key not in finished_keys(ctx.dataset):
        return

    inputs.bool(
        "overwrite",
        label="Bring the index of this name up to date",
        description="Only what is new or edited is embedded; another field or encoder replaces it",
        default=False,
    )
    if not ctx.params.get("overwrite"):
        reject(prop, "There is an index %r: choose another name, or update it." % key)
