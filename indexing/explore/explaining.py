"""Where the encoder looked for a query in a region of an index.

Public: :func:`explain_region`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.retrieval.hit_listing import list_hits

if TYPE_CHECKING:
    from alphaclip.indexing.retrieval.index import SearchIndex


@checked()
def explain_region(index: SearchIndex, label_id: str, text: str, cells: int = 10) -> np.ndarray:
    """Says how much each part of a picture speaks for a text, for a FiftyOne ``Heatmap``.

    Args:
        index: whose encoder looks
        label_id: of a region of the index, see :class:`Example`
        text: what it is compared with
        cells (10): see :func:`alphaclip.encoder.explaining.explain`; cells x cells passes are run

    Returns:
        float32 (h, w) in [0, 1], see :func:`alphaclip.encoder.explaining.explain`

    Raises:
        AlphaClipError: if the region is not in the index, or its label is gone or has no area
    """
    from alphaclip.encoder.explaining import explain

    now, score = index.snapshot(), np.zeros(1, np.float32)
    hits = index.hits(now, index.rows_of(now, [label_id]), score, score)
    for hit in list_hits(hits):
        if hit.region is not None:
            return explain(index.encoder, hit.image, hit.region, text, cells)
    raise AlphaClipError(
        f"label {label_id} is gone from field {index.field!r}, or has no area: update index "
        f"{index.key!r}"
    )
