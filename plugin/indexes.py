"""
Open indexes and their encoders, kept between operator calls.
"""

from functools import lru_cache

import fiftyone as fo


def open_index(dataset, key):
    """Opens an index, or takes the one that an earlier search opened, which sees what has been
    published since.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        key: of the index

    Returns:
        an ``alphaclip.indexing`` index

    Raises:
        AlphaClipError: if the dataset has no such index
    """
    return _open(dataset.name, str(dataset._doc.id), key)


@lru_cache(maxsize=8)
def _open(name, dataset_id, key):
    from alphaclip import indexing

    return indexing.load(fo.load_dataset(name), key)
