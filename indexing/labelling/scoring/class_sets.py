"""Classes that are kept with a dataset under a name, and classes as lines of text.

Public: :func:`save_classes`, :func:`saved_classes`, :func:`class_set_names`,
:func:`classes_from_text` and :func:`classes_to_text`.

A line is a class: its name, and then, if there is more to say, ``name: prompt, prompt; not:
negative, negative; kind of: parent; also: synonym, synonym``, where each part may be left out. A
text with a comma, semicolon or colon in it stands between double quotes, a double quote inside is
written twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from alphaclip.arguments import checked
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.records import Records, check_record_name
from alphaclip.indexing.labelling.scoring.classes import Classes, ClassSet, LabelClass

if TYPE_CHECKING:
    import fiftyone as fo

STORE = "class_sets"

MOST_KEPT = 12_000_000
"""Characters of a set in JSON; a record has 16 MB at most."""


@checked()
def save_classes(dataset: fo.Dataset, name: str, classes: Classes) -> None:
    """Keeps classes with a dataset, in place of those of the same name.

    Args:
        dataset: to keep them with
        name: a lowercase letter, then lowercase letters, digits and underscores
        classes: see :data:`Classes`

    Raises:
        AlphaClipError: if the name is none, the classes contradict each other, or are too large
    """
    check_record_name("a class set", name)
    values = [one.to_dict() for one in ClassSet(classes)]
    size = len(json.dumps(values))
    if size > MOST_KEPT:
        raise AlphaClipError(
            f"class set {name!r} has {size:,} characters: a dataset keeps {MOST_KEPT:,} at most; "
            "keep it in a file"
        )
    Records(dataset, STORE).set(name, values)


@checked()
def saved_classes(dataset: fo.Dataset, name: str) -> list[LabelClass]:
    """The classes that are kept under a name.

    Raises:
        AlphaClipError: if there are none; says which names there are
    """
    check_record_name("a class set", name)
    values = Records(dataset, STORE).get(name)
    if values is None:
        names = ", ".join(class_set_names(dataset)) or "none"
        raise AlphaClipError(f"dataset {dataset.name!r} has no class set {name!r}; it has: {names}")
    return [LabelClass.from_dict(one) for one in values]


@checked()
def class_set_names(dataset: fo.Dataset) -> list[str]:
    """The names that classes are kept under, in order."""
    return Records(dataset, STORE).keys()


@checked()
def classes_from_text(text: str) -> list[LabelClass]:
    """Reads classes, one in a line; see the module. Empty lines are left out.

    They are not checked together, which :class:`ClassSet` does.

    Raises:
        AlphaClipError: if a line is not such; says which
    """
    return [
        _class_in(number, line.strip())
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]


def classes_to_text(classes: Classes) -> str:
    """Writes classes so that :func:`classes_from_text` reads the same; examples are left out.

    Raises:
        AlphaClipError: if the classes contradict each other, or a text has a line break
    """
    lines = []
    for one in ClassSet(classes):
        parents = () if one.parent is None else (one.parent,)
        told = {"not": one.negatives, "kind of": parents, "also": one.synonyms}
        parts = [f"{key}: {_joined(texts)}" for key, texts in told.items() if texts]
        prompts = f": {_joined(one.prompts)}" if one.prompts else ""
        lines.append("; ".join([_joined([one.name]) + prompts, *parts]))
    return "\n".join(lines)


_KEYS = {"not": "negatives", "kind of": "parent", "also": "synonyms"}

_EXPECTED = (
    "expected 'name', or 'name: prompt, prompt; not: negative; kind of: parent; also: synonym', "
    "with double quotes around a text that has a comma, semicolon or colon in it"
)

_TOKEN = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*(?=[,;:]|$)|([^,;:]*))([,;:]?)')
"""A text, in quotes or not, and the separator after it."""

_NEEDS_QUOTES = re.compile(r'[,;:]|^"|^\s|\s$')

Token = tuple[str, str]
"""A text, and the separator after it; empty at the end of a line."""


def _class_in(number: int, line: str) -> LabelClass:
    """Reads one line; ``number`` is told where it is none."""
    (name, after), *rest = _tokens(number, line)
    if not name.strip() or after == ",":
        raise _wrong(number, "it does not begin with a name")
    values: dict[str, tuple[str, ...]] = {}
    part: list[Token] = []
    is_first = after == ":"
    for text, separator in rest:
        part.append((text, separator.strip(";")))
        if separator not in (";", ""):
            continue
        if is_first or part != [("", "")]:
            key, texts = _texts_of(number, part, is_first)
            if key in values:
                raise _wrong(number, f"it has {key} in two places")
            values[key] = texts
        part, is_first = [], False
    parents = values.pop("parent", ())
    if len(parents) > 1:
        raise _wrong(number, f"it is a kind of {len(parents)} classes instead of one")
    return LabelClass(name, parent=parents[0] if parents else None, **values)


def _tokens(number: int, line: str) -> list[Token]:
    tokens: list[Token] = []
    at, after = 0, ":"
    while after:
        match = cast("re.Match[str]", _TOKEN.match(line, at))
        quoted, plain, after = match.groups()
        if quoted is None and plain.startswith('"'):
            raise _wrong(number, f"the quotes of {plain:.40} do not end, or end before the text")
        tokens.append((plain.strip() if quoted is None else quoted.replace('""', '"'), after))
        at = match.end()
    return tokens


def _texts_of(number: int, part: Sequence[Token], is_first: bool) -> tuple[str, tuple[str, ...]]:
    """What a part gives, a key of ``LabelClass``, and its texts; without a word it is prompts."""
    word, after = part[0]
    if after == ":" and word.casefold() in _KEYS:
        key, part = _KEYS[word.casefold()], part[1:]
    elif is_first:
        key = "prompts"
    else:
        raise _wrong(number, f"{word!r:.40} does not say what it gives")
    if any(after == ":" for _, after in part):
        raise _wrong(number, "there is a colon after a text")
    if not all(text.strip() for text, _ in part):
        raise _wrong(number, f"one of its {key} is empty")
    return key, tuple(text for text, _ in part)


def _wrong(number: int, why: str) -> AlphaClipError:
    return AlphaClipError(f"line {number}: {why}; {_EXPECTED}")


def _joined(texts: Sequence[str]) -> str:
    """Texts as they stand in a line: in quotes, where one could be taken for more."""
    quoted = []
    for text in texts:
        if "\n" in text:
            raise AlphaClipError(f"{text!r:.60} has a line break: a class is one line, take it out")
        needs_quotes = _NEEDS_QUOTES.search(text)
        quoted.append('"' + text.replace('"', '""') + '"' if needs_quotes else text)
    return ", ".join(quoted)
