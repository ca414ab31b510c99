"""Which pictures need not be read again: those that FiftyOne has not written since.

With a version goes a list of the pictures that it was made of, each with the time at which FiftyOne
had last written it, as its labels were read, and their number. While a picture says the same time,
and has as many vectors, they hold. Nothing is said here of pictures that were noticed for anything
but regions, and of masks in files, which change by themselves: those are read each time.

Times are compared for being the same only. Which of two is later says little: clocks differ, and a
job may write for minutes what it has given the time of its beginning.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import Any

import numpy as np

from alphaclip.files import StoreError
from alphaclip.indexing.dataset.raw_labels import RawPicture
from alphaclip.indexing.embedding.label_reader import (
    EVERY,
    HALF,
    Identify,
    LabelledPicture,
    picture_stamp,
)
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import RowIds, as_bytes, as_text, read_ids
from alphaclip.indexing.store.store import StoreVersion

logger = logging.getLogger(__name__)


def listed(pictures: Sequence[LabelledPicture]) -> RowIds:
    """The entries of the list for some pictures."""
    same = [picture for picture in pictures if picture.modified]
    texts = [_entry(picture.modified, len(picture.stamps)) for picture in same]
    return RowIds.of([picture.sample_id for picture in same], fingerprints=texts)


class Unmodified:
    """Finds the pictures of a version that hold.

    Args:
        version: of a store
        pictures: its list
        identify: see :func:`label_reader.picture_stamp`
    """

    def __init__(self, version: StoreVersion, pictures: RowIds, identify: Identify) -> None:
        self._listed, self._lookup = pictures.fingerprints, Lookup(pictures)
        self._order = np.argsort(version.ids.sample_ids, kind="stable")
        self._ids = version.ids
        self._identify = identify

    @classmethod
    def of(cls, version: StoreVersion | None, settings: dict[str, Any]) -> Unmodified | None:
        """None where all labels have to be read: what a FiftyOne view shows may change by itself,
        and vectors of another field or encoder say nothing. Stores of before have no list."""
        if version is None or version.pictures is None or settings["stages"]:
            return None
        of = ("field", "fingerprint", "stages", EVERY)
        if any(version.info.get(name) != settings.get(name) for name in of):
            return None
        try:
            pictures = read_ids(version.folder, version.pictures)
        except StoreError as error:
            logger.warning("all labels are read: %s", error)
            return None
        return cls(version, pictures, settings["identify"]) if len(pictures) else None

    def __call__(self, pictures: Sequence[RawPicture]) -> list[LabelledPicture | None]:
        """The pictures with their regions as they are in the version, or None for one to be read.

        Where the file of a picture is another now it is to be read, too. The regions themselves are
        left out: they have vectors.
        """
        sample_ids = [picture.sample_id for picture in pictures]
        runs, at = self._rows(sample_ids), self._lookup.find_keys(as_bytes(sample_ids))
        entries = [_entry(p.modified, len(run)) for p, run in zip(pictures, runs, strict=True)]
        same = (at >= 0) & (self._listed[at] == as_bytes(entries))
        held = self._held(compress(pictures, same), list(compress(runs, same)))
        return [next(held) if is_same else None for is_same in same.tolist()]

    def stamps_of_masks(self, sample_ids: Sequence[str]) -> dict[str, str]:
        """See :meth:`label_reader.Finder.stamps_of_masks`; empty in versions of before, whose
        fingerprints say nothing of what is stored."""
        rows = np.concatenate(self._rows(sample_ids))
        fingerprints = as_text(self._ids.fingerprints[rows]).tolist()
        return {one[2 * HALF :]: one[HALF : 2 * HALF] for one in fingerprints if one[2 * HALF :]}

    def _rows(self, sample_ids: Sequence[str]) -> list[np.ndarray]:
        """The rows of each picture."""
        samples = as_bytes(list(sample_ids))
        starts, ends = (
            np.searchsorted(self._ids.sample_ids, samples, side, self._order).tolist()
            for side in ("left", "right")
        )
        return [self._order[start:end] for start, end in zip(starts, ends, strict=True)]

    def _held(
        self, pictures: Iterable[RawPicture], runs: Sequence[np.ndarray]
    ) -> Iterator[LabelledPicture | None]:
        """Pictures with their rows, a run of them each; None where the file is another now."""
        rows = np.concatenate([np.zeros(0, np.int64), *runs])
        label_ids = as_text(self._ids.label_ids[rows]).tolist()
        fingerprints = as_text(self._ids.fingerprints[rows]).tolist()
        end = 0
        for picture, run in zip(pictures, runs, strict=True):
            start, end = end, end + len(run)
            stamp = picture_stamp(picture.filepath, self._identify) if len(run) else None
            own = fingerprints[start:end]
            if stamp is not None and any(one[:HALF] != stamp for one in own):
                yield None
                continue
            stamps = [one[HALF:] for one in own]
            whose = picture.sample_id, picture.filepath, stamp
            yield LabelledPicture(*whose, label_ids[start:end], (), stamps, picture.modified)


def _entry(modified: str, count: int) -> str:
    return f"{modified} {count}"
