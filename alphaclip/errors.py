"""The errors that a user of this package can cause, each with a message that says what to do."""

from __future__ import annotations

from reprlib import Repr


class AlphaClipError(ValueError):
    """Something given to alphaclip cannot be used; the message says what, where and what to do."""


class RegionError(AlphaClipError):
    """A box, mask, polygon or RLE is malformed or does not fit its image."""


class EmptyRegionError(RegionError):
    """A region covers no area of its image."""


class ImageError(AlphaClipError):
    """An image is missing, damaged, of an unsupported kind or above the pixel limit."""


class CheckpointError(AlphaClipError):
    """Weights are unreadable, or do not belong to the model they are given for."""


class ModelNotFoundError(AlphaClipError):
    """No model has this name."""


class MissingWeightsError(AlphaClipError):
    """The model is known, but weights that it needs are not on this machine."""


def brief(value: object) -> str:
    """A value as a message shows it: in some words, however large or deep it is."""
    return _BRIEF.repr(value)


_BRIEF = Repr()
_BRIEF.maxstring = _BRIEF.maxother = 120
