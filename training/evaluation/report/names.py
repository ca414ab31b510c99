"""Names in reports: of encoders, sets, classes and files, which may hold anything."""

from __future__ import annotations

import re
import unicodedata
from html import escape

_MARKUP = re.compile(r"[\\`*_\[\]#!|~$]|^[-+=](?=\s|[-+=])|^\d+(?=[.)])")
"""What Markdown, and the formulas in it, could take for its own; HTML is escaped apart."""

_NOT_IN_CODE = frozenset("`|\\<>&!$")
"""What ends code, or what a careless renderer looks for inside it."""

_JOINERS = "\u200c\u200d"
"""Invisible, but letters of Persian and Hindi and parts of emoji."""

SHOWN = 300
"""Characters of a name in a page; the JSON file has all of them."""


def one_line(text: str, most: int = SHOWN) -> str:
    """A text as one line that can be printed and drawn; what cannot be is shown as U+FFFD."""
    words = " ".join(text.split())
    line = "".join(
        char if char in _JOINERS or unicodedata.category(char)[0] != "C" else "\ufffd"
        for char in words[: most + 1]
    )
    return line if len(line) <= most else f"{line[: most - 3]}..."


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
