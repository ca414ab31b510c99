"""Where the encoder looked for a query in a region of an index.

Public: :func:`explain_region`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import PATCHABLE, check_field, images_of, label_region
from alphaclip.indexing.retrieval.rows import places_of
from alphaclip.indexing.store.segments import as_text

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex


def explain_region(index: SearchIndex, label_id: str, text: str, cells: int = 10) -> np.ndarray:
    """Says how much each part of a picture speaks for a text, for a FiftyOne ``Heatmap``.

    Args:
        index: whose encoder looks
        label_id: of a region of the index
        text: what it is compared with
        cells (10): see :func:`alphaclip.encoder.explaining.explain`; cells x cells passes are run

    Returns:
        float32 (h, w) in [0, 1], see :func:`alphaclip.encoder.explaining.explain`

    Raises:
        AlphaClipError: if the region is not in the index, or its label is gone or has no area
    """
    from alphaclip.encoder.explaining import explain

    now = index.snapshot()
    place = places_of(index, now, [label_id])
    sample_id = str(as_text(now.version.ids.sample_ids[place])[0])
    kind = check_field(index.dataset, index.field)
    samples = images_of(index.dataset).select([sample_id]).select_fields(index.field)
    for sample in samples.iter_samples():
        value = sample[index.field]
        labels = [] if value is None else value[kind.lower()] if kind in PATCHABLE else [value]
        for label in labels:
            if str(label.id) == label_id:
                return explain(index.encoder, sample.filepath, label_region(label), text, cells)
    raise AlphaClipError(
        f"label {label_id} is gone from field {index.field!r}: update index {index.key!r}"
    )
