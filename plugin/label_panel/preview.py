"""What the classes would be: how many regions of each, and some of them."""

import json
import threading
from collections import OrderedDict
from dataclasses import asdict

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError

from ..common.forms import count, shorten, text
from ..common.indexes import open_index
from ..common.panels import dataset_id
from ..common.tiles import BACKGROUND, add_button, add_pager, data_uri, draw_crops
from .class_form import read_classes
from .state import chosen_key, digest_of, guarded, text_field, timed

SHOWN_CLASSES, CROPS = 30, 6
CROP, GAP = 88, 4
REST_MS = 600
COMPONENT = "AlphaClipTyping"
KEPT = 16

_found, _typed, _lock, _turn = OrderedDict(), {}, threading.Lock(), threading.Lock()


class PreviewEvents:
    """Events of the preview."""

    @guarded
    def on_preview(self, ctx):
        _try(ctx)

    @timed
    def on_rest(self, ctx):
        if _typed_now(ctx) != ctx.panel.get_state("seen"):
            _try(ctx)

    @guarded
    def on_previous_classes(self, ctx):
        show_preview(ctx, ctx.panel.get_state("preview.page") - 1)

    @guarded
    def on_next_classes(self, ctx):
        show_preview(ctx, ctx.panel.get_state("preview.page") + 1)


def show_preview(ctx, page):
    """Shows a page of the classes, each with the regions that are most surely of it.

    Args:
        page: its number, from 0
    """
    key, classes = chosen_key(ctx), read_classes(ctx)
    found = _previews(ctx, key, classes)
    pages = -(-len(found) // SHOWN_CLASSES)
    page = min(max(page, 0), pages - 1)
    some = found[page * SHOWN_CLASSES : (page + 1) * SHOWN_CLASSES]
    strips = _draw(some)
    rows = [[one.name, one.count, len(one.hits)] for one in some]
    ctx.panel.state.set("preview", {"page": page, "pages": pages, "rows": rows})
    drawn = {"c%d" % place: {"strip": strip} for place, strip in enumerate(strips) if strip}
    ctx.panel.data.set("previews", drawn)


def add_preview(ctx, root, panel):
    """Lays the preview out."""
    bar = root.grid("look", orientation="2d", gap=1)
    add_button(bar, "preview", "Preview", panel.on_preview, variant="contained", icon="visibility")
    view = types.ComponentView(
        COMPONENT,
        on_rest=panel.on_rest,
        rest_ms=REST_MS,
        componentsProps={"item": {"sx": {"display": "none"}}},
    )
    root.view("typing", view)
    preview = ctx.panel.get_state("preview")
    if not preview:
        return

    grid = root.grid("previews", orientation="2d", gap=1)
    for place, (name, number, shown) in enumerate(preview["rows"]):
        _add_class(grid, place, name, number, shown)

    turn = (panel.on_previous_classes, panel.on_next_classes)
    add_pager(root, preview["page"], preview["pages"], *turn)


def _try(ctx):
    """Shows the classes as they are typed; those that cannot be used are told beside the text. What
    comes of a text is dropped where another was asked about meanwhile."""
    name, error = _note(ctx), None
    try:
        with _turn:
            if _is_latest(ctx, name):
                _previews(ctx, chosen_key(ctx), read_classes(ctx))

        if not _is_latest(ctx, name):
            return

        show_preview(ctx, 0)
    except AlphaClipError as told:
        error = str(told)
        ctx.panel.state.set("preview", None)

    ctx.panel.state.set({"class_error": error, "seen": name})


def _previews(ctx, key, classes):
    from alphaclip.indexing.labelling.review.previewing import preview_classes

    index = open_index(ctx.dataset, key)
    digest = digest_of(json.dumps([asdict(one) for one in classes]))
    name = (dataset_id(ctx), key, index.snapshot().version.number, digest)
    with _lock:
        if name in _found:
            _found.move_to_end(name)
            return _found[name]

    found = preview_classes(index, classes, examples=CROPS, progress=lambda *told: None)
    with _lock:
        _found[name] = found
        while len(_found) > KEPT:
            _found.popitem(last=False)

    return found


def _draw(previews):
    """One picture for each class, with its crops side by side; None for a class of nothing."""
    from PIL import Image

    from alphaclip.indexing.retrieval.hit_listing import list_hits

    listed = [list_hits(one.hits) for one in previews]
    crops = iter(draw_crops([(hit.image, hit.region) for hits in listed for hit in hits], CROP))
    strips = []
    for hits in listed:
        sheet = Image.new("RGB", (CROPS * (CROP + GAP) - GAP, CROP), BACKGROUND)
        for place, _ in enumerate(hits):
            sheet.paste(next(crops), (place * (CROP + GAP), 0))

        strips.append(data_uri(sheet) if hits else None)

    return strips


def _add_class(grid, place, name, number, shown):
    width = CROPS * (CROP + GAP)
    box = grid.v_stack(
        "c%d" % place, gap=0, componentsProps={"item": {"sx": {"width": "%dpx" % width}}}
    )
    said = "%s · %s" % ("none of these" if name is None else shorten(name, 36), count(number))
    box.view("about", text(said, "0", no_wrap=True, font_size="0.9rem"))
    if shown:
        box.img("strip", height="%dpx" % CROP, alt_text=said)


def _typed_now(ctx):
    return digest_of(str(ctx.panel.get_state(text_field(ctx)) or ""))


def _note(ctx):
    """Notes what is asked about now, and names it."""
    name = _typed_now(ctx)
    with _lock:
        _typed[dataset_id(ctx), ctx.panel.id] = name

    return name


def _is_latest(ctx, name):
    with _lock:
        return _typed.get((dataset_id(ctx), ctx.panel.id)) == name
