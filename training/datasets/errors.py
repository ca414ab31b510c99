"""Errors of the evaluation harness."""

from __future__ import annotations

from alphaclip.errors import AlphaClipError


class MissingDataError(AlphaClipError):
    """A file of a published dataset is not where it is expected.

    The message says where to get it and what layout is expected.
    """
