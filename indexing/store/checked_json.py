"""JSON files that carry their own SHA-256: what is read is what was written under that name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alphaclip.errors import AlphaClipError
from alphaclip.files import DamagedError, read_json, unreadable, write_atomically


def write_checked(path: Path, content: Mapping[str, Any]) -> None:
    """Writes an object, in one step: if it cannot be written, what was there is there still."""
    plain = json.loads(json.dumps(content))
    text = json.dumps({**plain, "sha256": _digest(path.name, plain)}, indent=1)
    write_atomically(path, lambda stream: stream.write(text.encode()))


def read_checked(
    path: Path, remedy: str, check: Callable[[dict[str, Any], Path], object] | None = None
) -> dict[str, Any] | None:
    """Reads an object; None if there is no such file.

    Args:
        path: of the file
        remedy: what to do where it is damaged
        check (None): looks whether it is an object that is written here, and raises DamagedError if
            not: anybody can write one with a SHA-256 that is right

    Raises:
        DamagedError: if it is not what was written, is a link, or another file was renamed to it;
            the message ends with the remedy
        StoreError: if it cannot be read
    """
    if path.is_symlink():
        raise DamagedError(f"{path} is a link: {remedy}")
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    except AlphaClipError as error:
        raise DamagedError(f"{path} is damaged: {remedy}") from error
    if not isinstance(content, dict) or content.pop("sha256", None) != _digest(path.name, content):
        raise DamagedError(f"{path} is damaged: {remedy}")
    try:
        if check is not None:
            check(content, path)
    except DamagedError as error:
        raise DamagedError(f"{error}: {remedy}") from error
    return content


def _digest(name: str, content: Mapping[str, Any]) -> str:
    """The file's name is part of it: a manifest under the name of another version is damaged."""
    return hashlib.sha256(json.dumps([name, content], sort_keys=True).encode()).hexdigest()
