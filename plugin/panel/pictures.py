"""Pictures that a person searches with: uploaded ones stay with the dataset for a while."""

import base64

from bson import ObjectId

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import FRAMES
from alphaclip.indexing.dataset.raw_labels import read_times

from ..common.panels import event
from ..common.tiles import data_uri

MAX_BYTES = 20 * 1024 * 1024
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
    from alphaclip import indexing

    if len(content) > MAX_BYTES * 4 / 3 + 4:
        raise AlphaClipError("The file is larger than %d MB" % (MAX_BYTES // 1024**2))

    try:
        return indexing.keep_picture(dataset, base64.b64decode(content, validate=True))
    except ValueError as error:
        raise AlphaClipError("The file is no picture that can be used: %s" % error) from error


def is_token(text):
    """Whether :func:`load_picture` takes a text: anything else, the library takes for a path."""
    from alphaclip.indexing.explore.example_pictures import is_kept_name

    return text.startswith(OF_SAMPLE) or is_kept_name(text)


def load_picture(dataset, token):
    """Opens a picture as encoders take it.

    Args:
        token: of :func:`keep_picture`, or :data:`OF_SAMPLE` and the id of a sample

    Raises:
        AlphaClipError: if it is not kept any more
    """
    from alphaclip.indexing.explore.example_pictures import open_picture
    from alphaclip.regions.images import open_image

    if token.startswith(OF_SAMPLE):
        sample = token.removeprefix(OF_SAMPLE)
        path = _path_of(dataset, sample) if ObjectId.is_valid(sample) else None
        if path is None:
            raise AlphaClipError("The picture is not in the dataset any more")

        return open_image(path)

    # A token comes from the browser
    if not is_token(token):
        raise AlphaClipError("The picture is not kept any more: upload it again")

    return open_picture(dataset, token)


def _path_of(dataset, sample):
    """The path of a sample, or address of a frame, by its id; None if it is neither."""
    if dataset.media_type == "video":
        return next((one.filepath for one in read_times(dataset, FRAMES, [sample])), None)

    return next(iter(dataset.select([sample]).values("filepath")), None)


def preview(dataset, token):
    """Draws a picture small enough for the page.

    Args:
        token: see :func:`load_picture`
    """
    from PIL import Image

    image = Image.fromarray(load_picture(dataset, token))
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return data_uri(image)
