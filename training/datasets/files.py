"""What all readers share: JSON, entries of which some may be bad, and pictures in the folder."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from alphaclip import files
from alphaclip.errors import AlphaClipError, ImageError
from alphaclip.regions import images
from alphaclip.regions.images import MAX_PIXELS
from alphaclip.training.datasets.examples import Box, Example
from alphaclip.training.datasets.sources import Source

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
Entry = Mapping[str, Any]
Id = int | str

MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading an entry of another form than expected raises; AlphaClipError is a ValueError."""

_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)


def read_json(path: Path, source: Source) -> Any:
    """The content of a JSON file, however large; what is none says where to get it again."""
    source.require(path)
    try:
        return files.read_json(path, largest=None)
    except (OSError, AlphaClipError) as error:
        raise AlphaClipError(f"{error}: get the file again from {source.get}") from error


def as_list(content: Any, path: Path) -> list[Any]:
    """Content that has to be a list."""
    if not isinstance(content, list):
        kind = type(content).__name__
        raise AlphaClipError(f"{path} holds a {kind}: expected a list, as the data set has it")
    return content


def section(content: Any, name: str, path: Path) -> list[Any]:
    """A named list of a JSON file."""
    listed = content.get(name) if isinstance(content, Mapping) else None
    if not isinstance(listed, list):
        raise AlphaClipError(f"{path} has no list {name!r}: it is another file than expected")
    return listed


def each(
    entries: Iterable[Any], read: Callable[[Any], T], name: str, skipped: list[str]
) -> Iterator[T]:
    """Yields what ``read`` makes of entries, in order; a bad one is left out and gets a line in
    ``skipped``, with the name of the list and its number.
    """
    for number, entry in enumerate(entries):
        try:
            made = read(entry)
        except MALFORMED as error:
            skipped.append(f"{name}[{number}]: {why(error)}")
        else:
            yield made


def grouped(
    entries: Iterable[Any], read: Callable[[Any], tuple[K, T]], name: str, skipped: list[str]
) -> dict[K, list[T]]:
    """What :func:`each` makes of entries, by a key that ``read`` gives with it."""
    groups: dict[K, list[T]] = defaultdict(list)
    for key, made in each(entries, read, name, skipped):
        groups[key].append(made)
    return dict(groups)


def why(error: Exception) -> str:
    """What is wrong with an entry, as a person reads it; never its content."""
    if isinstance(error, KeyError):
        return f"has no {str(error)[:80]}"
    if isinstance(error, AlphaClipError):
        return str(error)
    return f"has another form than expected ({type(error).__name__}: {str(error)[:120]})"


def identifier(value: Any) -> Id:
    """An id as a file states it, a number or a text; of 7, 7.0 and "7" the same."""
    if isinstance(value, str) and value.strip():
        text = value.strip()
        return int(text) if _WHOLE.fullmatch(text) else text
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        raise AlphaClipError(f"has the id {value!r:.60}: expected a whole number or a text")
    return int(value)


def is_crowd(entry: Entry) -> bool:
    """Whether an annotation stands for a group, ``iscrowd``, in any spelling."""
    return str(entry.get("iscrowd")).strip().lower() in ("1", "1.0", "true")


def area_of(entry: Entry, pixels: float) -> float:
    """The annotated area; where none is stated, or NaN and the like, the region's own pixels."""
    try:
        area = float(entry["area"])
    except (KeyError, TypeError, ValueError):
        return pixels
    return area if math.isfinite(area) and area >= 0 else pixels


def size_of(entry: Entry) -> tuple[int, int]:
    """Width and height of a picture's entry, in pixels."""
    width, height = int(entry["width"]), int(entry["height"])
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise AlphaClipError(f"has a size of {width} x {height} pixels")
    return width, height


def pixel_box(values: Sequence[Any]) -> Box:
    """A box ``[x, y, w, h]`` in pixels that has an area."""
    x, y, w, h = (float(value) for value in values)
    if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
        raise AlphaClipError(f"has the box [{x:g}, {y:g}, {w:g}, {h:g}], which has no area")
    return x, y, w, h


def text_of(entry: Entry, key: str, what: str) -> str:
    """A text of an entry that is not empty; ``what`` it is called in the error."""
    text = str(entry[key]).strip()
    if not text:
        raise AlphaClipError(f"has an empty {what}")
    return text


def inside(root: Path, name: Any) -> Path:
    """A file that is named in a file, relative and with forward slashes, in its folder.

    Raises:
        AlphaClipError: if the name leads out of the folder
    """
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or any(p in ("/", "//", "..") or set(p) & set("\\:\0") for p in parts):
        raise AlphaClipError(f"names the picture {str(name)[:80]!r}, which is no place in {root}")
    return root.joinpath(*parts)


def shown_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is shown; its pixels are not read.

    Raises:
        FileNotFoundError: if it is not there
        AlphaClipError: if it is no picture
    """
    try:
        return images.decode_image(path, images.shown_size)
    except ImageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from error
        raise


class Pictures:
    """Finds pictures, and counts those that are not there; ``skipped`` gets a line for them."""

    def __init__(self, skipped: list[str]) -> None:
        self._skipped = skipped
        self._missing: dict[Path, None] = {}

    def size(self, path: Path) -> tuple[int, int] | None:
        """Width and height as the picture is shown; None, and counted, if it is not there."""
        try:
            return shown_size(path)
        except FileNotFoundError:
            self._missing[path] = None
            return None

    def example(self, key: object, path: Path, size: tuple[int, int]) -> Example | None:
        """A picture without regions yet; None, and counted, if it is not there.

        Args:
            key: its id
            path: of the file
            size: width and height that its file of annotations says

        Raises:
            AlphaClipError: if it has another size, for which the annotations do not fit
        """
        actual = self.size(path)
        if actual not in (None, size):
            raise AlphaClipError(
                f"{path} has {actual} pixels, its annotations are for {size}: it is "
                "another picture, or was scaled or turned"
            )
        return None if actual is None else Example(str(key), path, *size, ())

    def report(self) -> None:
        """Adds a line for the pictures that are not there."""
        if self._missing:
            first = next(iter(self._missing))
            self._skipped.append(
                f"{len(self._missing)} picture(s) are not there, the first is {first}"
            )
