"""The vectors of a run in a field of the dataset, where ``compute_similarity`` is given one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.dataset.labels import label_values, media_of
from alphaclip.indexing.store.segments import RowIds, as_text

if TYPE_CHECKING:
    import fiftyone as fo

_TOGETHER = 10_000
"""Vectors that are compared with those in the field, and written, at a time."""


class VectorField:
    """The field that a run names: of the samples, or an attribute of its patches.

    Args:
        samples: of the run
        name: of the field or attribute
        patches_field: of the run, None if its vectors are of samples
    """

    def __init__(self, samples: fo.SampleCollection, name: str, patches_field: str | None) -> None:
        self._samples = media_of(samples, "")
        self._name, self._patches_field = name, patches_field
        self._path = name
        if patches_field is not None:
            _, self._path = samples._get_label_field_path(patches_field, name)

    def write(self, ids: RowIds, vectors: np.ndarray) -> None:
        """Stores vectors, float32 (n, dim). Nothing is written where the field has them already, as
        it has those that were read from it."""
        for start in range(0, len(ids), _TOGETHER):
            some = ids.take(np.arange(start, min(start + _TOGETHER, len(ids))))
            held = self._held(some)
            new = dict(zip(as_text(some.keys).tolist(), vectors[start:], strict=False))
            self._set({key: new[key] for key in new if not _same(new[key], held.get(key))})

    def clear(self, ids: RowIds) -> None:
        """Empties the field of what is no longer in the index."""
        self._set(dict.fromkeys(as_text(ids.keys).tolist()))

    def _held(self, ids: RowIds) -> dict[str, Any]:
        if not self._samples.has_field(self._path):
            return {}
        view = self._samples.select(list(dict.fromkeys(as_text(ids.sample_ids).tolist())))
        if self._patches_field is None:
            return dict(zip(*view.values(["id", self._name]), strict=True))
        rows, (values,) = label_values(view, self._patches_field, self._name)
        return dict(zip(as_text(rows.label_ids).tolist(), values, strict=True))

    def _set(self, values: dict[str, Any]) -> None:
        if values and self._patches_field is None:
            self._samples.set_values(self._name, values, key_field="id", progress=False)
        elif values:
            self._samples.set_label_values(self._path, values, dynamic=True, progress=False)


def _same(vector: np.ndarray, held: Any) -> bool:
    return held is not None and np.array_equal(vector, np.asarray(held, np.float32))
