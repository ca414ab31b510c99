"""GRIT's format: parquet files, or img2dataset's shards whose JSON has the same names.

A row has ``caption``, ``noun_chunks`` and ``ref_exps`` (see
:func:`alphaclip.training.pairs.sources.grit.read_phrases`), ``url``, ``key``, ``id``, ``width``,
``height`` and ``clip_similarity_vitb32`` and the like, as at
https://huggingface.co/datasets/zzliang/GRIT. ``place`` says which file or member of a shard the
picture is; the rows of shards get theirs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

from alphaclip.errors import AlphaClipError
from alphaclip.files import check_table, open_parquet
from alphaclip.training.pairs.format.records import PairError, Skipped
from alphaclip.training.pairs.sources.img2dataset import (
    ShardPicture,
    find_shards,
    scan_shard,
    to_download,
)

NEEDED = ("caption", "noun_chunks", "ref_exps")


@dataclass(frozen=True)
class GritEntry:
    """A row, as it was read.

    Attributes:
        key: of the picture in the set that is made: number of the file and of the row
        content: by GRIT's names
        problem: why there is no content
    """

    key: str
    content: Mapping[str, Any]
    problem: str = ""

    @property
    def url(self) -> str:
        """Where the picture is from; empty if the row does not say."""
        url = self.content.get("url")
        return url if isinstance(url, str) else ""

    @property
    def licence(self) -> str | None:
        """Of the picture, if the row says."""
        licence = self.content.get("license")
        return licence if isinstance(licence, str) and licence else None

    @property
    def location(self) -> str:
        """Where the picture is, see `PictureFolder.open`; an address where nobody got it."""
        location = self.content.get("place")
        return location if isinstance(location, str) and location else self.url


def open_grit(path: Path) -> tuple[GritSequence, list[Skipped]]:
    """Opens GRIT; rows are read when they are asked for.

    Args:
        path: a ``.parquet`` file, a ``.tar``, or a folder of either; of both, the parquet files
            are read

    Returns:
        the rows, and what of shards is left out

    Raises:
        PairError: if there is no such file, a parquet file has other columns, or pictures are
            named by their addresses; says what to do
    """
    if path.suffix == ".parquet" or (path.is_dir() and any(path.glob("*.parquet"))):
        files = [path] if path.suffix == ".parquet" else sorted(path.glob("*.parquet"))
        rows = GritSequence([_ParquetPart(file) for file in files])
        if len(rows) and "://" in rows[0].location:
            others = ["id", "noun_chunks", "ref_exps"]
            others += ["license"] if "license" in rows[0].content else []
            raise PairError(to_download(path, "url", "caption", *others))
        return rows, []
    parts, left_out = [], []
    for shard in find_shards(path):
        pictures, lost = scan_shard(shard)
        left_out += lost
        parts.append(_ShardPart([picture for picture in pictures if picture.image is not None]))
    return GritSequence(parts), left_out


class GritSequence(Sequence[GritEntry]):
    """The rows of several files as one; made by :func:`open_grit`."""

    def __init__(self, parts: Sequence[_ParquetPart | _ShardPart]) -> None:
        self._parts = list(parts)
        self._starts = list(accumulate(map(len, self._parts), initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> GritEntry: ...

    @overload
    def __getitem__(self, index: slice) -> list[GritEntry]: ...

    def __getitem__(self, index: int | slice) -> GritEntry | list[GritEntry]:
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = range(len(self))[index]
        part = bisect_right(self._starts, number) - 1
        row = number - self._starts[part]
        key = f"{part:05d}-{row:08d}"
        try:
            return GritEntry(key, self._parts[part].read(row))
        except PairError as error:
            return GritEntry(key, {}, str(error))


class _ParquetPart:
    def __init__(self, path: Path) -> None:
        try:
            file = open_parquet(path)
        except (OSError, AlphaClipError) as error:
            raise PairError(f"{path} cannot be read as parquet ({str(error)[:200]})") from error
        missing = [name for name in NEEDED if name not in file.schema_arrow.names]
        if missing:
            raise PairError(f"{path} has no column {missing[0]!r}: expected GRIT's {NEEDED}")
        groups = range(file.metadata.num_row_groups)
        rows = (file.metadata.row_group(group).num_rows for group in groups)
        self._starts = list(accumulate(rows, initial=0))
        self._file, self._path = file, path
        # Rows are read in order: the group in use, and the one before where a batch spans both.
        self._group = lru_cache(maxsize=2)(self._read_group)

    def __len__(self) -> int:
        return self._starts[-1]

    def read(self, row: int) -> Mapping[str, Any]:
        group = bisect_right(self._starts, row) - 1
        return self._group(group)[row - self._starts[group]]

    def _read_group(self, group: int) -> list[dict[str, Any]]:
        from pyarrow import ArrowException

        try:
            table = self._file.read_row_group(group)
            check_table(self._path, table)
            rows: list[dict[str, Any]] = table.to_pylist()
        except (ArrowException, OSError, MemoryError, AlphaClipError) as error:
            raise PairError(f"{self._path}, row group {group}: {str(error)[:200]}") from error
        return rows


class _ShardPart:
    def __init__(self, pictures: Sequence[ShardPicture]) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def read(self, row: int) -> Mapping[str, Any]:
        picture = self._pictures[row]
        return {**picture.content(), "place": picture.location}


def to_parquet(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as a parquet file with GRIT's columns; the same rows give the same bytes.

    Args:
        rows: by GRIT's names; a name that a row has not is empty in it
    """
    import pyarrow as pa
    from pyarrow import parquet

    phrases = pa.list_(pa.list_(pa.float64()))
    fields = [("key", pa.string()), ("id", pa.int64()), ("url", pa.string())]
    fields += [("place", pa.string()), ("license", pa.string()), ("caption", pa.string())]
    fields += [("width", pa.int64()), ("height", pa.int64())]
    fields += [("noun_chunks", phrases), ("ref_exps", phrases)]
    stream = BytesIO()
    table = pa.Table.from_pylist(list(rows), pa.schema(fields))
    parquet.write_table(table, stream, write_page_checksum=True)
    return stream.getvalue()
