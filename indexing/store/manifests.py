"""Manifests: one small JSON file for each version of a store, never changed once it is there."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Any

from alphaclip.files import (
    DamagedError,
    StoreError,
    malformed,
    read_checked,
    unreadable,
    write_checked,
)
from alphaclip.indexing.store.entries import (
    Kinds,
    check_data_file,
    check_kinds,
    check_segment,
    check_skipped,
    files_of_segment,
)

FORMAT = 2
"""Of the stores this version writes; 1 was a single ``manifest.json``. Later ones are to stay
checked JSON, or this version takes them for damaged."""

_NEWEST = "newest.json"
"""Says which version was published last: without it, a store whose newest manifest is gone would
look like one that has not been brought up to date. Stores of earlier versions have none."""

_NAME = re.compile(r"manifest-(\d{6,})\.json", re.ASCII)
_KINDS: Kinds = {"version": int, "dim": int, "dtype": str, "segments": list, "info": dict}
_SETTINGS: Kinds = {
    "field": str, "encoder": str, "fingerprint": str, "view": dict, "identify": str, "stages": list,
}  # fmt: skip
_INFO: Kinds = {"kind": str, "metric": str, "report": dict, **_SETTINGS}
"""What the writer says of the vectors; of vectors from elsewhere it knows some of it only."""

_REPORT: Kinds = {
    "regions": int, "added": int, "edited": int, "kept": int, "gone": int, "unreachable": int,
    "samples": int, "unfilled": int, "seconds": (int, float, NoneType), "skipped": list,
}  # fmt: skip


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
    """The current version, also where its manifest is gone; a :class:`StoreError` if there is no
    store."""
    numbers = versions(folder)
    if numbers:
        return max(numbers[0], _published(folder))
    if (folder / "manifest.json").exists():
        raise StoreError(
            f"{folder} is an index of format 1, which is not read any more: build it again with "
            "overwrite=True"
        )
    raise StoreError(
        f"{folder} holds no index: build one first; or, if it was moved, let ALPHACLIP_STORE name "
        "the folder that it is in"
    )


def next_version(folder: Path) -> int:
    """The number of the version to publish; no number is used twice."""
    return max([0, _published(folder), *versions(folder)]) + 1


def read_manifest(folder: Path, version: int | None = None) -> dict[str, Any]:
    """A manifest, without looking at the data; that of the current version, if none is named.

    Raises:
        DamagedError: if it is damaged or missing, or not what is written here
        StoreError: if its format is newer, or it cannot be read
    """
    path = manifest_path(folder, newest_version(folder) if version is None else version)
    manifest = read_checked(path, _REMEDY, check=_check)
    if manifest is None:
        raise DamagedError(f"{path} is missing: if the index was not deleted, {_REMEDY}")
    return manifest


def _check(manifest: dict[str, Any], path: Path) -> None:
    check_kinds(manifest, {"format": int}, path)
    if manifest["format"] > FORMAT:
        raise StoreError(
            f"{path} has format {manifest['format']}, this version reads {FORMAT}: "
            "upgrade alphaclip-fiftyone"
        )
    check_kinds(manifest, _KINDS, path, {"count": int, "pictures": dict})
    check_kinds(manifest["info"], {}, path, _INFO)
    for entry in manifest["segments"]:
        check_segment(entry, path)
    if "pictures" in manifest:
        check_data_file(manifest["pictures"], path, "pictures")
    if manifest_path(path.parent, manifest["version"]) != path:
        raise malformed(path, "version", manifest["version"])
    if manifest["dtype"] not in ("float16", "float32"):
        raise malformed(path, "dtype", manifest["dtype"])


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Publishes a version; if its manifest cannot be written, the one before is still the current
    one."""
    write_checked(manifest_path(folder, manifest["version"]), manifest)
    write_checked(folder / _NEWEST, {"version": manifest["version"]})


def check_settings(info: Any, where: object) -> None:
    """Looks whether there is all that says what an index of regions is of.

    Raises:
        DamagedError: if not
    """
    check_kinds(info, _SETTINGS, where)


def check_report(info: dict[str, Any], where: object) -> None:
    """Looks whether what a store says of its regions can be told to people.

    Raises:
        DamagedError: if not
    """
    check_settings(info, where)
    check_kinds(info, {"report": dict}, where)
    check_kinds(info["report"], _REPORT, where)
    check_skipped(info["report"]["skipped"], where)


def files_of(manifest: dict[str, Any]) -> set[str]:
    """The data files that a version needs."""
    files = {file["file"] for e in manifest["segments"] for _, file in files_of_segment(e)}
    return files | {manifest[kind]["file"] for kind in ("pictures",) if kind in manifest}


def _published(folder: Path) -> int:
    """The version that was published last; 0 if that is not known."""
    with suppress(StoreError):
        content = read_checked(folder / _NEWEST, "it is not used")
        return int(content["version"]) if content else 0
    return 0


_REMEDY = (
    "index.update() (alphaclip index update) goes back to the version before and brings it up to "
    "date"
)
