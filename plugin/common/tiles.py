"""Crops of regions in a panel, and rows of buttons: what several panels lay out alike."""

import base64
import io

from alphaclip.errors import AlphaClipError

from .forms import text

PAGE = 24
"""Crops of a page: the App takes about 2 seconds to draw them, with their buttons, anew."""

TILE = 136
BACKGROUND, DIMMED = "#222222", "#999999"
SELECTED, RIGHT, WRONG = "#ff6d04", "#2e9e4f", "#d1373f"
FIT = {"item": {"sx": {"width": "auto"}}}


def draw_crops(listed, size=TILE):
    """Draws crops; each picture is opened once, however many of its regions are shown.

    Args:
        listed: pairs of the path of a picture and an ``alphaclip.Region`` of it, or None for the
            whole picture
        size: side of a crop, in pixels

    Returns:
        a ``PIL.Image`` of each, which says so where there is no picture
    """
    from alphaclip.pages import tiles

    regions = [(path, region) for path, region in listed if region is not None]
    crops = iter(tiles.draw_crops(regions, size))
    wholes = {path: _whole(path, size) for path in {p for p, region in listed if region is None}}
    drawn = (wholes[path] if region is None else next(crops) for path, region in listed)
    return [crop or _no_picture(size) for crop in drawn]


def data_uri(image):
    """Makes a picture something that a browser shows without a file."""
    return "data:image/jpeg;base64," + as_base64(image, 85)


def as_base64(image, quality):
    """Writes a picture as the text of a JPEG.

    Args:
        quality: of the JPEG, in percent
    """
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return base64.b64encode(buffer.getvalue()).decode()


def add_tile(grid, name, on_click, params, alt_text, frame):
    """Adds a stack that begins with a crop, whose picture is the data ``GRID.NAME.crop``.

    Args:
        grid: the :class:`fiftyone.operators.types.Object` of the crops
        name: of the stack
        on_click: an event of the panel
        params: of the event; ``id`` is the region's, which the keys know the crop by
        alt_text: of the picture
        frame: its color

    Returns:
        the :class:`fiftyone.operators.types.Object` for what stands below the crop
    """
    wide = {"item": {"sx": {"width": "%dpx" % (TILE + 8)}}}
    box = grid.v_stack(name, gap=0, componentsProps=wide)
    border = "3px solid %s" % frame
    style = {
        "border": border,
        "borderRadius": "4px",
        "boxSizing": "border-box",
        "objectFit": "contain",
    }
    box.img(
        "crop",
        on_click=on_click,
        params=params,
        width="%dpx" % TILE,
        height="%dpx" % TILE,
        alt_text=alt_text,
        componentsProps={"image": {"style": style, "data-region": params["id"]}},
    )
    return box


def add_small_button(bar, name, label, on_click, params, color=None, **kwargs):
    """Adds a button that fits below a crop.

    Args:
        bar: the :class:`fiftyone.operators.types.Object` to add to
        name: of the button
        label: on it
        on_click: an event of the panel
        params: of the event
        color (None): of a button that is on
        **kwargs: of the button
    """
    style = {"minWidth": "0", "p": "0 10px", "fontSize": "0.8rem", "lineHeight": "1.4"}
    style.update(kwargs.pop("style", {}))
    bar.btn(
        name,
        label=label,
        on_click=on_click,
        params=params,
        variant="contained" if color else "outlined",
        componentsProps={"button": {"sx": {**style, "backgroundColor": color} if color else style}},
        **kwargs,
    )


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


def add_pager(root, page, pages, on_previous, on_next):
    """Adds a row with the buttons to turn pages, where there are several.

    Args:
        page: that is shown, from 0
        pages: how many there are
        on_previous: an event of the panel
        on_next: an event of the panel
    """
    if pages < 2:
        return

    bar = root.grid("pager", orientation="2d", gap=1, align_y="center")
    add_button(bar, "previous", "Previous", on_previous, disabled=page == 0)
    fit(bar, "where", text("Page %d of %d" % (page + 1, pages), "6px"))
    add_button(bar, "next", "Next", on_next, disabled=page + 1 == pages)


def _whole(path, size):
    from PIL import Image

    from alphaclip.regions.images import open_image

    try:
        picture = Image.fromarray(open_image(path))
    except AlphaClipError:
        return None

    picture.thumbnail((size, size))
    sheet = Image.new("RGB", (size, size), BACKGROUND)
    sheet.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
    return sheet


def _no_picture(size):
    from PIL import Image, ImageDraw

    sheet = Image.new("RGB", (size, size), BACKGROUND)
    ImageDraw.Draw(sheet).text((size // 2, size // 2), "no picture", DIMMED, anchor="mm")
    return sheet
