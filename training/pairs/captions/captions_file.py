"""Tables of pictures and captions as LAION, COYO, YFCC100M and the like come: CSV, TSV, parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.files import check_table, open_parquet
from alphaclip.training.pairs.format.records import PairError, Skipped
from alphaclip.training.pairs.sources.img2dataset import to_download

PLACE_COLUMNS = ("url", "downloadurl", "image_url", "path", "filepath", "file", "image")
CAPTION_COLUMNS = ("caption", "text", "description", "title", "sentence")
LICENCE_COLUMNS = ("license", "licence", "licensename")
"""Names that are looked for, the first that a table has; upper and lower case do not count."""

_BATCH = 4096
"""Rows of a parquet file in memory at a time: tables of captions have hundreds of millions."""

_LONGEST_FIELD = 1 << 24
"""Characters; the csv module's own limit, 131,072, is below what alternative texts have."""


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """A picture that is named in a table, and what it is said to show.

    Attributes:
        row: number in the table, from 0
        place: path of the picture, or its address; the name is part of plans on disk
        caption: of the whole picture
        licence: of the picture, if the table says
    """

    row: int
    place: str
    caption: str
    licence: str | None = None


@dataclass(frozen=True)
class Columns:
    """What a table calls things; None takes the first of the usual names that it has."""

    place: str | None = None
    caption: str | None = None


def read_captions(
    path: Path,
    columns: Columns | None = None,
    most: int | None = None,
    captions: Sequence[str] = CAPTION_COLUMNS,
) -> tuple[list[CaptionRow], list[Skipped]]:
    """Reads a table of captions.

    Args:
        path: ``.csv``, ``.tsv`` (UTF-8, a header line) or ``.parquet``
        columns (None): their names, where they are not the usual ones
        most (None): rows that are read; None is all
        captions (CAPTION_COLUMNS): the usual names of the column of captions

    Returns:
        the rows, in order, and what was left out: rows without a picture or a caption

    Raises:
        PairError: if it cannot be read, has no such columns, or names pictures by their addresses;
            says what to do
    """
    rows: list[CaptionRow] = []
    left_out: list[Skipped] = []
    names = None
    for number, entry in enumerate(read_table(path)):
        if most is not None and number >= most:
            break
        names = names or _find_columns(list(entry), columns or Columns(), captions, path)
        picture, caption = _text(entry[names[0]]), _text(entry[names[1]])
        if "://" in picture:
            raise PairError(to_download(path, *names))
        licence = _text(entry[names[2]]) if names[2] else ""
        if picture and caption:
            rows.append(CaptionRow(number, picture, caption, licence or None))
        else:
            reason = "row without a caption" if picture else "row without a picture"
            left_out.append(Skipped(reason, f"{path.name}, row {number}"))
    return rows, left_out


def read_table(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a CSV, TSV or parquet file, as mappings of the same columns.

    Raises:
        PairError: if it is missing, of another kind, or damaged; says where
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise PairError(f"{path} is not there: expected a .csv, .tsv or .parquet file")
    if suffix == ".parquet":
        return _parquet_rows(path)
    if suffix in (".csv", ".tsv"):
        return _csv_rows(path, "\t" if suffix == ".tsv" else ",")
    raise PairError(f"{path} ends in {suffix!r}: expected .csv, .tsv or .parquet")


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    from pyarrow import ArrowException

    try:
        with open_parquet(path) as file:
            for batch in file.iter_batches(_BATCH):
                check_table(path, batch)
                yield from batch.to_pylist()
    except (ArrowException, OSError, MemoryError, AlphaClipError) as error:
        raise PairError(f"{path} cannot be read as parquet ({str(error)[:200]})") from error


def _csv_rows(path: Path, delimiter: str) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file, delimiter=delimiter, restval=""):
                yield {name: value for name, value in row.items() if name is not None}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PairError(f"{path} cannot be read as a table in UTF-8 ({error})") from error


def _find_columns(
    names: Sequence[str], columns: Columns, captions: Sequence[str], path: Path
) -> tuple[str, str, str | None]:
    """The names that a table has for pictures, captions and licences."""
    picture = find_name(names, PLACE_COLUMNS, columns.place)
    caption = find_name(names, captions, columns.caption)
    if picture is None or caption is None:
        stated, usual = (
            (columns.place, PLACE_COLUMNS) if picture is None else (columns.caption, captions)
        )
        expected = repr(stated) if stated else f"called {', '.join(usual)}"
        raise PairError(
            f"{path} has no column {expected}: its columns are {', '.join(names)}; say which to "
            "take"
        )
    return picture, caption, find_name(names, LICENCE_COLUMNS)


def find_name(names: Iterable[str], usual: Sequence[str], stated: str | None = None) -> str | None:
    """The stated name, if there is one, else the first of the usual ones, in whatever case."""
    if stated is not None:
        return stated if stated in names else None
    lower = {name.lower(): name for name in reversed(list(names))}
    return next((lower[name] for name in usual if name in lower), None)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
