"""Parquet files of texts: whose the rows of a store are, and what a plan lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.files import DamagedError, check_table, check_unpacked, open_parquet, unreadable

if TYPE_CHECKING:
    import pyarrow as pa


def read_texts(path: Path, names: Sequence[str]) -> pa.Table:
    """Reads a table of texts, which are never null.

    Args:
        path: of a Parquet file
        names: of its columns, in order

    Returns:
        the columns; what repeats is kept once (Arrow's dictionaries)

    Raises:
        DamagedError: if it has other columns, or more in it than its size can hold
        StoreError: if it cannot be read
    """
    import pyarrow as pa

    texts = (pa.string(), pa.dictionary(pa.int32(), pa.string()))
    other = DamagedError(f"{path} holds something else than texts, {', '.join(names)}")
    try:
        with open_parquet(path) as file:
            columns = file.schema_arrow
            if columns.names != list(names) or any(kind not in texts for kind in columns.types):
                raise other
            table = file.read()
        table.validate(full=True)
        if any(column.null_count for column in table.columns):
            raise other
        check_table(path, table)
    except OSError as error:
        raise unreadable(path, error) from error
    except (pa.ArrowException, MemoryError, AlphaClipError) as error:
        raise DamagedError(f"{path} is no table that was written here: {error}") from error
    return table


def as_fixed(table: pa.Table, path: Path) -> list[np.ndarray]:
    """The columns of a table that was read, as arrays of bytes of one width each.

    Raises:
        DamagedError: if that takes more room than the file can account for
    """
    widths = [_longest(column) for column in table.columns]
    try:
        check_unpacked(path, sum(widths) * len(table))
    except AlphaClipError as error:
        raise DamagedError(str(error)) from error
    columns = []
    for width in widths:
        # One after the other, so that each is in memory once
        chunks, table = table.column(0).chunks, table.remove_column(0)
        columns.append(
            np.concatenate([np.zeros(0, f"S{width}"), *(_fixed(c, width) for c in chunks)])
        )
    return columns


def _longest(column: pa.ChunkedArray) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [c.dictionary if pa.types.is_dictionary(c.type) else c for c in column.chunks]
    return max([pc.max(pc.binary_length(c)).as_py() or 0 for c in texts], default=0) or 1


def _fixed(chunk: Any, width: int) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(chunk.type):
        numbers = np.frombuffer(chunk.indices.buffers()[1] or b"", np.int32)
        begin = chunk.indices.offset
        return _fixed(chunk.dictionary, width)[numbers[begin : begin + len(chunk)]]
    # Not by ``to_numpy``, for which Arrow imports pandas: that takes longer than to open a store
    if pc.min_max(pc.binary_length(chunk)).as_py() == {"min": width, "max": width}:
        _, offsets, content = chunk.buffers()
        begin = np.frombuffer(offsets, np.int32)[chunk.offset]
        return np.frombuffer(content, f"S{width}", len(chunk), begin)
    return np.array(chunk.cast("binary").to_pylist(), f"S{width}")
