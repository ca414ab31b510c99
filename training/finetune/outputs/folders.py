"""Folders that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

_NEW, _OLD = ".new", ".old"


def replace_folder(place: Path, write: Callable[[Path], None]) -> None:
    """Writes a folder beside its place, and puts it there once it is whole.

    A folder that is there already stays until then. Where a kill interrupts this,
    `settle_folder` tells what is whole.

    Args:
        place: of the folder; its parents are made if need be
        write: fills a new folder, with `write_flushed`; what it raises leaves all as it was
    """
    new, old = _beside(place)
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        write(new)
        _flush_folder(new)
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        new.rename(place)
        _flush_folder(place.parent)
    except Exception:
        shutil.rmtree(new, ignore_errors=True)
        settle_folder(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def settle_folder(place: Path) -> None:
    """Ends what interrupted `replace_folder`: one leaves its place only when another is whole."""
    new, old = _beside(place)
    if not place.exists() and old.exists():
        (new if new.exists() else old).rename(place)
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)


def write_flushed(path: Path, write: Callable[[Path], object]) -> None:
    """Has a file written and flushes it to the disk."""
    write(path)
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _beside(place: Path) -> tuple[Path, Path]:
    return place.with_name(place.name + _NEW), place.with_name(place.name + _OLD)


def _flush_folder(folder: Path) -> None:
    """So that names outlive a power cut; other systems than POSIX have no such thing."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
