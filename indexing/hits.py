"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import fiftyone as fo


@dataclass(frozen=True, eq=False)
class Hits:
    """Regions in rank order, best first.

    Attributes:
        sample_ids: str (k,)
        label_ids: str (k,)
        fields: str (k,), the field of each label
        scores: float32 (k,), cosine to the query, in [-1, 1]
        rank_scores: float32 (k,), what the order follows
        dataset: that was searched
    """

    sample_ids: np.ndarray
    label_ids: np.ndarray
    fields: np.ndarray
    scores: np.ndarray
    rank_scores: np.ndarray
    dataset: fo.Dataset

    def __len__(self) -> int:
        return len(self.label_ids)

    def view(self) -> fo.DatasetView:
        """The hits as patches in rank order.

        FiftyOne makes no patches of single Detection and Polyline fields: those come as samples,
        in the order of each one's best hit.
        """
        from alphaclip.indexing.labels import PATCHABLE, check_field, images_of
        from bson import ObjectId
        from fiftyone import ViewField

        samples = list(dict.fromkeys(self.sample_ids.tolist()))
        if not len(self):
            return self.dataset.limit(0)
        field = str(self.fields[0])
        if check_field(self.dataset, field) not in PATCHABLE:
            return images_of(self.dataset).select(samples, ordered=True)
        wanted = ViewField("_id").is_in([ObjectId(label) for label in self.label_ids])
        shown = images_of(self.dataset).select(samples).filter_labels(field, wanted)
        patches = shown.to_patches(field)
        return patches.select(self.label_ids.tolist(), ordered=True)
