"""Where indexes are kept, and what they may be called."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import fiftyone as fo

_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")


class KeyNameError(AlphaClipError):
    """An index cannot have this name."""


def store_root() -> Path:
    """``ALPHACLIP_STORE``, or the folder ``alphaclip`` in FiftyOne's own data directory."""
    import fiftyone as fo

    chosen = os.environ.get("ALPHACLIP_STORE")
    return Path(chosen) if chosen else Path(fo.config.default_dataset_dir) / "alphaclip"


def index_folder(dataset: fo.Dataset, key: str) -> Path:
    """The folder of one index: ``<root>/<dataset id>/<key>``.

    Raises:
        KeyNameError: if the key is not a plain lowercase name
    """
    if not _KEY.fullmatch(key):
        raise KeyNameError(
            f"key is {key!r}: expected a lowercase letter, then at most 63 lowercase letters, "
            "digits and underscores"
        )
    return store_root() / str(dataset._doc.id) / key


def index_keys(dataset: fo.Dataset) -> list[str]:
    """The keys of a dataset's indexes, in order of name."""
    folder = store_root() / str(dataset._doc.id)
    if not folder.is_dir():
        return []
    return sorted(path.parent.name for path in folder.glob("*/manifest.json"))
