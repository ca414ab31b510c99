"""Which pictures there are of which class: a folder for each class, or a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs.captions.captions_file import Columns, read_captions
from alphaclip.training.pairs.format.errors import PairError
from alphaclip.training.pairs.format.records import Skipped

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}

_CLASSES = ("class", "label", "category")


@dataclass(frozen=True, slots=True)
class ClassPicture:
    """A picture and what it is labelled as.

    Attributes:
        path: in the folder, with forward slashes
        name: of the class, in words
    """

    path: str
    name: str


def read_classes(
    path: Path, names: Mapping[str, str] | None = None, column: str | None = None
) -> tuple[Path, list[ClassPicture], list[Skipped]]:
    """The pictures of a folder that has a folder for each class, or of a table.

    Args:
        path: the folder; or a CSV, TSV or parquet file with a column of paths, which are relative
            to its own folder, and one called ``class``, ``label`` or ``category``
        names (None): the words for a class, where its folder or label is no word, such as
            ``n01484850``; else underscores become spaces
        column (None): of a table, the name of the column of classes

    Returns:
        the folder that paths are relative to, the pictures, and the rows left out

    Raises:
        PairError: if there is no picture
    """
    if path.is_dir():
        found = [
            ClassPicture(file.relative_to(path).as_posix(), _name(folder.name, names))
            for folder in sorted(path.iterdir())
            if folder.is_dir()
            for file in sorted(folder.rglob("*"))
            if file.suffix.lower() in PICTURES and file.is_file()
        ]
        root, left_out = path, list[Skipped]()
    else:
        rows, left_out = read_captions(path, Columns(caption=column), captions=_CLASSES)
        root = path.parent
        found = [ClassPicture(row.place, _name(row.caption, names)) for row in rows]
    if not found:
        raise PairError(f"{path} has no pictures: expected a folder for each class, or a table")
    return root, found, left_out


def read_names(path: Path) -> dict[str, str]:
    """The words for classes: a JSON object from a class's folder or label to them.

    Raises:
        AlphaClipError: if it is something else
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        if all(isinstance(value, str) and value.strip() for value in content.values()):
            return {str(name): value.strip() for name, value in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise AlphaClipError(f"{path} cannot be read as names of classes: {error}") from error
    raise AlphaClipError(f"{path} has a class without words: expected text for each")


def _name(label: str, names: Mapping[str, str] | None) -> str:
    return (names or {}).get(label) or label.replace("_", " ").strip()
