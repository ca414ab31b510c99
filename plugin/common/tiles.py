"""Crops of regions in a panel."""

import base64
import io

from alphaclip.errors import AlphaClipError

BACKGROUND, DIMMED = "#222222", "#999999"


def draw_crops(listed, size):
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
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


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
