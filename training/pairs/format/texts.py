"""From a class name to the texts of a region."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alphaclip.encoder.prompts import expand

PLAIN = ("{}", "a {}")
"""The name alone, and after its article. Training draws one of a region's texts each time."""

_ARTICLE = re.compile(r"\b([Aa]) \{\}")


def label_texts(label: str, templates: Sequence[str] = PLAIN) -> tuple[str, ...]:
    """Puts a class name into templates.

    Underscores become spaces. "a" before the name becomes "an" where the name begins with a
    vowel, and goes where the name has other than ASCII letters.

    Args:
        label: the class name; an empty one has no texts
        templates: each with one ``{}``

    Returns:
        different texts, in the order of the templates

    Raises:
        AlphaClipError: if a template has no ``{}``
    """
    name = label.replace("_", " ").strip()
    if not name:
        return ()
    (texts,) = expand([name], [_with_article(template, name) for template in templates])
    return tuple(dict.fromkeys(texts))


def _with_article(template: str, name: str) -> str:
    if not name.isascii():
        return _ARTICLE.sub("{}", template)
    return _ARTICLE.sub(r"\1n {}", template) if name[0].lower() in "aeiou" else template
