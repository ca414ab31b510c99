"""The classes that regions are labelled with: words, examples, and who is a kind of whom.

Public: :class:`LabelClass`, :class:`ClassSet` and :data:`NONE`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from alphaclip.errors import AlphaClipError

NONE = None
"""The answer "none of these"; in arrays of places it is the place after the last class."""

MOST = 100_000

_LISTS = ("prompts", "negatives", "examples", "synonyms")


@dataclass(frozen=True)
class LabelClass:
    """A name and what is known of it.

    Attributes:
        name: what is written as the label
        prompts: texts that describe it; without any, the name is the prompt, unless there are
            examples
        negatives: texts of what is mistaken for it; they lower the score of regions that look
            more like them than like the class
        examples: label ids of regions that are of the class
        parent: name of the class that this is a kind of
        synonyms: other names, in reviews and in human labels; no prompts
    """

    name: str
    prompts: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    parent: str | None = None
    synonyms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise AlphaClipError(f"a class has the name {self.name!r:.60}: expected some text")
        for key in _LISTS:
            object.__setattr__(self, key, _texts(self.name, key, getattr(self, key)))

    @property
    def texts(self) -> tuple[str, ...]:
        """What is encoded for the class; empty if only examples show it."""
        return self.prompts or (() if self.examples else (self.name,))

    @classmethod
    def from_dict(cls, values: str | Mapping[str, Any]) -> LabelClass:
        """A class from its JSON values; a text alone is a name.

        Raises:
            AlphaClipError: if a key is unknown or a value cannot be used; or if ``prompts`` is
                there and empty, without examples
        """
        if isinstance(values, str):
            return cls(values)
        known = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or "name" not in values or not set(values) <= set(known):
            got = sorted(map(str, values)) if isinstance(values, Mapping) else repr(values)
            raise AlphaClipError(
                f"a class is {got!s:.120}: expected a name, or an object of {', '.join(known)}"
            )
        if values.get("prompts", True) in ([], ()) and not values.get("examples"):
            raise AlphaClipError(
                f"class {values['name']!r} has an empty list of prompts and no examples: give one, "
                "or leave 'prompts' out to use the name"
            )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values, as :meth:`from_dict` takes them; without what is empty."""
        values = {key: list(getattr(self, key)) for key in _LISTS}
        told = {"name": self.name, **values, "parent": self.parent}
        return {key: value for key, value in told.items() if value}


class ClassSet(Sequence[LabelClass]):
    """Classes in their order, checked together.

    Args:
        classes: names, :class:`LabelClass` objects, or their JSON values

    Raises:
        AlphaClipError: if there is none, two share a name or synonym (upper and lower case are
            the same), or a parent is unknown or its own descendant
    """

    def __init__(self, classes: Iterable[str | LabelClass | Mapping[str, Any]]) -> None:
        if isinstance(classes, (str, Mapping)):
            raise AlphaClipError(f"classes is {classes!r:.80}: expected a list of classes")
        given = [c if isinstance(c, LabelClass) else LabelClass.from_dict(c) for c in classes]
        if not 0 < len(given) <= MOST:
            raise AlphaClipError(f"{len(given)} classes were given: expected 1 to {MOST:,}")
        self._classes = tuple(given)
        self._places = _places(given)
        self.parents = _parents(given, self._places)

    def __len__(self) -> int:
        return len(self._classes)

    def __getitem__(self, place: Any) -> Any:
        return self._classes[place]

    def __iter__(self) -> Iterator[LabelClass]:
        return iter(self._classes)

    @property
    def names(self) -> list[str]:
        """The names, in order."""
        return [one.name for one in self._classes]

    @cached_property
    def lineages(self) -> list[tuple[int, ...]]:
        """For each class, its own place, then its parent's, and so on to the root's."""
        return [tuple(_upwards(place, self.parents)) for place in range(len(self))]

    @property
    def is_flat(self) -> bool:
        """Whether no class is a kind of another."""
        return bool((self.parents < 0).all())

    def place(self, name: str | None) -> int:
        """The place of a name or synonym; of None, "none of these", it is ``len(self)``.

        Raises:
            AlphaClipError: if there is no such class
        """
        if name is NONE:
            return len(self)
        found = self._places.get(_key(name))
        if found is None:
            near = ", ".join(self.names[:10]) + (", ..." if len(self) > 10 else "")
            raise AlphaClipError(
                f"{name!r:.80} is none of the {len(self)} classes ({near}): "
                "add it to them, or as a synonym; for 'none of these' give None"
            )
        return found

    def name(self, place: int) -> str | None:
        """The name at a place; None at the place of "none of these"."""
        return None if place == len(self) else self._classes[place].name

    def is_right(self, answer: str | None, truth: str | None) -> bool:
        """Whether an answer names the truth, or a class that the truth is a kind of."""
        answered, true = self.place(answer), self.place(truth)
        if len(self) in (answered, true):
            return answered == true
        return answered in self.lineages[true]


def _texts(name: str, key: str, values: Any) -> tuple[str, ...]:
    several = isinstance(values, Sequence) and not isinstance(values, (str, bytes))
    if not several or not all(isinstance(value, str) and value.strip() for value in values):
        raise AlphaClipError(
            f"class {name!r}: {key} is {values!r:.80}, expected a list of texts, none empty"
        )
    return tuple(values)


def _key(name: str) -> str:
    return " ".join(str(name).casefold().split())


def _places(classes: Sequence[LabelClass]) -> dict[str, int]:
    """Name and synonyms to place, whatever their case and spaces."""
    places: dict[str, int] = {}
    for place, one in enumerate(classes):
        for name in dict.fromkeys(map(_key, (one.name, *one.synonyms))):
            if name in places:
                raise AlphaClipError(
                    f"{name!r} is a name or synonym of two classes, {classes[places[name]].name!r} "
                    f"and {one.name!r}: rename one, or join them"
                )
            places[name] = place
    return places


def _parents(classes: Sequence[LabelClass], places: Mapping[str, int]) -> np.ndarray:
    """The place of each class's parent, -1 where it has none: int64 (n,)."""
    parents = np.full(len(classes), -1)
    for place, one in enumerate(classes):
        if one.parent is not None:
            if _key(one.parent) not in places:
                raise AlphaClipError(
                    f"class {one.name!r} has the parent {one.parent!r}, which is no class: add it"
                )
            parents[place] = places[_key(one.parent)]
    for place, one in enumerate(classes):
        if parents[place] >= 0 and place in _upwards(int(parents[place]), parents):
            raise AlphaClipError(f"class {one.name!r} is its own ancestor: take one parent away")
    return parents


def _upwards(place: int, parents: np.ndarray) -> Iterator[int]:
    """A place and its ancestors; ends if they go in circles."""
    seen: set[int] = set()
    while place >= 0 and place not in seen:
        seen.add(place)
        yield place
        place = int(parents[place])
