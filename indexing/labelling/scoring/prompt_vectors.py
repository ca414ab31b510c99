"""The vectors of prompts, remembered: while somebody writes classes, most stay as they are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.indexing.labelling.scoring.scoring import Encode
from alphaclip.indexing.progress import Progress

MOST_VALUES = 32_000_000
"""Of all vectors together: 128 MB. What was not used for longest goes first."""

PART = 1024
"""Texts that are encoded before progress is told."""

Key = tuple[str, tuple[str, ...] | None, str]

_vectors: OrderedDict[Key, np.ndarray] = OrderedDict()
_lock = Lock()


def remembering(encoder: Encoder, show: Progress | None = None) -> Encode:
    """The ``encode_text`` of an encoder, which is asked for each text once in this process.

    A vector may differ in its last bits from one that is encoded beside other texts.

    Args:
        encoder: asked for what is not remembered
        show (None): told how many of these are encoded
    """

    def encode(texts: Sequence[str], templates: Sequence[str] | None = None) -> np.ndarray:
        alike = encoder.fingerprint, None if templates is None else tuple(templates)
        keys = [(*alike, text) for text in texts]
        with _lock:
            mine = {key: _vectors[key] for key in keys if key in _vectors}
        new = list(dict.fromkeys(key for key in keys if key not in mine))
        # Without any text the encoder is asked, too: it says what is wrong.
        for start in range(0, len(new) if keys else 1, PART):
            some = new[start : start + PART]
            vectors = encoder.encode_text([text for *_, text in some], templates)
            # Copies, as a row alone would keep all vectors that were encoded with it.
            mine.update(zip(some, (row.copy() for row in vectors), strict=True))
            if show is not None:
                show("prompts encoded", start + len(some), len(new))
        with _lock:
            for key, vector in mine.items():
                _vectors[key] = _vectors.pop(key, vector)
            values = sum(map(len, _vectors.values()))
            while values > MOST_VALUES:
                values -= len(_vectors.popitem(last=False)[1])
        return np.stack([mine[key] for key in keys])

    return encode
