"""
What was found, page by page: a crop of each region, its outline, its score, and marks.
"""

from concurrent.futures import ThreadPoolExecutor

from alphaclip.errors import AlphaClipError

from ..forms import shorten, text
from . import marks
from .asking import PICTURES, find
from .keys import add_keys
from .pictures import data_uri
from .state import guarded, shows_pictures, threshold

PAGE = 24
TILE = 136
DRAWING_THREADS = 4
SELECTED, RIGHT, WRONG = "#ff6d04", "#2e9e4f", "#d1373f"


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
    def on_clear_selection(self, ctx):
        marks.put(ctx, selected=[])

    @guarded
    def on_right(self, ctx):
        marks.toggle(ctx, "right", ctx.params["id"], "wrong")

    @guarded
    def on_wrong(self, ctx):
        marks.toggle(ctx, "wrong", ctx.params["id"], "right")


def show_page(ctx, page):
    """Draws a page of what was found.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        page: its number, from 0
    """
    asked = {**ctx.panel.get_state("asked"), "min_score": threshold(ctx)}
    hits = find(ctx.dataset, asked)
    page = min(max(page, 0), max(len(hits) - 1, 0) // PAGE)
    some = hits.take(slice(page * PAGE, (page + 1) * PAGE))
    listed = _list_pictures(some) if asked["mode"] == PICTURES else _list_regions(some)
    crops = _draw_all(listed)
    tiles = [{"id": id_, "caption": caption, "score": score} for id_, caption, score, *_ in listed]
    for place, tile in enumerate(tiles):
        tile["rank"] = page * PAGE + place + 1

    ctx.panel.state.set({"page": page, "tiles": tiles, "found.shown": len(hits)})
    data = {"gallery.t%d.crop" % place: crop for place, crop in enumerate(crops)}
    if data:
        ctx.panel.data.set(data)


def add_gallery(ctx, root, panel):
    """Lays the gallery out.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        root: the :class:`fiftyone.operators.types.Object` to add to
        panel: whose events
    """
    tiles = ctx.panel.get_state("tiles") or []
    if not tiles:
        return

    add_keys(ctx, root, panel, _count_pages(ctx))
    grid = root.grid("gallery", orientation="2d", gap=1)
    for place, tile in enumerate(tiles):
        _add_tile(ctx, grid, panel, place, tile)

    _add_pager(ctx, root, panel)


def _list_regions(hits):
    from alphaclip.indexing.listing import list_hits

    return [
        (hit.label_id, hit.label or "", hit.score, hit.image, hit.region) for hit in list_hits(hits)
    ]


def _list_pictures(hits):
    paths = dict(zip(*hits.view().values(["id", "filepath"]), strict=True))
    return [
        (id_, paths[id_].rpartition("/")[2], round(float(score), 4), paths[id_], None)
        for id_, score in zip(hits.sample_ids.tolist(), hits.scores, strict=True)
        if id_ in paths
    ]


def _draw_all(listed):
    """Draws the crops; each picture is opened once, however many of its regions are shown."""
    places = {}
    for place, (*_, path, region) in enumerate(listed):
        places.setdefault((path, region is None), []).append(place)

    def draw(of_picture):
        (path, is_whole), those = of_picture
        return those, _draw(path, None if is_whole else [listed[place][-1] for place in those])

    crops = {}
    with ThreadPoolExecutor(DRAWING_THREADS) as threads:
        for those, drawn in threads.map(draw, places.items()):
            crops.update({place: drawn[number % len(drawn)] for number, place in enumerate(those)})

    return [crops[place] for place in range(len(listed))]


def _draw(path, regions):
    from alphaclip.indexing.contact_sheet import draw_tiles

    try:
        tiles = [_whole(path)] if regions is None else draw_tiles(path, regions, TILE)
    except AlphaClipError:
        tiles = [None] * len(regions or [path])

    return [data_uri(tile or _no_picture()) for tile in tiles]


def _whole(path):
    from PIL import Image

    from alphaclip.images import open_image

    picture = Image.fromarray(open_image(path))
    picture.thumbnail((TILE, TILE))
    sheet = Image.new("RGB", (TILE, TILE), "#222222")
    sheet.paste(picture, ((TILE - picture.width) // 2, (TILE - picture.height) // 2))
    return sheet


def _no_picture():
    from PIL import Image, ImageDraw

    sheet = Image.new("RGB", (TILE, TILE), "#222222")
    ImageDraw.Draw(sheet).text((TILE // 2, TILE // 2), "no picture", "#999999", anchor="mm")
    return sheet


def _add_tile(ctx, grid, panel, place, tile):
    wide = {"item": {"sx": {"width": "%dpx" % (TILE + 8)}}}
    box = grid.v_stack("t%d" % place, gap=0, componentsProps=wide)
    params = {"id": tile["id"]}
    box.img(
        "crop",
        on_click=panel.on_select,
        params=params,
        width="%dpx" % TILE,
        height="%dpx" % TILE,
        alt_text="%d. %s" % (tile["rank"], shorten(tile["caption"], 40)),
        componentsProps={"image": {"style": _frame(ctx, tile["id"]), "data-region": tile["id"]}},
    )
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
        on = params["id"] in (ctx.panel.get_state(name) or [])
        bar.btn(
            name,
            label=sign,
            on_click=event,
            params=params,
            variant="contained" if on else "outlined",
            title={"right": "Right", "wrong": "Wrong", "why": "Where the encoder looked"}[name],
            componentsProps={"button": {"sx": _small(color if on else None)}},
        )


def _small(color):
    style = {"minWidth": "0", "p": "0 10px", "fontSize": "0.8rem", "lineHeight": "1.4"}
    return {**style, "backgroundColor": color} if color else style


def _frame(ctx, label_id):
    color = "transparent"
    for name, one in (("right", RIGHT), ("wrong", WRONG), ("selected", SELECTED)):
        if label_id in (ctx.panel.get_state(name) or []):
            color = one

    return {"border": "3px solid %s" % color, "borderRadius": "4px", "boxSizing": "border-box"}


def _add_pager(ctx, root, panel):
    page, pages = ctx.panel.get_state("page") or 0, _count_pages(ctx)
    if pages < 2:
        return

    bar = root.grid("pager", orientation="2d", gap=1, align_y="center")
    add_button(bar, "previous", "Previous", panel.on_previous, disabled=page == 0)
    title = "Page %d of %d" % (page + 1, pages)
    fit(bar, "where", text(title, "6px"))
    add_button(bar, "next", "Next", panel.on_next, disabled=page + 1 == pages)


def _count_pages(ctx):
    shown = ctx.panel.get_state("found.shown") or 0
    return (shown + PAGE - 1) // PAGE


def add_button(bar, name, label, on_click, **kwargs):
    """Adds a button as wide as its label to a row.

    Args:
        bar: a grid
        name: of the button
        label: on it
        on_click: an event of the panel
        **kwargs: of the button
    """
    kwargs.setdefault("variant", "outlined")
    props = {**FIT, **kwargs.pop("componentsProps", {})}
    bar.btn(name, label=label, on_click=on_click, componentsProps=props, **kwargs)


def fit(bar, name, view):
    """Adds something as wide as it is to a row.

    Args:
        bar: a grid
        name: of the property
        view: a :class:`fiftyone.operators.types.View`
    """
    view.componentsProps = FIT
    view._kwargs["componentsProps"] = FIT
    bar.view(name, view)


FIT = {"item": {"sx": {"width": "auto"}}}
