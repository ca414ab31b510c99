"""The vectors of texts, remembered: a query comes again, and most classes stay as they are.

They are in one SQLite file in the models folder, which all processes share, under hashes of encoder
and text: what was searched for cannot be read there. What is damaged is thrown away and encoded
again, and where nothing can be written, this process still remembers.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from threading import Lock
from typing import TypeVar

import numpy as np

from alphaclip.catalog.released import models_folder
from alphaclip.encoder.prompts import expand
from alphaclip.errors import AlphaClipError
from alphaclip.files import make_folder

logger = logging.getLogger(__name__)

T = TypeVar("T")

FILE = "text-vectors.sqlite"

MOST_BYTES = 256_000_000
"""Of the file; the older half goes when it has more."""

MOST_VALUES = 32_000_000
"""Of all vectors in this process together: 128 MB. What was not used for longest goes first."""

PART = 1024
"""Texts that are encoded before progress is told, and they are written."""

_PATIENCE = 1.0
"""Seconds that another process may be writing; then its vectors are encoded here, too."""

_CHECK = 4
"""Bytes of the CRC behind each vector."""

_recent: OrderedDict[bytes, np.ndarray] = OrderedDict()
_lock = Lock()


def recall(
    encoder: str,
    encode: Callable[[list[str]], np.ndarray],
    prompts: Sequence[str],
    templates: Sequence[str] | None = None,
    show: Callable[[str, int, int], None] | None = None,
) -> np.ndarray:
    """Encodes each text once. See :meth:`Encoder.recall_text`.

    Args:
        encoder: equal for encoders that give a text the same vector
        encode: is given the prompts that are not remembered; puts them into the templates
        prompts, templates, show: see there
    """
    wordings = expand(prompts, templates)
    keys = [hashlib.sha256(json.dumps([encoder, *texts]).encode()).digest() for texts in wordings]
    vectors = _recall(set(keys))
    new = {key: text for key, text in zip(keys, prompts, strict=True) if key not in vectors}
    for start in range(0, len(new), PART):
        some = list(new)[start : start + PART]
        rows = encode([new[key] for key in some])
        # Copies, as a row alone would keep all vectors that were encoded with it.
        encoded = dict(zip(some, (row.copy() for row in rows), strict=True))
        _in_file(partial(_write, encoded))
        vectors |= encoded
        if show is not None:
            show("prompts encoded", start + len(some), len(new))
    _keep(vectors)
    return np.stack([vectors[key] for key in keys])


def _recall(keys: set[bytes]) -> dict[bytes, np.ndarray]:
    """What this process or the file remembers."""
    with _lock:
        vectors = {key: _recent[key] for key in keys & _recent.keys()}
    missing = keys - vectors.keys()
    if missing:
        vectors |= _in_file(partial(_read, missing)) or {}
    return vectors


def _keep(vectors: Mapping[bytes, np.ndarray]) -> None:
    """Remembers in this process what was just used."""
    with _lock:
        for key, vector in vectors.items():
            _recent[key] = _recent.pop(key, vector)
        values = sum(map(len, _recent.values()))
        while values > MOST_VALUES:
            values -= len(_recent.popitem(last=False)[1])


def _in_file(use: Callable[[sqlite3.Connection], T]) -> T | None:
    """Opens the file for one transaction; None where that fails. A damaged file is deleted."""
    path = models_folder() / FILE
    try:
        make_folder(path.parent)
        with closing(sqlite3.connect(path, timeout=_PATIENCE)) as file, file:
            file.execute("PRAGMA page_size = 16384")
            file.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB)")
            return use(file)
    except (AlphaClipError, OSError, sqlite3.OperationalError) as error:
        # Busy, or not to be written.
        logger.debug("text vectors are not remembered in %s: %s", path, error)
    except sqlite3.DatabaseError as error:
        logger.warning("%s is damaged and is begun anew: %s", path, error)
        for name in (FILE, f"{FILE}-journal"):
            with suppress(OSError):
                path.with_name(name).unlink()
    return None


def _read(keys: set[bytes], file: sqlite3.Connection) -> dict[bytes, np.ndarray]:
    vectors = {}
    for key in keys:
        row = file.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        if row is not None:
            content = row[0] if isinstance(row[0], bytes) else b""
            if content[-_CHECK:] != _check(key, content[:-_CHECK]):
                raise sqlite3.DatabaseError("a vector is not what was written")
            vectors[key] = np.frombuffer(content[:-_CHECK], "<f4")
    return vectors


def _write(vectors: Mapping[bytes, np.ndarray], file: sqlite3.Connection) -> None:
    contents = ((key, vector.astype("<f4").tobytes()) for key, vector in vectors.items())
    file.executemany(
        "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
        ((key, content + _check(key, content)) for key, content in contents),
    )
    (size,) = file.execute(
        "SELECT (page_count - freelist_count) * page_size "
        "FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    ).fetchone()
    if size > MOST_BYTES:
        file.execute(
            "DELETE FROM vectors WHERE rowid IN (SELECT rowid FROM vectors ORDER BY rowid "
            "LIMIT (SELECT count(*) / 2 FROM vectors))"
        )


def _check(key: bytes, content: bytes) -> bytes:
    return zlib.crc32(key + content).to_bytes(_CHECK, "little")
