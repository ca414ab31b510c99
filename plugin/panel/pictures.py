"""Pictures that a person gives as a query; the last ones stay with the dataset.

A panel sends its state with every click, so the picture itself is no part of it.
"""

import base64

from alphaclip.errors import AlphaClipError

from ..common.tiles import data_uri

MAX_BYTES = 20 * 1024 * 1024
PREVIEW_SIDE = 320
OUTLINE = (255, 0, 160)


def keep_picture(dataset, content):
    """Keeps an uploaded picture, made smaller where it is large.

    Args:
        content: the file, as base64

    Raises:
        AlphaClipError: if it is too large, or no picture
    """
    from alphaclip import indexing

    if len(content) > MAX_BYTES * 4 / 3 + 4:
        raise AlphaClipError("The file is larger than %d MB" % (MAX_BYTES // 1024**2))

    try:
        return indexing.keep_picture(dataset, base64.b64decode(content, validate=True))
    except ValueError as error:
        raise AlphaClipError("The file is no picture that can be used: %s" % error) from error


def load_picture(dataset, picture):
    """Opens a kept picture as a query.

    Args:
        picture: a dict of ``token`` and ``box``, ``[x, y, width, height]`` relative to the
            picture, or None for the whole of it

    Returns:
        a tuple of an image and a region

    Raises:
        AlphaClipError: if it is not kept any more, or the box is malformed
    """
    from alphaclip.regions.region import Region

    box = picture["box"]
    region = Region.from_box(box) if box else Region.whole_image()
    return _pixels(dataset, picture["token"]), region


def preview(dataset, picture):
    """Draws a kept picture with its box.

    Args:
        picture: see :func:`load_picture`
    """
    from PIL import Image, ImageDraw

    from alphaclip.regions.region import Region

    image = Image.fromarray(_pixels(dataset, picture["token"]))
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    if picture["box"]:
        left, top, right, bottom = Region.from_box(picture["box"]).bounds(image.height, image.width)
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), None, OUTLINE, 3)

    return data_uri(image)


def _pixels(dataset, token):
    from alphaclip.indexing.explore.example_pictures import is_kept_name, open_picture

    # A token comes from the browser: of anything else, the library would take it for a path
    if not is_kept_name(token):
        raise AlphaClipError("The picture is not kept any more: upload it again")

    return open_picture(dataset, token)
