"""What was found, page by page: a crop of each region, its outline, its score, and marks."""

from ..common.forms import shorten, text
from ..common.tiles import (
    PAGE,
    RIGHT,
    SELECTED,
    WRONG,
    add_pager,
    add_small_button,
    add_tile,
)
from . import marks
from .keys import add_keys
from .showing import show_page
from .state import guarded, shows_pictures


class GalleryEvents:
    """Events of the gallery."""

    @guarded
    def on_previous(self, ctx):
        show_page(ctx, ctx.panel.get_state("page") - 1)

    @guarded
    def on_next(self, ctx):
        show_page(ctx, ctx.panel.get_state("page") + 1)

    @guarded
    def on_select(self, ctx):
        marks.toggle(ctx, "selected", ctx.params["id"])

    @guarded
    def on_right(self, ctx):
        marks.toggle(ctx, "right", ctx.params["id"], "wrong")

    @guarded
    def on_wrong(self, ctx):
        marks.toggle(ctx, "wrong", ctx.params["id"], "right")


def add_gallery(ctx, root, panel):
    """Lays the gallery out."""
    tiles = ctx.panel.get_state("tiles") or []
    if not tiles:
        return

    add_keys(ctx, root, panel, _count_pages(ctx))
    grid = root.grid("gallery", orientation="2d", gap=1)
    for number, tile in enumerate(tiles):
        _add_tile(ctx, grid, panel, number, tile)

    page = ctx.panel.get_state("page") or 0
    add_pager(root, page, _count_pages(ctx), panel.on_previous, panel.on_next)


def _add_tile(ctx, grid, panel, number, tile):
    params = {"id": tile["id"]}
    alt_text = "%d. %s" % (tile["rank"], shorten(tile["caption"], 40))
    frame = _frame(ctx, tile["id"])
    box = add_tile(grid, "t%d" % number, panel.on_select, params, alt_text, frame)
    words = "%d · %.3f · %s" % (tile["rank"], tile["score"], shorten(tile["caption"], 40) or "-")
    box.view("about", text(words, "0", no_wrap=True, font_size="0.8rem"))
    if not shows_pictures(ctx):
        _add_marks(ctx, box, panel, params)


def _add_marks(ctx, box, panel, params):
    bar = box.h_stack("marks", gap=0.5)
    for name, sign, event, color in (
        ("right", "✓", panel.on_right, RIGHT),
        ("wrong", "✗", panel.on_wrong, WRONG),
        ("why", "?", panel.on_why, None),
    ):
        is_on = params["id"] in (ctx.panel.get_state(name) or [])
        title = {"right": "Right", "wrong": "Wrong", "why": "Where the encoder looked"}[name]
        add_small_button(bar, name, sign, event, params, color if is_on else None, title=title)


def _frame(ctx, label_id):
    color = "transparent"
    for name, one in (("right", RIGHT), ("wrong", WRONG), ("selected", SELECTED)):
        if label_id in (ctx.panel.get_state(name) or []):
            color = one

    return color


def _count_pages(ctx):
    shown = ctx.panel.get_state("found.shown") or 0
    return (shown + PAGE - 1) // PAGE
