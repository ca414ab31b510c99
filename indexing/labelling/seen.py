"""Which regions a job has looked at that can be taken back, and what it looked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.act.actions import is_undone
from alphaclip.indexing.retrieval.queries import Example, Query, parts_of
from alphaclip.indexing.retrieval.seen import SeenRegions

if TYPE_CHECKING:
    import fiftyone as fo


class Seen(SeenRegions):
    """The same, where a run that was taken back does not count.

    Args:
        dataset, job, settings: see :class:`SeenRegions`
    """

    def __init__(self, dataset: fo.Dataset, job: Sequence[str], settings: str) -> None:
        super().__init__(dataset, job, settings, lambda action: is_undone(dataset, action))


def described(query: Query | None) -> str:
    """A query as text that is equal for equal queries."""
    return repr([] if query is None else [_described(part) for part in parts_of(query)])


def _described(part: Any) -> Any:
    if isinstance(part, str):
        return part
    if isinstance(part, Example):
        return ("example", part.label_id)
    if isinstance(part, np.ndarray):
        return ("vector", _hash_of_array(part))
    image, region = part
    is_path = isinstance(image, (str, bytes)) or hasattr(image, "__fspath__")
    return ("region", str(image) if is_path else _hash_of_array(image), region.digest())


def _hash_of_array(values: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
