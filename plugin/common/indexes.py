"""
Open indexes and their encoders, kept between operator calls, and what is said of them.
"""

import dataclasses
from functools import lru_cache

import fiftyone as fo

from .forms import count
from .reports import describe_search, in_words


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


def selected_regions(ctx):
    """Lists the regions that a person has selected.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`

    Returns:
        the ids of the patches selected in the grid and of the labels selected in pictures
    """
    chosen = []
    if ctx.selected and ctx.view is not None and ctx.view._is_patches:
        chosen += ctx.selected

    chosen += [label["label_id"] for label in ctx.selected_labels or []]
    return list(dict.fromkeys(chosen))


def update_in_words(dataset, key, progress):
    """Brings an index up to date.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        key: of the index
        progress: a function of what is counted, how many are done and how many there are

    Returns:
        one sentence that says what was done
    """
    return in_words(key, dataclasses.asdict(open_index(dataset, key).update(progress)))


def check_in_words(dataset, key, progress):
    """Compares an index with its dataset.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        key: of the index
        progress: a function of what is counted, how many are done and how many there are

    Returns:
        a sentence that says what is out of date, and one on how the index is searched
    """
    index = open_index(dataset, key)
    fresh = index.freshness(progress)
    found = ["%s hold" % count(fresh.held)]
    found += ["%d edited" % fresh.edited] if fresh.edited else []
    found += ["%d not embedded" % fresh.missing] if fresh.missing else []
    found += ["%d gone" % fresh.gone] if fresh.gone else []
    found += ["%d out of reach" % fresh.unreachable] if fresh.unreachable else []
    advice = "Nothing to update." if fresh.is_fresh else "Update the index."
    return "%s. %s Searched by %s." % (", ".join(found), advice, describe_search(index.info()))
