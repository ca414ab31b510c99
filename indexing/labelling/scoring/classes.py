"""The classes that regions are labelled with: words, examples, and who is a kind of whom.

Public: :class:`LabelClass`, :class:`ClassSet`, :data:`NONE`, :data:`SKIPPED`, :data:`DISPUTED`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Final

import numpy as np

from alphaclip.arguments import listed
from alphaclip.errors import AlphaClipError

NONE = None
"""The answer "none of these"; in arrays it is the number after the last class's."""

SKIPPED: Final = "(skipped)"
"""What stands for the answer where a person cannot tell; and where reviewers disagree:"""

DISPUTED: Final = "(disputed)"

Answer = str | None
"""A class's name, None for "none of these", or ``SKIPPED``."""

MOST = 100_000
"""Classes at most: so many leave room for the logits of 160 regions in a batch of the scorer."""

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
            texts = getattr(self, key)
            several = isinstance(texts, Sequence) and not isinstance(texts, (str, bytes))
            if not several or not all(isinstance(one, str) and one.strip() for one in texts):
                raise AlphaClipError(
                    f"class {self.name!r}: {key} is {texts!r:.80}, expected a list of texts, none "
                    "empty"
                )
            object.__setattr__(self, key, tuple(texts))

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
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or "name" not in values or not set(values) <= set(names):
            got = sorted(map(str, values)) if isinstance(values, Mapping) else repr(values)
            raise AlphaClipError(
                f"a class is {got!s:.120}: expected a name, or an object of {', '.join(names)}"
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


Classes = Iterable[str | LabelClass | Mapping[str, Any]]
"""Names, :class:`LabelClass` objects, or their JSON values."""


class ClassSet(Sequence[LabelClass]):
    """Classes in their order, checked together.

    Args:
        classes: see :data:`Classes`

    Raises:
        AlphaClipError: if there is none, two share a name or synonym (upper and lower case are
            the same), or a parent is unknown or its own descendant
    """

    def __init__(self, classes: Classes) -> None:
        several = listed(classes)
        if several is None:
            raise AlphaClipError(f"classes is {classes!r:.80}: expected a list of classes")
        some = [c if isinstance(c, LabelClass) else LabelClass.from_dict(c) for c in several]
        if not 0 < len(some) <= MOST:
            raise AlphaClipError(f"{len(some)} classes were given: expected 1 to {MOST:,}")
        self._classes = tuple(some)
        self._numbers: dict[str, int] = {}
        for number, one in enumerate(some):
            for name in dict.fromkeys(map(_key, (one.name, *one.synonyms))):
                if name in self._numbers:
                    raise AlphaClipError(
                        f"{name!r} is a name or synonym of two classes, "
                        f"{some[self._numbers[name]].name!r} and {one.name!r}: rename one, or join "
                        "them"
                    )
                self._numbers[name] = number
        self.parents = self._find_parents()

    def _find_parents(self) -> np.ndarray:
        """The number of each class's parent, -1 where it has none: int64 (n,)."""
        parents = np.full(len(self), -1)
        for number, one in enumerate(self):
            if one.parent is not None:
                if _key(one.parent) not in self._numbers:
                    raise AlphaClipError(
                        f"class {one.name!r} has the parent {one.parent!r}, which is no class: "
                        "add it"
                    )
                parents[number] = self._numbers[_key(one.parent)]
        for number, one in enumerate(self):
            if parents[number] >= 0 and number in _upwards(int(parents[number]), parents):
                raise AlphaClipError(
                    f"class {one.name!r} is its own ancestor: take one parent away"
                )
        return parents

    def __len__(self) -> int:
        return len(self._classes)

    def __getitem__(self, number: Any) -> Any:
        return self._classes[number]

    def __iter__(self) -> Iterator[LabelClass]:
        return iter(self._classes)

    @property
    def names(self) -> list[str]:
        """The names, in order."""
        return [one.name for one in self._classes]

    @cached_property
    def lineages(self) -> list[tuple[int, ...]]:
        """For each class, its own number, then its parent's, and so on to the root's."""
        return [tuple(_upwards(number, self.parents)) for number in range(len(self))]

    @cached_property
    def kinds(self) -> Any:
        """Sparse (n + 1, n + 1), 1 where a row's class is the column's, or a kind of it; "none of
        these" is the last."""
        from scipy.sparse import csr_array

        lineages = [*self.lineages, (len(self),)]
        pairs = np.array([(own, up) for own, line in enumerate(lineages) for up in line])
        shape = (len(lineages), len(lineages))
        return csr_array((np.ones(len(pairs), np.float32), pairs.T), shape=shape)

    @property
    def is_flat(self) -> bool:
        """Whether no class is a kind of another."""
        return bool((self.parents < 0).all())

    def find(self, name: str | None) -> int:
        """The number of a name or synonym; ``len(self)`` for None, and for what is no class."""
        return len(self) if name is NONE else self._numbers.get(_key(name), len(self))

    def number(self, name: str | None) -> int:
        """The number of a name or synonym; of None, "none of these", it is ``len(self)``.

        Raises:
            AlphaClipError: if there is no such class
        """
        number = self.find(name)
        if number == len(self) and name is not NONE:
            near = ", ".join(self.names[:10]) + (", ..." if len(self) > 10 else "")
            raise AlphaClipError(
                f"{name!r:.80} is none of the {len(self)} classes ({near}): "
                "add it to them, or as a synonym; for 'none of these' give None"
            )
        return number

    def name(self, number: int) -> str | None:
        """The name of a number; None for that of "none of these"."""
        return None if number == len(self) else self._classes[number].name

    def own_name(self, name: Answer) -> Answer:
        """What a person named, by the class's own name; None if it is none of these."""
        return name if name == SKIPPED else self.name(self.find(name))

    def is_right(self, answer: int, truth: int) -> bool:
        """Whether an answer is the truth, or a class that the truth is a kind of."""
        if len(self) in (answer, truth):
            return answer == truth
        return answer in self.lineages[truth]

    def learnt_from(self, training: Mapping[str, str | None] | None) -> dict[str, Answer]:
        """The regions to learn from: those that are given, and the examples of the classes.

        Args:
            training: label id to class, None for "none of these"

        Returns:
            label id to class, by its own name

        Raises:
            AlphaClipError: if a region is of two classes
        """
        taught = {key: self.own_name(name) for key, name in (training or {}).items()}
        for name, label_id in ((one.name, example) for one in self for example in one.examples):
            if taught.setdefault(label_id, name) != name:
                raise AlphaClipError(
                    f"region {label_id} is an example of {name!r} and of {taught[label_id]!r}: "
                    "take it out of one of them"
                )
        return taught


def _key(name: str) -> str:
    """Names are the same whatever their case and spaces."""
    return " ".join(str(name).casefold().split())


def _upwards(number: int, parents: np.ndarray) -> Iterator[int]:
    """A class and its ancestors; ends if they go in circles."""
    passed: set[int] = set()
    while number >= 0 and number not in passed:
        passed.add(number)
        yield number
        number = int(parents[number])
