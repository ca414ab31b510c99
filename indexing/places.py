"""Where indexes are kept, and what they may be called."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    import fiftyone as fo

_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")


CONFIG_CLASS = "alphaclip.indexing.similarity.FaissSimilarityConfig"
"""By which FiftyOne's database tells our Brain runs from others."""


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


def check_key(dataset: fo.Dataset, key: str) -> None:
    """Looks whether an index of this dataset may have this name.

    Raises:
        KeyNameError: if the key is malformed, or is the name of another Brain run
    """
    index_folder(dataset, key)
    if dataset.has_brain_run(key):
        kind = dataset.get_brain_info(key).config.cls
        if kind != CONFIG_CLASS:
            raise KeyNameError(
                f"dataset {dataset.name!r} has a Brain run {key!r} of another kind "
                f"({kind.rpartition('.')[2]}): choose another key"
            )


def remove_index(dataset: fo.Dataset, key: str) -> None:
    """Deletes the folder of one index, if there is one."""
    shutil.rmtree(index_folder(dataset, key), ignore_errors=True)
