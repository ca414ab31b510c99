"""JSON files that carry their own SHA-256: what is read is what was written under that name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from alphaclip.files import DamagedError, unreadable, write_atomically


def write_checked(path: Path, content: Mapping[str, Any]) -> None:
    """Writes an object, in one step: if it cannot be written, what was there is there still."""
    plain = json.loads(json.dumps(content))
    text = json.dumps({**plain, "sha256": _digest(path.name, plain)}, indent=1)
    write_atomically(path, lambda stream: stream.write(text.encode()))


def read_checked(path: Path, remedy: str) -> dict[str, Any] | None:
    """Reads an object; None if there is no such file.

    Raises:
        DamagedError: if it is not what was written, or another file was renamed to it; the message
            ends with the remedy
        StoreError: if it cannot be read
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        content: dict[str, Any] = json.loads(text)
        if content.pop("sha256") == _digest(path.name, content):
            return content
    raise DamagedError(f"{path} is damaged: {remedy}")


def _digest(name: str, content: Mapping[str, Any]) -> str:
    """The file's name is part of it: a manifest under the name of another version is damaged."""
    return hashlib.sha256(json.dumps([name, content], sort_keys=True).encode()).hexdigest()
