"""
Open indexes and their encoders, kept between operator calls.
"""

from functools import lru_cache

import fiftyone as fo
from alphaclip.indexing.places import index_folder
from alphaclip.indexing.store import MANIFEST


def open_index(dataset, key):
    """Opens an index, or takes the one that an earlier search opened.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        key: of the index

    Returns:
        an ``alphaclip.indexing`` index

    Raises:
        AlphaClipError: if the dataset has no such index
    """
    manifest = index_folder(dataset, key) / MANIFEST
    written = manifest.stat().st_mtime_ns if manifest.exists() else 0
    return _open(dataset.name, key, written)


@lru_cache(maxsize=2)
def _open(name, key, written):
    from alphaclip import indexing

    return indexing.load(fo.load_dataset(name), key)
