"""FAISS indexes on the disk: only a cache, used if every byte is as it was written.

Each is two files, ``<name>.faiss`` and ``<name>.json``: the second says what the first was built
from, holds the SHA-256 of both and the CRC-32 of the first's blocks, and is written last. What is
damaged or does not belong to the table is not used, but built again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from zlib_ng.zlib_ng import crc32

from alphaclip.errors import AlphaClipError
from alphaclip.files import BLOCK, PARTIAL, file_sha256, read_json, write_by_hash, write_text
from alphaclip.indexing.nearest.metrics import Metric, faiss_metric
from alphaclip.indexing.store.entries import Kinds, check_kinds
from alphaclip.indexing.store.table import VectorTable

if TYPE_CHECKING:
    import faiss

logger = logging.getLogger(__name__)

FORMAT = 1
NEWEST = 2
"""Caches that stay: that of the current version, and the one before, which another process may
still search."""

_FACTS: Kinds = {
    "pieces": list, "count": int, "rows": str, "dim": int, "dtype": str, "metric": str,
    "kind": str, "nlist": int, "nprobe": int, "oversample": int, "recall": dict, "trained_on": int,
    "sha256": str, "bytes": int,
}  # fmt: skip

_RECALLS: Kinds = {"text": (int, float), "shifted": (int, float), "region": (int, float)}

ABANDONED = 3600
"""Seconds after which a file that nothing names was left by a process that died."""


@dataclass(frozen=True)
class Cached:
    """An index from the disk, and the facts that were saved with it."""

    index: faiss.IndexIVF
    facts: dict[str, Any]


def save_cache(folder: Path, index: faiss.IndexIVF, facts: Mapping[str, Any]) -> Path:
    """Writes an index, and deletes all caches but the newest.

    Args:
        folder: of caches only; made if need be
        index: to write
        facts: about it, JSON: those of :func:`describe`, "kind", "nlist", "nprobe", "oversample",
            "recall" and "trained_on"

    Returns:
        the path of the JSON file
    """
    import faiss

    def write(stream: Any) -> None:
        faiss.write_index(index, faiss.PyCallbackIOWriter(stream.write))  # type: ignore[attr-defined]

    path, sha256, size = write_by_hash(folder, ".faiss", write)
    content = {
        **facts,
        "format": FORMAT,
        "sha256": sha256,
        "bytes": size,
        "blocks": _checksums(path),
        "faiss": faiss.__version__,
    }
    text = json.dumps({"facts": content, "sha256": _digest(content)}, indent=1)
    write_text(path.with_suffix(".json"), text)
    _delete_old(folder)
    return path.with_suffix(".json")


def load_cache(folder: Path, table: VectorTable, metric: Metric) -> Cached | None:
    """The newest cache that was built from exactly these rows; the folder need not exist."""
    same = describe(table, metric)
    return _newest(folder, lambda facts: all(facts[name] == same[name] for name in same))


def load_relative(
    folder: Path, table: VectorTable, metric: Metric, whole: bool = False
) -> Cached | None:
    """The newest cache that was built from some of these segments, the first at least.

    Args:
        folder, table, metric: see :func:`load_cache`
        whole (False): take a cache only if it was built from the same segments, and at least as
            many rows
    """
    same = {"dim": table.dim, "dtype": table.dtype.name, "metric": metric}
    names = list(table.names)

    def fits(facts: dict[str, Any]) -> bool:
        if any(facts[name] != value for name, value in same.items()):
            return False
        if whole:
            return facts["pieces"] == names and facts["count"] >= len(table)
        return facts["pieces"][:1] == names[:1]

    return _newest(folder, fits)


def describe(table: VectorTable, metric: Metric) -> dict[str, Any]:
    """What a cache of a table is known by."""
    slots = np.ascontiguousarray(table.slots, "<i8")
    return {
        "pieces": list(table.names),
        "count": len(table),
        "rows": hashlib.sha256(slots.tobytes()).hexdigest(),
        "dim": table.dim,
        "dtype": table.dtype.name,
        "metric": metric,
    }


def _newest(folder: Path, fits: Callable[[dict[str, Any]], bool]) -> Cached | None:
    """The newest cache whose facts fit, and that is whole."""
    for path in _newest_first(folder):
        facts = _facts(path)
        if facts is None:
            logger.warning("%s is damaged or of another version, and not used", path)
        elif fits(facts) and (index := _read(path, facts)) is not None:
            return Cached(index, facts)
    return None


def _facts(path: Path) -> dict[str, Any] | None:
    """What a cache says of itself; None if that cannot be used."""
    try:
        content = read_json(path)
        check_kinds(content, {"facts": dict, "sha256": str}, path)
        facts: dict[str, Any] = content["facts"]
        if content["sha256"] != _digest(facts) or facts.get("format") != FORMAT:
            return None
        check_kinds(facts, _FACTS, path, {"blocks": list})
        check_kinds(facts["recall"], {"k": int}, path, _RECALLS)
    except (OSError, AlphaClipError):
        return None
    return facts if 1 <= facts["nprobe"] <= facts["nlist"] and facts["oversample"] else None


def _digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _read(path: Path, facts: dict[str, Any]) -> faiss.IndexIVF | None:
    """The index, or None and a warning if it is not what was written."""
    import faiss

    file = path.with_suffix(".faiss")
    try:
        if not _is_whole(file, facts):
            logger.warning("%s is damaged, and not used", file)
            return None
        with _limited(file.stat().st_size):
            index = faiss.read_index(str(file))
    except (OSError, RuntimeError, MemoryError) as error:
        logger.warning("%s cannot be read, and is not used: %s", file, error)
        return None
    if isinstance(index, faiss.IndexIVFPQFastScan):
        shape = (index.d, index.ntotal, index.nlist, index.metric_type)
        metric = faiss_metric(facts["metric"])
        if shape == (facts["dim"], facts["count"], facts["nlist"], metric):
            return index
    logger.warning("%s holds another index than %s says, and is not used", file, path.name)
    return None


def _is_whole(file: Path, facts: dict[str, Any]) -> bool:
    """By the checksums of its blocks: they are read four times as fast as a SHA-256."""
    if "blocks" in facts:
        return _checksums(file) == facts["blocks"]
    return file_sha256(file) == facts["sha256"]


def _checksums(file: Path) -> list[int]:
    """The CRC-32 of each of its blocks."""
    with file.open("rb") as stream:
        return [crc32(content) for content in iter(lambda: stream.read(BLOCK), b"")]


@contextmanager
def _limited(size: int) -> Iterator[None]:
    """Lets FAISS allocate no vector larger than the file it reads."""
    import faiss

    before = faiss.get_deserialization_vector_byte_limit()
    faiss.set_deserialization_vector_byte_limit(size)
    try:
        yield
    finally:
        faiss.set_deserialization_vector_byte_limit(before)


def _delete_old(folder: Path) -> None:
    facts = _newest_first(folder)[NEWEST:]
    old = [*facts, *(path.with_suffix(".faiss") for path in facts)]
    for path in [*folder.glob("*.faiss"), *folder.glob(f"*{PARTIAL}")]:
        if not path.with_suffix(".json").exists() and time.time() - _time(path) > ABANDONED:
            old.append(path)
    for path in old:
        with suppress(OSError):
            path.unlink()


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"), key=_time, reverse=True)


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
