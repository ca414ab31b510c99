"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from alphaclip.errors import AlphaClipError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file beside its place, flushes it to the disk, and moves it there.

    Args:
        path: of the file; its folder is made if need be
        write: writes the content

    Raises:
        AlphaClipError: if it cannot be written, as on a full disk
    """
    partial = path.with_name(f"{path.name}.{uuid4().hex[:16]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise AlphaClipError(
            f"{path} cannot be written ({reason}): see to that, then run again to go on"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8, as :func:`write_atomically` does."""
    write_atomically(path, lambda stream: stream.write(text.encode()))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
