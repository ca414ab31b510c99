"""Names in reports: of encoders, sets, classes and files, which may hold anything."""

from __future__ import annotations

import re
from html import escape

from alphaclip.pages.page import one_line

_MARKUP = re.compile(r"[\\`*_\[\]#!|~$]|^[-+=](?=\s|[-+=])|^\d+(?=[.)])")
"""What Markdown, and the formulas in it, could take for its own; HTML is escaped apart."""

_NOT_IN_CODE = frozenset("`|\\<>&!$")
"""What ends code, or what a careless renderer looks for inside it."""


def markdown(text: str) -> str:
    """A text as one line of Markdown, also in a table, that reads as the text."""
    line = _MARKUP.sub(lambda match: _escaped(match[0]), one_line(text))
    return escape(line, quote=False)


def code(text: str) -> str:
    """The same as code, where nothing in it would end that."""
    line = one_line(text)
    return markdown(text) if not line or set(line) & _NOT_IN_CODE else f"`{line}`"


def _escaped(mark: str) -> str:
    return f"{mark}\\" if mark.isdigit() else f"\\{mark}"
