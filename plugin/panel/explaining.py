"""Where the encoder looked: how much each part of a picture speaks for the words, of a region."""

import fiftyone as fo

from alphaclip.errors import AlphaClipError

from ..common.forms import shorten
from ..common.grid import reload, state
from ..common.panels import event
from ..common.tiles import data_uri
from .questions import completed, find_these, indexes_of

SIDE = 640
FIELD = "where_it_looked"
OUTLINE = (255, 0, 160)


class ExplainingEvents:
    """Events of the explanation."""

    @event
    def explain(self, ctx):
        question, hit, heat = _explain(ctx)
        text = "Bright is what speaks for “%s” in “%s” (cosine %.3f): hiding it costs most"
        said = text % (
            shorten(question["words"], 60),
            shorten(hit.label or "no label", 40),
            hit.score,
        )
        return {"picture": data_uri(_overlay(hit, heat)), "said": said}

    @event
    def keep_heatmap(self, ctx):
        _, hit, heat = _explain(ctx)
        before = state(ctx.dataset)
        sample = ctx.dataset[hit.sample_id]
        sample[FIELD] = fo.Heatmap(map=heat, range=[0, 1])
        sample.save()
        reload(ctx, before)
        return {"said": "Kept as the heatmap %r of the picture" % FIELD}


def _explain(ctx):
    from alphaclip.encoder.explaining import explain
    from alphaclip.indexing.retrieval.hit_listing import list_hits

    question = completed(ctx.dataset, ctx.params["question"])
    if not question["words"]:
        raise AlphaClipError("Where the encoder looked is told for words: this search has none")

    listed = list_hits(find_these(ctx.dataset, question, [str(ctx.params["id"])]))
    if not listed or listed[0].region is None:
        raise AlphaClipError("This region is gone: update the index")

    hit = listed[0]
    encoder = indexes_of(ctx.dataset, question)[0].encoder
    return question, hit, explain(encoder, hit.image, hit.region, question["words"])


def _overlay(hit, heat):
    """The picture, dark where the encoder did not look, with the region's outline."""
    import numpy as np
    from PIL import Image, ImageDraw

    from alphaclip.regions.images import open_image

    picture = Image.fromarray(open_image(hit.image))
    picture.thumbnail((SIDE, SIDE))
    pixels = np.asarray(picture, np.float32)
    map_ = np.asarray(Image.fromarray(heat).resize(picture.size, Image.Resampling.BILINEAR))[
        ..., None
    ]
    mixed = pixels * (0.25 + 0.75 * map_) + map_ * np.array([70.0, 20.0, 0.0])
    overlay = Image.fromarray(mixed.clip(0, 255).astype(np.uint8))
    left, top, right, bottom = hit.region.bounds(overlay.height, overlay.width)
    ImageDraw.Draw(overlay).rectangle((left, top, right - 1, bottom - 1), None, OUTLINE, 2)
    return overlay
