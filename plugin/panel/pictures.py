"""Pictures that a person gives as a query; they are kept with the dataset, for a day.

A panel sends its state with every click, so the picture itself is no part of it.
"""

import base64
import io
import uuid

import fiftyone.operators as foo
from bson import ObjectId

from alphaclip.errors import AlphaClipError

from ..common.panels import event
from ..common.tiles import as_base64, data_uri

STORE = "alphaclip_pictures"
KEPT_SECONDS = 24 * 3600
MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 50_000_000
MAX_SIDE = 1600
PREVIEW_SIDE = 800
OF_SAMPLE = "sample:"
"""Before a sample id: a token of a picture of the dataset."""


class PictureEvents:
    """Events of the picture that is searched with."""

    @event
    def upload(self, ctx):
        token = keep_picture(ctx.dataset, str(ctx.params["content"]))
        return {"token": token, "preview": preview(ctx.dataset, token)}

    @event
    def preview(self, ctx):
        return {"preview": preview(ctx.dataset, str(ctx.params["token"]))}


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
        picture: a dict of ``token``, see :func:`preview`, and ``box``, ``[x, y, width, height]``
            relative to the picture, or None for the whole of it

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


def preview(dataset, token):
    """Draws a picture small enough for the page.

    Args:
        token: of :func:`keep_picture`, or :data:`OF_SAMPLE` and the id of a sample
    """
    image = _open(dataset, token)
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return data_uri(image)


def _upload(image):
    """Decodes an uploaded picture, a JPEG at a half, quarter or eighth where it is large."""
    from alphaclip.regions.images import open_image

    image.draft(None, (MAX_SIDE, MAX_SIDE))
    return open_image(image, MAX_PIXELS)


def _open(dataset, token):
    from PIL import Image

    from alphaclip.regions.images import open_image

    if token.startswith(OF_SAMPLE):
        sample = token.removeprefix(OF_SAMPLE)
        paths = dataset.select([sample]).values("filepath") if ObjectId.is_valid(sample) else []
        if not paths:
            raise AlphaClipError("The picture is not in the dataset any more")

        return Image.fromarray(open_image(paths[0]))

    kept = _store(dataset).get(token) if str(token).isalnum() else None
    if kept is None:
        raise AlphaClipError("The picture is not kept any more: upload it again")

    return Image.open(io.BytesIO(base64.b64decode(kept)), formats=("JPEG",)).convert("RGB")


def _store(dataset):
    return foo.ExecutionStore.create(STORE, dataset_id=dataset._doc.id)
