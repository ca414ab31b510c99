"""Reads this project's docstrings for the reference: their cross-references, and their defaults.

The docstrings refer to each other with Sphinx's roles, which Markdown does not know. Those that
name something on the reference's pages become links, the others code. After an argument's name they
say its default, where Griffe expects its type; and one line may speak of several arguments.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe

PAGES = Path(__file__).resolve().parent.parent / "docs" / "reference"
ROLE = re.compile(r":(?:func|class|meth|attr|mod|data|exc):`(~?)([\w.]+)`")
DEFAULT = re.compile(r"^(\s+\w+) \([^()\n]*(?:\([^()\n]*\))?\):", re.MULTILINE)
SEVERAL = re.compile(r"^(\s+)(\w+(?:, \w+)+): (.*)$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Changes each docstring once it is read."""

    def __init__(self) -> None:
        text = "\n".join(path.read_text() for path in sorted(PAGES.glob("*.md")))
        self._documented = set(re.findall(r"^::: ([\w.]+)", text, re.MULTILINE))

    def on_instance(self, *, obj: griffe.Object | griffe.Alias, **kwargs: Any) -> None:
        """Rewrites the docstring of an object."""
        if obj.docstring is not None:
            text = ROLE.sub(lambda found: self._link(found[1], found[2]), obj.docstring.value)
            obj.docstring.value = SEVERAL.sub(
                lambda found: self._one_by_one(obj, found), DEFAULT.sub(r"\1:", text)
            )

    def _one_by_one(self, obj: griffe.Object | griffe.Alias, line: re.Match[str]) -> str:
        names = line[2].split(", ")
        if not obj.is_function or not set(names) <= {one.name for one in obj.parameters}:
            return line[0]
        return "\n".join(f"{line[1]}{name}: {line[3]}" for name in names)

    def _link(self, short: str, name: str) -> str:
        said = name.rpartition(".")[2] if short else name
        return f"[`{said}`][{name}]" if name in self._documented else f"`{said}`"
