"""Pictures that a person gives as a query; they are kept with the dataset, for a day.

A panel sends its state with every click, so the picture itself is no part of it.
"""

import base64
import io
import uuid

import fiftyone.operators as foo

from alphaclip.errors import AlphaClipError

from ..common.tiles import as_base64, data_uri

STORE = "alphaclip_pictures"
KEPT_SECONDS = 24 * 3600
MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 50_000_000
MAX_SIDE = 1600
PREVIEW_SIDE = 320
OUTLINE = (255, 0, 160)


def keep_picture(dataset, content):
    """Keeps an uploaded picture, made smaller where it is large.

    Args:
        content: the file, as base64

    Raises:
        AlphaClipError: if it is too large, or no picture
    """
    from PIL import Image

    from alphaclip.regions.images import decode_image

    if len(content) > MAX_BYTES * 4 / 3 + 4:
        raise AlphaClipError("The file is larger than %d MB" % (MAX_BYTES // 1024**2))

    try:
        pixels = decode_image(base64.b64decode(content, validate=True), _upload)
    except ValueError as error:
        raise AlphaClipError("The file is no picture that can be used: %s" % error) from error

    picture = Image.fromarray(pixels)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    token = uuid.uuid4().hex
    _store(dataset).set_cache(token, as_base64(picture, 95), ttl=KEPT_SECONDS)
    return token


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
    import numpy as np

    from alphaclip.regions.region import Region

    box = picture["box"]
    region = Region.from_box(box) if box else Region.whole_image()
    return np.asarray(_open(dataset, picture["token"])), region


def preview(dataset, picture):
    """Draws a kept picture with its box.

    Args:
        picture: see :func:`load_picture`
    """
    from PIL import ImageDraw

    from alphaclip.regions.region import Region

    image = _open(dataset, picture["token"])
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    if picture["box"]:
        left, top, right, bottom = Region.from_box(picture["box"]).bounds(image.height, image.width)
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), None, OUTLINE, 3)

    return data_uri(image)


def _upload(image):
    """Decodes an uploaded picture, a JPEG at a half, quarter or eighth where it is large."""
    from alphaclip.regions.images import open_image

    image.draft(None, (MAX_SIDE, MAX_SIDE))
    return open_image(image, MAX_PIXELS)


def _open(dataset, token):
    from PIL import Image

    kept = _store(dataset).get(token) if str(token).isalnum() else None
    if kept is None:
        raise AlphaClipError("The picture is not kept any more: upload it again")

    return Image.open(io.BytesIO(base64.b64decode(kept)), formats=("JPEG",)).convert("RGB")


def _store(dataset):
    return foo.ExecutionStore.create(STORE, dataset_id=dataset._doc.id)
