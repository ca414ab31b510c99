"""What is written down of an encoder beside its vectors, and the encoder found again by it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.ensembles import read_view
from alphaclip.errors import AlphaClipError
from alphaclip.views.view import View


def encoder_settings(encoder: Encoder) -> dict[str, Any]:
    """What a store keeps of an encoder: its name, fingerprint and view."""
    return {
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "view": encoder.view.to_dict(),
    }


def encoder_of(info: Mapping[str, Any], given: Encoder | None = None) -> Encoder:
    """The encoder that a store's vectors are of.

    Args:
        info: of the store
        given (None): checked in place of the one of that name

    Raises:
        AlphaClipError: if the vectors are from elsewhere, or the model of that name has other
            weights, or another view, now
    """
    if "fingerprint" not in info:
        raise AlphaClipError(
            "the vectors of this index are from elsewhere: search it by vector, or through "
            "FiftyOne's sort_by_similarity"
        )
    encoder = given or _shared_encoder(info["encoder"], read_view(info["view"]))
    if encoder.fingerprint != info["fingerprint"]:
        raise AlphaClipError(
            f"the index was built with {info['encoder']} ({info['fingerprint'][:8]}), "
            f"{encoder.name} is now {encoder.fingerprint[:8]}: its vectors cannot be compared; "
            "build the index again with overwrite=True"
        )
    return encoder


@lru_cache(maxsize=2)
def _shared_encoder(name: str, view: View) -> Encoder:
    """An encoder that all indexes built with it share in this process."""
    from alphaclip.encoder.load import load as load_encoder

    return load_encoder(name, view=view)
