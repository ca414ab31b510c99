"""Manifests: one small JSON file for each version of a store, never changed once it is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from alphaclip.files import DamagedError, StoreError, read_checked, unreadable, write_checked

FORMAT = 2
"""Of the stores this version writes; 1 was a single ``manifest.json``. Later ones are to stay
checked JSON, or this version takes them for damaged."""

_NAME = re.compile(r"manifest-(\d{6,})\.json")


def manifest_path(folder: Path, version: int) -> Path:
    """Where the manifest of a version is."""
    return folder / f"manifest-{version:06d}.json"


def versions(folder: Path) -> list[int]:
    """The versions that a store has manifests of, the newest first; empty if there is no store."""
    try:
        names = [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(folder, error) from error
    return sorted(
        (int(match[1]) for name in names if (match := _NAME.fullmatch(name))), reverse=True
    )


def has_store(folder: Path) -> bool:
    """Whether a folder holds a store, of whatever format."""
    return bool(versions(folder)) or (folder / "manifest.json").exists()


def newest_version(folder: Path) -> int:
    """The current version; a :class:`StoreError` if there is none."""
    numbers = versions(folder)
    if numbers:
        return numbers[0]
    if (folder / "manifest.json").exists():
        raise StoreError(
            f"{folder} is an index of format 1, which is not read any more: build it again with "
            "overwrite=True"
        )
    raise StoreError(f"{folder} holds no index: build one first")


def read_manifest(folder: Path, version: int | None = None) -> dict[str, Any]:
    """A manifest, without looking at the data; that of the current version, if none is named.

    Raises:
        DamagedError: if it is damaged or missing
        StoreError: if its format is newer, or it cannot be read
    """
    path = manifest_path(folder, newest_version(folder) if version is None else version)
    manifest = read_checked(path, _REMEDY)
    if manifest is None:
        raise DamagedError(f"{path} is missing: was the index deleted?")
    if manifest["format"] > FORMAT:
        raise StoreError(
            f"{path} has format {manifest['format']}, this version reads {FORMAT}: "
            "upgrade alphaclip-fiftyone"
        )
    return manifest


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Publishes a version; if it cannot be written, the one before is still the current one."""
    write_checked(manifest_path(folder, manifest["version"]), manifest)


def files_of(manifest: dict[str, Any]) -> set[str]:
    """The data files that a version needs."""
    kinds = ("vectors", "rows", "kept")
    return {e[kind]["file"] for e in manifest["segments"] for kind in kinds if kind in e}


_REMEDY = (
    "index.update() (alphaclip index update) goes back to the version before and brings it up to "
    "date"
)
