"""Tables of pictures and captions as LAION, COYO, YFCC100M and the like come: CSV, TSV, parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaclip.training.pairs.format.errors import PairError
from alphaclip.training.pairs.format.records import Skipped

PLACE_COLUMNS = ("url", "downloadurl", "image_url", "path", "filepath", "file", "image")
CAPTION_COLUMNS = ("caption", "text", "description", "title", "sentence")
LICENCE_COLUMNS = ("license", "licence", "licensename")
"""Names that are looked for, the first that a table has; upper and lower case do not count."""

_BATCH = 4096
_LONGEST_FIELD = 1 << 24


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """A picture that is named in a table, and what it is said to show.

    Attributes:
        row: place in the table, from 0
        place: address or path of the picture
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
        PairError: if it cannot be read, or has no such columns; names those it has
    """
    rows: list[CaptionRow] = []
    left_out: list[Skipped] = []
    for number, entry in enumerate(read_table(path)):
        if most is not None and number >= most:
            break
        if number == 0:
            place, caption, licence = _find_columns(entry, columns or Columns(), captions, path)
        row = CaptionRow(
            number,
            _text(entry[place]),
            _text(entry[caption]),
            (_text(entry[licence]) or None) if licence else None,
        )
        if row.place and row.caption:
            rows.append(row)
        else:
            reason = "row without a caption" if row.place else "row without a picture"
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
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                yield from batch.to_pylist()
    except (ArrowException, OSError) as error:
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
    names: Iterable[str], wanted: Columns, captions: Sequence[str], path: Path
) -> tuple[str, str, str | None]:
    known = list(names)
    place = _find(known, wanted.place, PLACE_COLUMNS)
    caption = _find(known, wanted.caption, captions)
    if place is None or caption is None:
        asked, usual = (
            (wanted.place, PLACE_COLUMNS) if place is None else (wanted.caption, captions)
        )
        expected = repr(asked) if asked else f"called {', '.join(usual)}"
        raise PairError(
            f"{path} has no column {expected}: its columns are {', '.join(known)}; say which to "
            "take"
        )
    return place, caption, _find(known, None, LICENCE_COLUMNS)


def _find(names: Sequence[str], wanted: str | None, usual: Sequence[str]) -> str | None:
    if wanted is not None:
        return wanted if wanted in names else None
    known = {name.lower(): name for name in reversed(names)}
    return next((known[name] for name in usual if name in known), None)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
