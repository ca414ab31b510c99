"""JSON files that carry their own SHA-256: what is read is what was written under that name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaclip.indexing.store.files import DamagedError, unreadable, write_atomically


def write_checked(path: Path, content: Mapping[str, Any]) -> None:
    """Writes an object, in one step.

    Raises:
        StoreError: if it cannot be written; what was there before is there still
    """
    plain = json.loads(json.dumps(content))
    text = json.dumps({**plain, "sha256": _digest(path.name, plain)}, indent=1)
    write_atomically(path, lambda stream: stream.write(text.encode()))


def read_checked(path: Path, remedy: str) -> dict[str, Any] | None:
    """Reads an object.

    Args:
        path: of the file
        remedy: what to do if it is damaged, for the message

    Returns:
        what was written; None if there is no such file

    Raises:
        DamagedError: if it is not what was written, or another file was renamed to it
        StoreError: if it cannot be read
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    content = _intact(path.name, text)
    if content is None:
        raise DamagedError(f"{path} is damaged: {remedy}")
    return content


def _intact(name: str, text: bytes) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(text)
        return content if content.pop("sha256") == _digest(name, content) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _digest(name: str, content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([name, content], sort_keys=True).encode()).hexdigest()
