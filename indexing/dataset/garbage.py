"""Stores that nobody uses any more: those of deleted datasets, and of jobs that died."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from alphaclip.errors import AlphaClipError
from alphaclip.files import LOCK
from alphaclip.indexing.dataset.locations import dataset_ids, named_stores, store_folder, store_root
from alphaclip.indexing.store.store import deleting_store

YOUNG = timedelta(days=1)
"""A store of an existing dataset that changed since may be that of a job to be gone on with."""


@dataclass(frozen=True)
class Orphan:
    """A store that no run names.

    Attributes:
        store_id: ``<dataset id>/<name>``
        bytes: on the disk
        modified: when it was last changed, UTC
    """

    store_id: str
    bytes: int
    modified: datetime


def orphans() -> list[Orphan]:
    """The stores under the root that no run of any dataset in this database names.

    Those of an existing dataset that changed within a day, or are being written, are left out:
    a job may be under way, or may be gone on with. A root must not be shared by two databases:
    each would take the stores of the other for orphans.
    """
    named, datasets = named_stores(), dataset_ids()
    unused = []
    for folder in sorted(store_root().glob("*/*")):
        store = f"{folder.parent.name}/{folder.name}"
        if store in named or not _is_store(store, folder):
            continue
        size, newest = 0, folder.stat().st_mtime
        for path in folder.rglob("*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                size += status.st_size if path.is_file() else 0
                # Looking whether the lock is held touches it
                newest = newest if path.name == LOCK else max(newest, status.st_mtime)
        modified = datetime.fromtimestamp(newest, timezone.utc)
        young = datetime.now(timezone.utc) - modified < YOUNG
        if not _is_being_written(folder) and not (young and folder.parent.name in datasets):
            unused.append(Orphan(store, size, modified))
    return unused


def remove_orphan(store_id: str) -> None:
    """Deletes a store that nobody uses.

    Raises:
        AlphaClipError: if it is none
        StoreBusyError: if somebody begins to write to it
    """
    if store_id not in {orphan.store_id for orphan in orphans()}:
        raise AlphaClipError(f"{store_id!r} is not an orphan: it is used, or it is not there")
    folder = store_folder(store_id)
    with deleting_store(folder):
        if store_id in named_stores():
            raise AlphaClipError(f"{store_id!r} is not an orphan any more: a run names it")
    with suppress(OSError):
        folder.parent.rmdir()


def remove_empty_folders() -> None:
    """Deletes what is left where datasets had stores: folders with nothing in them."""
    datasets = dataset_ids()
    for folder in store_root().glob("[0-9a-f]" * 24):
        # In one of a dataset that there is, a job may be about to make a store
        with suppress(OSError):
            changed = datetime.fromtimestamp(folder.stat().st_mtime, timezone.utc)
            if folder.name not in datasets or datetime.now(timezone.utc) - changed > YOUNG:
                folder.rmdir()


def _is_store(store: str, folder: Path) -> bool:
    try:
        return store_folder(store) == folder and folder.is_dir()
    except AlphaClipError:
        return False


def _is_being_written(folder: Path) -> bool:
    from filelock import FileLock, Timeout

    path = folder / LOCK
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False
