"""Pictures as files hold them, and as they are shown."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from alphaclip.errors import ImageError
from alphaclip.regions.images import FORMATS, decode_image, open_image, picture_name
from alphaclip.regions.remote import is_remote, read_remote

SUFFIXES = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}
"""How the members of a shard end that hold a picture, and Pillow's name of each format."""


def read_picture(path: str | Path) -> tuple[bytes, str]:
    """Reads the file of a picture as it is.

    Args:
        path: or address; JPEG, PNG and WebP stay as they are; TIFF, BMP and GIF become PNG, turned
            upright

    Returns:
        the content and its suffix, a key of :data:`SUFFIXES`

    Raises:
        ImageError: if it is missing or no picture
    """
    try:
        content = read_remote(str(path)) if is_remote(path) else Path(path).read_bytes()
    except OSError as error:
        raise ImageError(
            f"{picture_name(path)} cannot be read ({error.strerror or error})"
        ) from error
    suffix = picture_suffix(content, str(path))
    return (content, suffix) if suffix else (_to_png(open_image(path)), "png")


def picture_suffix(content: bytes, name: str = "the picture") -> str | None:
    """The suffix of a picture's format; None for one that shards do not hold.

    Raises:
        ImageError: if it is no picture; names it
    """
    suffixes = {kind: suffix for suffix, kind in SUFFIXES.items()}
    try:
        return decode_image(content, lambda image: suffixes.get(image.format or ""))
    except ImageError as error:
        raise ImageError(f"{name} is not one of {', '.join(FORMATS)}, or is damaged") from error


def decode_picture(content: bytes, name: str = "the picture") -> np.ndarray:
    """The pixels of a picture: uint8 (H, W, 3) RGB, with the EXIF orientation applied.

    Args:
        content: JPEG, PNG or WebP
        name: of the picture, for messages

    Raises:
        ImageError: if it is damaged, of another kind or has more pixels than pictures may have
    """
    try:
        return decode_image(content, open_image, tuple(SUFFIXES.values()))
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error


def _to_png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
