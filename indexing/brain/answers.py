"""Places in a table as what FiftyOne's Brain gives and takes: ids and numbers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from alphaclip.indexing.brain.arguments import BrainArgumentError, as_ids
from alphaclip.indexing.brain.vectors import Vectors
from alphaclip.indexing.store.segments import as_text

logger = logging.getLogger(__name__)

Kind = Literal["sample", "label"]


def ids_at(
    vectors: Vectors, places: np.ndarray, of_patches: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The sample ids, and in an index of patches the label ids, of some places."""
    ids = vectors.version.ids
    labels = as_text(ids.label_ids[places]) if of_patches else None
    return as_text(ids.sample_ids[places]), labels


def places_of(
    vectors: Vectors,
    ids: Any,
    kind: Kind,
    of_patches: bool,
    allow_missing: bool,
    warn_missing: bool,
) -> np.ndarray:
    """The places of samples or labels, in the order asked for.

    Args:
        vectors: of the index
        ids: one or several
        kind: of the ids; a sample of an index of patches stands for all its labels
        of_patches: whether the index is
        allow_missing: leave out ids that are not there
        warn_missing: log how many these are

    Raises:
        BrainArgumentError: if an id is not there and must be, or an index of samples is asked for
            labels
    """
    if kind == "label" and not of_patches:
        raise BrainArgumentError("this is an index of samples: it has no label ids")
    wanted = as_ids(ids)
    all_labels = kind == "sample" and of_patches
    places, found = vectors.find_samples(wanted) if all_labels else vectors.find(wanted)
    if not found.all():
        missing = f"{(~found).sum()} {kind} ids are not in the index, as {wanted[~found][0]}"
        if not allow_missing:
            raise BrainArgumentError(missing)
        if warn_missing:
            logger.warning("%s", missing)
    return places


def answer(
    vectors: Vectors,
    distances: np.ndarray,
    places: np.ndarray,
    of_patches: bool,
    with_distances: bool,
) -> tuple:
    """One ranking as lists of ids and of numbers, or several, equally long, as lists of lists."""
    samples, labels = ids_at(vectors, places, of_patches)
    ids = (samples.tolist(), None if labels is None else labels.tolist())
    return (*ids, distances.tolist()) if with_distances else ids


def answers(
    vectors: Vectors,
    distances: Sequence[np.ndarray],
    places: Sequence[np.ndarray],
    of_patches: bool,
    with_distances: bool,
) -> tuple:
    """Several rankings, not equally long, as lists of lists."""
    pairs = zip(distances, places, strict=True)
    lines = [answer(vectors, near, here, of_patches, True) for near, here in pairs]
    samples, labels, apart = (list(column) for column in zip(*lines, strict=True))
    ids = (samples, labels if of_patches else None)
    return (*ids, apart) if with_distances else ids
