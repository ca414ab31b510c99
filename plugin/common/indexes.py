"""Open indexes and their encoders, kept between operator calls, and what is said of them."""

import dataclasses
from functools import lru_cache

import fiftyone as fo

from alphaclip.indexing.dataset.locations import index_folder
from alphaclip.indexing.store.entries import check_kinds
from alphaclip.indexing.store.manifests import check_report, read_manifest

from .forms import count
from .reports import describe_search, in_words


def open_index(dataset, key):
    """Opens an index, or takes the one that an earlier search opened, which sees what has been
    published since.

    Args:
        key: of the index

    Returns:
        an ``alphaclip.indexing`` index

    Raises:
        AlphaClipError: if the dataset has no such index
    """
    return _open(dataset.name, str(dataset._doc.id), key)


# Each holds an encoder and maps its vectors, so a server with many datasets lets old ones go
@lru_cache(maxsize=8)
def _open(name, dataset_id, key):
    from alphaclip import indexing

    return indexing.load(fo.load_dataset(name), key)


def describe_index(dataset, key, with_skipped=False):
    """Says what an index holds, without opening it.

    Args:
        key: of the index
        with_skipped (False): also how many regions have no vector

    Raises:
        StoreError: if it cannot be read
    """
    folder = index_folder(dataset, key)
    manifest = read_manifest(folder)
    info = manifest["info"]
    check_kinds(manifest, {"count": int}, folder)
    check_report(info, folder)
    told = "%s: %d regions of %s, %s" % (key, manifest["count"], info["field"], info["encoder"])
    skipped = len(info["report"]["skipped"]) if with_skipped else 0
    return "%s, %d skipped" % (told, skipped) if skipped else told


def selected_regions(ctx):
    """Lists the regions that a person has selected.

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
        key: of the index
        progress: a function of what is counted, how many are done and how many there are

    Returns:
        one sentence that says what was done
    """
    return in_words(key, dataclasses.asdict(open_index(dataset, key).update(progress)))


def check_in_words(dataset, key, progress):
    """Compares an index with its dataset.

    Args:
        key: of the index
        progress: a function of what is counted, how many are done and how many there are

    Returns:
        a sentence that says what is out of date, and one on how the index is searched
    """
    index = open_index(dataset, key)
    fresh = index.freshness(progress)
    changes = {
        "edited": fresh.edited,
        "not embedded": fresh.missing,
        "gone": fresh.gone,
        "out of reach": fresh.unreachable,
    }
    counts = ["%d %s" % (number, name) for name, number in changes.items() if number]
    state = ", ".join(["%s hold" % count(fresh.held), *counts])
    advice = "Nothing to update." if fresh.is_fresh else "Update the index."
    return "%s. %s Searched by %s." % (state, advice, describe_search(index.info()))
