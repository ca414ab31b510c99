"""Errors of region-text pairs."""

from __future__ import annotations

from alphaclip.errors import AlphaClipError


class PairError(AlphaClipError):
    """A set of pairs, a shard or a member of one cannot be used or written."""
