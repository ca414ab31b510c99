"""Open indexes and their encoders, kept between operator calls, and what is said of them."""

import dataclasses
import logging
from functools import lru_cache
from threading import Thread

import fiftyone as fo

from alphaclip.indexing.brain.copies import Copy
from alphaclip.indexing.dataset.labels import owner_of
from alphaclip.indexing.dataset.locations import REGIONS, copies, index_folder, index_keys
from alphaclip.indexing.retrieval.index import names_in
from alphaclip.indexing.store.entries import check_kinds
from alphaclip.indexing.store.manifests import check_report, read_manifest

from .forms import count
from .reports import describe_search, in_words

logger = logging.getLogger(__name__)


def searched_keys(dataset):
    """Lists what can be searched: the indexes of a dataset, then their copies in other engines."""
    return [*index_keys(dataset), *copies(dataset)]


def open_index(dataset, key):
    """Opens an index, or takes the one that an earlier search opened, which sees what has been
    published since.

    Args:
        key: of the index, or of its copy in another engine

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

    dataset = fo.load_dataset(name)
    of = copies(dataset).get(key)
    return indexing.load(dataset, key) if of is None else indexing.load(dataset, of, engine=key)


def warm_up(dataset, key):
    """Loads the encoder of an index and encodes a word, in a thread of its own, so that the first
    search need not wait for that; once in a process. Where it fails, that search says why."""
    _warm_up(dataset.name, str(dataset._doc.id), key)


@lru_cache(maxsize=64)
def _warm_up(name, dataset_id, key):
    def work():
        try:
            _open(name, dataset_id, key).encoder.encode_text(["warm"])
        except Exception as error:
            logger.debug("the encoder of %s is not loaded yet: %s", key, error)

    Thread(target=work, name="alphaclip-warm-up", daemon=True).start()


def describe_index(dataset, key, with_skipped=False):
    """Says what an index holds, without opening it.

    Args:
        key: of the index, or of its copy in another engine
        with_skipped (False): also how many regions have no vector

    Raises:
        StoreError: if it cannot be read
    """
    of = copies(dataset).get(key, key)
    folder = index_folder(dataset, of)
    manifest = read_manifest(folder)
    if of != key:
        copy = Copy(dataset, of, key, {})
        held = copy.held()
        is_in_step = held is not None and held.version == manifest["version"]
        state = "in step" if is_in_step else "not in step: update it"
        return "%s: %s in %s, %s" % (key, of, copy.title, state)

    info = manifest["info"]
    check_kinds(manifest, {"count": int}, folder)
    if info["kind"] == REGIONS:
        check_report(info, folder)

    told = "%s: %d regions of %s, %s" % (key, manifest["count"], info["field"], info["encoder"])
    skipped = len(info["report"]["skipped"]) if with_skipped and "report" in info else 0
    return "%s, %d skipped" % (told, skipped) if skipped else told


def selected_regions(ctx):
    """Lists the regions that a person has selected: patches in the grid, labels in pictures.

    Returns:
        pairs of sample id, empty where it was not sent, and label id
    """
    chosen = []
    if ctx.selected and ctx.view is not None and ctx.view._is_patches:
        patches = ctx.view.select(ctx.selected, ordered=True)
        chosen += zip(*patches.values([owner_of(patches), "id"]), strict=True)

    labels = ctx.selected_labels or []
    # Of a label in a video, the App sends the id of the video, and no index has it
    samples = ["" if "frame_number" in one else one.get("sample_id") or "" for one in labels]
    chosen += [(sample, one["label_id"]) for sample, one in zip(samples, labels, strict=True)]
    return list(dict.fromkeys(chosen))


def selected_names(ctx, keys):
    """Names the regions that a person has selected.

    Args:
        keys: of the indexes that may hold them; those that are gone are left out
    """
    there = searched_keys(ctx.dataset)
    indexes = [open_index(ctx.dataset, key) for key in keys if key in there]
    return names_in(indexes, selected_regions(ctx))


def named_hits(index, names):
    """Finds regions by name, in their order; those that are not in the index are left out."""
    import numpy as np

    now = index.snapshot()
    rows = now.lookup.find_named(names)
    rows = rows[rows >= 0]
    scores = np.zeros(len(rows), np.float32)
    return index.hits(now, rows, scores, scores)


def update_in_words(dataset, key, progress):
    """Brings an index up to date.

    Args:
        key: of the index
        progress: a function of what is counted, how many are done and how many there are

    Returns:
        one sentence that says what was done
    """
    return in_words(key, dataclasses.asdict(open_index(dataset, key).update(progress)))


def freshness_of(dataset, key):
    """Tells what has changed since an index was made, for a chip: where nothing was modified in
    some thousandths of a second, else within half a second; a panel may ask it every few seconds.

    Args:
        key: of the index

    Returns:
        a dict of JSON values: how many are ``edited``, ``new`` and ``removed``, how many pictures
        are ``unread``, whose turn it is at the next call, and ``said``, all of it in words: an
        empty text if nothing has changed

    Raises:
        AlphaClipError: if the index, its field or its FiftyOne view is gone
    """
    changes = open_index(dataset, key).changes()
    return {**dataclasses.asdict(changes), "said": str(changes)}


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
