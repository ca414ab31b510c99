"""What public functions are given: converted where it is clear what is meant, else refused.

A function's annotations say what it takes; `checked` reads them, so that it is stated once.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_args

from alphaclip.errors import AlphaClipError

P = ParamSpec("P")
R = TypeVar("R")

Limits = tuple[float, float] | Any
"""The least and the greatest number, or the ``Literal`` that lists the choices."""

COUNT: Limits = (1, math.inf)
COSINE: Limits = (-1, 1)
SHARE: Limits = (0, 1)

ROUNDING = 1e-3
"""By so much a cosine of float16 vectors may leave its range, and still be asked for."""

_MEANT = {
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "str": "a text",
    "Sequence[str]": "a list of texts",
    "str | Sequence[str]": "a text or a list of texts",
    "Sequence[float]": "a list of numbers",
    "Sequence[int]": "a list of whole numbers",
    "Sequence[Query]": "a list of queries",
    "Sequence[SearchIndex]": "indexes, as indexing.load(dataset, key) opens one",
    "SearchIndex | Sequence[SearchIndex]": "indexes, as indexing.load(dataset, key) opens one",
    "Mapping[str, str | None]": "a dict of label ids and the name of a class, or None, for each",
    "Mapping[str, Any]": "a dict",
    "tuple[int, int]": "a pair of whole numbers",
    "Path": "the path of a folder",
    "OnError": "a function",
    "Iterable[tuple[Picture, Sequence[Region]]]": "pictures, each with the list of its regions",
    "Search": "an indexing.Search",
    "MaskLimits": "MaskLimits of alphaclip.sam.masks",
    "fo.Dataset": "a FiftyOne dataset, as fo.load_dataset(name) opens one",
    "fo.SampleCollection": "a FiftyOne dataset or view, as dataset.load_saved_view(name) opens one",
    "Hits": "hits, as index.search(query) finds them",
    "OfPictures": "hits, as index.search(query) or find_pictures finds them",
    "SearchIndex": "an index, as indexing.load(dataset, key) opens one",
    "Region": "a Region, as Region.from_box(box) makes one",
    "View": "a View, as View('context') makes one",
    "Encoder": "an encoder, as alphaclip.load(name) gives one",
}
"""The annotations that are checked, and in words what they take; those of a class by its name, as
the houses above are not imported here."""


def checked(**limits: Limits) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Has the arguments of a public function checked by its annotations, before it runs.

    Numbers of NumPy and torch become Python's. True is no number, a text is neither a number nor a
    list. Annotations that are none of ``_MEANT``, or one of them ``| None``, are left alone.

    Args:
        limits: what else is asked of an argument, by its name; see :data:`Limits`
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        kinds = {name: each.annotation for name, each in signature.parameters.items()}

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            for name, value in bound.arguments.items():
                bound.arguments[name] = check(name, value, kinds[name], limits.get(name))
            return function(*bound.args, **bound.kwargs)

        return run

    return wrap


def check_fields(instance: Any, **limits: Limits) -> None:
    """The same for the fields of a dataclass, from its ``__post_init__``."""
    for field in fields(instance):
        value = getattr(instance, field.name)
        made = check(field.name, value, str(field.type), limits.get(field.name))
        object.__setattr__(instance, field.name, made)


def check(name: str, value: Any, kind: Any, limits: Limits | None = None) -> Any:
    """One value, as what takes it is annotated.

    Args:
        name: of the argument, for the message
        value: that was given
        kind: the annotation
        limits (None): see :data:`Limits`

    Raises:
        AlphaClipError: if it is something else
    """
    base, none = str(kind).removesuffix(" | None"), str(kind).endswith(" | None")
    choices = get_args(limits)
    if (none and value is None) or (base not in _MEANT and not choices):
        return value
    if choices:
        made, expected = _choice(value, choices), f"one of {', '.join(choices)}"
    else:
        made = _READERS.get(base, lambda value: _instance(value, base))(value)
        made = made if made is None or _is_within(made, limits) else None
        expected = ("a cosine" if limits == COSINE else _MEANT[base]) + _in_words(limits)
    if made is None:
        said = " ".join(repr(value).split())
        raise AlphaClipError(
            f"{name} is {said:.80}: expected {expected}{', or None' if none else ''}"
        )
    return made


def listed(value: Any) -> list[Any] | None:
    """What holds several things as a list; None if it is a single one, as a text is."""
    if isinstance(value, (str, bytes, Mapping)):
        return None
    try:
        return list(value)
    except (TypeError, ValueError):  # of FiftyOne's samples, which have an iterator that fails
        return None


def _number(value: Any) -> float | None:
    """A real number that is one: a Python number, or a scalar of NumPy or torch."""
    plain = value.item() if getattr(value, "ndim", None) == 0 else value
    is_number = isinstance(plain, numbers.Real) and not isinstance(plain, bool)
    return plain if is_number and math.isfinite(plain) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None or number != int(number) else int(number)


def _real(value: Any) -> float | None:
    number = _number(value)
    return None if number is None else float(number)


def _flag(value: Any) -> bool | None:
    plain = value.item() if getattr(value, "ndim", None) == 0 else value
    return bool(plain) if isinstance(plain, (bool, int)) and plain in (0, 1) else None


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str) else None


def _id_text(value: Any) -> str | None:
    """Ids of the database are texts too."""
    return str(value) if type(value).__name__ == "ObjectId" else _text(value)


def _list_of(read: Callable[[Any], Any]) -> Callable[[Any], list[Any] | None]:
    def read_all(value: Any) -> list[Any] | None:
        several = listed(value)
        some = None if several is None else [read(one) for one in several]
        return None if some is None or any(one is None for one in some) else some

    return read_all


def _pair(value: Any) -> tuple[int, int] | None:
    two = _list_of(_whole)(value)
    return (two[0], two[1]) if two is not None and len(two) == 2 else None


def _choice(value: Any, choices: Sequence[str]) -> str | None:
    return str(value) if isinstance(value, str) and value in choices else None


def _indexes(value: Any) -> list[Any] | None:
    """A single one is meant as a list of one."""
    one = _instance(value, "SearchIndex")
    return [one] if one is not None else _list_of(lambda one: _instance(one, "SearchIndex"))(value)


def _instance(value: Any, *kinds: str) -> Any:
    names = {base.__name__ for base in type(value).__mro__}
    return value if names & {kind.rpartition(".")[2] for kind in kinds} else None


_READERS: dict[str, Callable[[Any], Any]] = {
    "int": _whole,
    "float": _real,
    "bool": _flag,
    "str": _text,
    "Sequence[str]": _list_of(_id_text),
    "str | Sequence[str]": lambda value: _text(value) or _list_of(_id_text)(value),
    "Sequence[float]": _list_of(_real),
    "Sequence[int]": _list_of(_whole),
    "OfPictures": lambda value: _instance(value, "Hits", "PictureHits"),
    "Sequence[Query]": listed,
    "Sequence[SearchIndex]": _indexes,
    "SearchIndex | Sequence[SearchIndex]": _indexes,
    "Mapping[str, str | None]": lambda value: value if isinstance(value, Mapping) else None,
    "Mapping[str, Any]": lambda value: value if isinstance(value, Mapping) else None,
    "tuple[int, int]": _pair,
    "Path": lambda value: Path(value) if isinstance(value, (str, Path)) else None,
    "OnError": lambda value: value if callable(value) else None,
    "Iterable[tuple[Picture, Sequence[Region]]]": lambda value: (
        value if isinstance(value, Iterable) else None
    ),
}


def _is_within(value: Any, limits: Limits | None) -> bool:
    if limits is None:
        return True
    beyond = ROUNDING if limits == COSINE else 0
    return bool(limits[0] - beyond <= value <= limits[1] + beyond)


def _in_words(limits: Limits | None) -> str:
    low, high = limits or (-math.inf, math.inf)
    if low == -math.inf:
        return "" if high == math.inf else f" of at most {high:g}"
    return f" of at least {low:g}" if high == math.inf else f" in [{low:g}, {high:g}]"
