"""Where the encoder looked: how much each part of a picture speaks for the words, of a region."""

import fiftyone as fo

from alphaclip.errors import AlphaClipError

from ..common.forms import shorten, text
from ..common.tiles import add_button, data_uri
from .asking import find_these, indexes_of
from .state import guarded

SIDE = 480
FIELD = "where_it_looked"
OUTLINE = (255, 0, 160)


class WhyEvents:
    """Events of the explanation."""

    @guarded
    def on_why(self, ctx):
        hit, heat = _explain(ctx, ctx.params["id"])
        ctx.panel.data.set("why_shown.picture", data_uri(_overlay(hit, heat)))
        ctx.panel.state.set("why", [ctx.params["id"], _say(ctx, hit)])

    @guarded
    def on_keep_why(self, ctx):
        hit, heat = _explain(ctx, ctx.panel.get_state("why")[0])
        sample = ctx.dataset[hit.sample_id]
        sample[FIELD] = fo.Heatmap(map=heat, range=[0, 1])
        sample.save()
        ctx.ops.reload_dataset()
        message = "Kept as the heatmap %r of the picture" % FIELD
        ctx.ops.notify(message, variant="success")

    @guarded
    def on_no_why(self, ctx):
        ctx.panel.state.set("why", None)

    def add_why(self, ctx, root):
        """Lays the explanation out."""
        shown = ctx.panel.get_state("why")
        if not shown:
            return

        why = root.v_stack("why_shown", gap=1)
        why.view("title", text(shown[1]))
        why.img("picture", height="300px", alt_text=shorten(shown[1]))
        bar = why.grid("bar", orientation="2d", gap=1)
        add_button(bar, "keep", "Keep as a heatmap", self.on_keep_why)
        add_button(bar, "hide", "Hide", self.on_no_why)


def _explain(ctx, label_id):
    from alphaclip.encoder.explaining import explain

    asked = ctx.panel.get_state("asked")
    if not asked["words"]:
        raise AlphaClipError("Where the encoder looked is shown for words: this search has none")

    hit = _hit(ctx, asked, label_id)
    encoder = indexes_of(ctx.dataset, asked)[0].encoder
    return hit, explain(encoder, hit.image, hit.region, asked["words"])


def _hit(ctx, asked, label_id):
    from alphaclip.indexing.retrieval.hit_listing import list_hits

    found = list_hits(find_these(ctx.dataset, asked, [label_id]))
    if not found or found[0].region is None:
        raise AlphaClipError("This region is gone: update the index")

    return found[0]


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


def _say(ctx, hit):
    words = ctx.panel.get_state("asked")["words"]
    text = "Bright is what speaks for “%s” in “%s” (cosine %.3f): hiding it costs most"
    return text % (shorten(words, 60), shorten(hit.label or "no label", 40), hit.score)
