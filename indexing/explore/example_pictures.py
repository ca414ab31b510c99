"""Pictures that were searched with, kept with the dataset for as long as the searches may be run.

Public: :func:`keep_picture` and :func:`open_picture`.
"""

from __future__ import annotations

import hashlib
import io
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.records import Records, new_key
from alphaclip.regions.images import decode_image, open_image

if TYPE_CHECKING:
    import fiftyone as fo

STORE = "example_pictures"
MOST = 20
"""Pictures that stay with a dataset, but for those that are held; the oldest go first."""

MAX_SIDE = 1600
MAX_PIXELS = 50_000_000
QUALITY = 95

_NAME = re.compile(r"picture:[0-9a-f]{32}")
_HELD = "held"


@checked()
def keep_picture(dataset: fo.Dataset, image: Any) -> str:
    """Keeps a picture with a dataset, as a JPEG of at most 1600 pixels a side.

    The same picture again moves up, and keeps its name.

    Args:
        dataset: to keep it with
        image: a path, the content of a file as bytes, a PIL image, or uint8 (H, W, 3)

    Returns:
        its name, for :attr:`Search.picture`

    Raises:
        ImageError: if it is no picture that can be used, or has more than 50 million pixels
    """
    is_file = not isinstance(image, (np.ndarray, Image.Image))
    pixels = decode_image(image, _decode) if is_file else open_image(image, MAX_PIXELS)
    picture = Image.fromarray(pixels)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    digest = hashlib.sha256(file.getvalue()).hexdigest()[:32]
    records = Records(dataset, STORE)
    before = [key for key in _keys(records, digest) if _HELD not in key]
    records.set(f"{new_key()}/{digest}", b64encode(file.getvalue()).decode())
    keys = sorted({*records.keys()} - {*before, *records.keys(_HELD)})
    for key in [*before, *keys[:-MOST]]:
        records.delete(key)
    return f"picture:{digest}"


def open_picture(dataset: fo.Dataset, name: str) -> Any:
    """A picture by its name, as encoders take it; what is no name of a kept one is a path.

    Raises:
        AlphaClipError: if it is not kept any more
    """
    if not is_kept_name(name):
        return name
    records = Records(dataset, STORE)
    for key in _keys(records, name):
        text = records.get(key)
        if text is not None:
            return open_image(b64decode(text))
    raise AlphaClipError(
        f"{name} is not kept any more: a dataset keeps the last {MOST} pictures that were searched "
        "with; give the picture again"
    )


def is_kept_name(name: str | None) -> bool:
    """Whether a search names its picture as :func:`keep_picture` does, and not by a path."""
    return name is not None and _NAME.fullmatch(name) is not None


def kept_names(dataset: fo.Dataset) -> set[str]:
    """The names of all pictures that are kept."""
    keys = Records(dataset, STORE).keys()
    return {f"picture:{key.rpartition('/')[2]}" for key in keys}


def hold_picture(dataset: fo.Dataset, name: str) -> None:
    """Keeps a picture beyond the last ones, until it is released."""
    records = Records(dataset, STORE)
    for key in _keys(records, name):
        records.set(f"{_HELD}/{name.partition(':')[2]}", records.get(key))


def held_names(dataset: fo.Dataset) -> set[str]:
    """The names of the pictures that are held."""
    keys = Records(dataset, STORE).keys(f"{_HELD}/")
    return {f"picture:{key.rpartition('/')[2]}" for key in keys}


def release_picture(dataset: fo.Dataset, name: str) -> None:
    """Has a picture that was held dropped; as one of the last ones it stays."""
    Records(dataset, STORE).delete(f"{_HELD}/{name.partition(':')[2]}")


def _keys(records: Records, name: str) -> list[str]:
    keys, digest = records.keys(), name.rpartition(":")[2]
    return [key for key in keys if key.endswith(f"/{digest}")]


def _decode(image: Image.Image) -> np.ndarray:
    """A JPEG at a half, quarter or eighth where it is large."""
    image.draft(None, (MAX_SIDE, MAX_SIDE))
    return open_image(image, MAX_PIXELS)
