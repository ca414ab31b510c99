"""Which regions a job has looked at, as they were: what is new or edited since is seen by it."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.indexing.dataset.records import RecordError, Records

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.store.segments import RowIds

STORE = "seen"

_CHUNK = 500_000
"""Regions in one record: some 5 MB, where 16 MB is the most."""


class SeenRegions:
    """The regions that the runs of one job have looked at; kept with the dataset.

    A run that was taken back does not count, nor one with other settings.

    Args:
        dataset: whose regions
        job: names the job, as ``("tag", "regions", "fruit")``
        settings: what the job did with a region, as text
        is_undone: says of the id that a run gave to :meth:`add` whether it was taken back
    """

    def __init__(
        self,
        dataset: fo.Dataset,
        job: Sequence[str],
        settings: str,
        is_undone: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._records, self._is_undone = Records(dataset, STORE), is_undone
        self._prefix = f"{_hash(repr(tuple(job)))}/"
        self._settings = _hash(settings)

    def is_new(self, ids: RowIds) -> np.ndarray:
        """Which rows no run has looked at as they are now: bool (n,)."""
        # Records of the first versions told regions by their label alone.
        parts: dict[bool, list[np.ndarray]] = {True: [_NONE], False: [_NONE]}
        undone: dict[str, bool] = {}
        for key in self._records.keys(self._prefix):
            # What is looked at once more, as its record is damaged, is not changed twice.
            with suppress(RecordError), self._records.reading(key) as value:
                if value is None or value["settings"] != self._settings:
                    continue
                action = value["action"]
                if action not in undone:
                    undone[action] = self._is_undone(action)
                if not undone[action]:
                    marks = np.frombuffer(b64decode(value["marks"]), np.uint64)
                    parts[value.get("by_sample", False)].append(marks)
        seen = np.isin(_marks(ids), np.concatenate(parts[True]))
        if len(parts[False]) > 1:
            seen |= np.isin(_marks(ids, by_sample=False), np.concatenate(parts[False]))
        return ~seen

    def add(self, ids: RowIds, action: str, forget: bool) -> None:
        """Remembers what a run has looked at.

        Args:
            ids: the rows
            action: the id of what was done
            forget: whether the run looked at all regions, so that the runs before do not matter
        """
        old = self._records.keys(self._prefix) if forget else []
        marks = _marks(ids)
        for part, start in enumerate(range(0, len(marks), _CHUNK)):
            text = b64encode(marks[start : start + _CHUNK].tobytes()).decode()
            value = {"action": action, "settings": self._settings, "marks": text, "by_sample": True}
            self._records.set(f"{self._prefix}{action}/{part:04d}", value)
        for key in old:
            self._records.delete(key)


def _marks(ids: RowIds, by_sample: bool = True) -> np.ndarray:
    """64 bits for each row, of its id and of what its vector was made of: uint64 (n,). Of 100M rows
    two have the same bits with a probability of 1 in 3,700, and then one is left out."""
    samples = ids.sample_ids.tolist() if by_sample else [b""] * len(ids)
    rows = zip(ids.keys.tolist(), samples, ids.fingerprints.tolist(), strict=True)
    content = b"".join(
        hashlib.blake2b(key + sample + b" " + made_of, digest_size=8).digest()
        for key, sample, made_of in rows
    )
    return np.frombuffer(content, np.uint64)


_NONE = np.zeros(0, np.uint64)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
