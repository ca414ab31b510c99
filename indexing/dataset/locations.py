"""Where indexes are kept, what they may be called, and who uses them.

The vectors of an index are in a *store*, a folder ``<store root>/<dataset id>/<name>``; the last
two parts are the store's id. The run document of an index names its store, so a run can be renamed
without moving it, and a clone of a dataset, whose runs are copies, reads the stores of the
original until it writes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError
from alphaclip.files import StoreError, folder_in_environment
from alphaclip.indexing.store.manifests import has_store, read_manifest, versions
from alphaclip.indexing.store.store import deleting_store, open_store, writing

if TYPE_CHECKING:
    import fiftyone as fo

CONFIG_CLASS = "alphaclip.indexing.similarity.FaissSimilarityConfig"
"""By which FiftyOne's database tells our Brain runs from others."""

REGIONS = "regions"
"""The kind of a store whose vectors :func:`alphaclip.indexing.build` made."""

EXTERNAL = "external"
"""The kind of a store whose vectors were given to FiftyOne's Brain. If an encoder of ours made them
of regions, the store names it, and can be searched like an index that was built."""

COPY_OF = "alphaclip_copy_of"
"""What the settings of a run have that holds a copy of a region index in another engine: the
index's store. The run's own store has the record of what it holds."""

UNFINISHED = "alphaclip_unfinished"
"""What the settings of a run have for as long as its vectors are on their way."""

_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
_STORE = re.compile(r"[0-9a-f]{24}/[a-z][a-z0-9_]{0,79}")
"""A store is named like its key, with room for a number behind it. Nothing that a run's document in
the database says may lead out of the store root."""


class KeyNameError(AlphaClipError):
    """An index cannot have this name."""


def store_root() -> Path:
    """``ALPHACLIP_STORE``, or the folder ``alphaclip`` in FiftyOne's own data directory."""
    import fiftyone as fo

    chosen = folder_in_environment("ALPHACLIP_STORE")
    return chosen or Path(fo.config.default_dataset_dir) / "alphaclip"


def store_folder(store: str) -> Path:
    """The folder of a store, always inside the root.

    Args:
        store: ``<dataset id>/<name>``

    Raises:
        KeyNameError: if that is not what it looks like
    """
    if not _STORE.fullmatch(store):
        raise KeyNameError(f"store is {store!r}: expected <24 hexadecimal digits>/<name>")
    return store_root() / store


def store_id(dataset: fo.Dataset, key: str) -> str:
    """The store of an index: the one that its run names, else one that no other run has.

    Raises:
        KeyNameError: if the key is not a name
    """
    return named_store(dataset, key) or next(_free_stores(dataset, key))


def new_store_id(dataset: fo.Dataset, key: str) -> str:
    """A store that no run has and that holds nothing yet."""
    free = _free_stores(dataset, key)
    return next(store for store in free if not has_store(store_folder(store)))


def named_store(dataset: fo.Dataset, key: str) -> str | None:
    """The store that the run of this key names in the database; None if there is none."""
    runs = _runs({"_dataset_id": _id(dataset), "key": key})
    return next((_store_of(run) for run in runs if _is_ours(run)), None)


def owns(dataset: fo.Dataset, store: str) -> bool:
    """Whether a store is a dataset's own, and not that of the dataset it was cloned from."""
    return store.startswith(f"{_id(dataset)}/")


def index_folder(dataset: fo.Dataset, key: str) -> Path:
    """The folder of one index, whether or not it is there.

    Raises:
        KeyNameError: if the key is not a name
    """
    return store_folder(store_id(dataset, key))


def own_folder(dataset: fo.Dataset, key: str) -> Path:
    """The folder of one index, to be written.

    A clone of a dataset shares the stores of the original. The first time that it writes to one,
    it gets a copy, which its run then names; the files are hard links where the system can.

    Raises:
        KeyNameError: if the key is not a name
        StoreError: if the store cannot be copied
    """
    from fiftyone.core.brain import BrainMethod

    shared = store_id(dataset, key)
    if owns(dataset, shared):
        return store_folder(shared)
    own = new_store_id(dataset, key)
    if has_store(store_folder(shared)):
        version = open_store(store_folder(shared))
        with writing(store_folder(own)) as writer:
            pieces = []
            for segment in version.segments:
                entry = {name: value for name, value in segment.entry.items() if name != "kept"}
                piece = writer.adopt(version.folder, entry)
                pieces.append(piece if segment.kept is None else piece.keeping(segment.kept))
            writer.publish(pieces, version.dim, version.dtype, version.info)
    config = dataset.get_brain_info(key).config
    config.store = own
    BrainMethod.update_run_config(dataset, key, config)
    return store_folder(own)


def export_folder(dataset: fo.Dataset, brain_key: str) -> Path:
    """The folder of the lock of who exports an index to a Brain run.

    Raises:
        KeyNameError: if the key is not a name
    """
    return store_folder(f"{_id(dataset)}/export_{_name(brain_key)}")


def index_keys(dataset: fo.Dataset) -> list[str]:
    """The keys of a dataset's region indexes, in order of name.

    Those are its runs that :func:`alphaclip.indexing.build` made, or FiftyOne's
    ``compute_similarity`` with an encoder of ours, and the indexes that are finished but not
    registered, because the job was ended before.
    """
    runs = [run for run in _runs({"_dataset_id": _id(dataset)}) if _is_ours(run)]
    keys = {run["key"] for run in runs if _holds_regions(store_folder(_store_of(run)))}
    folders = (store_root() / str(_id(dataset))).glob("*")
    stores = {f"{folder.parent.name}/{folder.name}": folder for folder in folders}
    unnamed = {store for store in stores if _STORE.fullmatch(store)} - set(map(_store_of, runs))
    unnamed -= named_stores() if unnamed else set()
    return sorted(keys | {stores[s].name for s in unnamed if _holds_regions(stores[s])})


def copies(dataset: fo.Dataset) -> dict[str, str]:
    """The Brain runs of a dataset that hold copies of its region indexes in other engines, and the
    key of each one's index. Those of a clone are the original's."""
    runs = _runs({"_dataset_id": _id(dataset)})
    keys = {_store_of(run): run["key"] for run in runs if _is_ours(run)}
    own = [run for run in runs if not _is_ours(run) and owns(dataset, _store_of(run))]
    own = [run for run in own if not run["config"].get(UNFINISHED)]
    pairs = {run["key"]: keys.get(run["config"].get(COPY_OF)) for run in own}
    return {copy: key for copy, key in sorted(pairs.items()) if key is not None}


def own_stores(dataset: fo.Dataset) -> dict[str, Path]:
    """The folders of a dataset's own stores by key, also of those that hold no version yet."""
    keys = {_store_of(run): run["key"] for run in _runs({"_dataset_id": _id(dataset)})}
    folders = [folder for folder in (store_root() / str(_id(dataset))).glob("*") if folder.is_dir()]
    stores = {f"{folder.parent.name}/{folder.name}": folder for folder in folders}
    return {keys.get(s, path.name): path for s, path in stores.items() if _STORE.fullmatch(s)}


def check_key(dataset: fo.Dataset, key: str) -> None:
    """Looks whether a region index of this dataset may have this name.

    Raises:
        KeyNameError: if the key is malformed, or is the name of another Brain run
    """
    if not _KEY.fullmatch(key):
        raise KeyNameError(
            f"key is {key!r}: expected a lowercase letter, then at most 63 lowercase letters, "
            "digits and underscores"
        )
    if not dataset.has_brain_run(key):
        return
    kind = dataset.get_brain_info(key).config.cls
    if kind != CONFIG_CLASS:
        raise KeyNameError(
            f"dataset {dataset.name!r} has a Brain run {key!r} of another kind "
            f"({kind.rpartition('.')[2]}): choose another key"
        )
    folder = index_folder(dataset, key)
    if has_store(folder) and not _holds_regions(folder):
        raise KeyNameError(
            f"dataset {dataset.name!r} has a Brain run {key!r} of embeddings that were given to "
            "it: choose another key"
        )


def no_index(dataset: fo.Dataset, key: str) -> AlphaClipError:
    """The error that there are no vectors of an index; says whether it is the vectors only."""
    if named_store(dataset, key) is None:
        keys = ", ".join(index_keys(dataset)) or "none"
        return AlphaClipError(f"dataset {dataset.name!r} has no index {key!r}; it has: {keys}")
    folder, named = index_folder(dataset, key), os.environ.get("ALPHACLIP_STORE")
    where = f"ALPHACLIP_STORE is {named!r}" if named else "ALPHACLIP_STORE is not set"
    if named and not Path(named).expanduser().is_absolute():
        where += ", another folder in each working directory"
    return AlphaClipError(
        f"dataset {dataset.name!r} has an index {key!r}, but its vectors are not in {folder} "
        f"({where}): if they were moved, let ALPHACLIP_STORE name the folder that now holds "
        f"{folder.parent.name}; else build the index again, or delete what is left of it by "
        f"dataset.delete_brain_run({key!r})"
    )


def lost_keys(dataset: fo.Dataset) -> list[str]:
    """The keys of a dataset's runs that look like those of region indexes, but have no vectors:
    they were moved, or somebody began to delete them."""
    runs = [run for run in _runs({"_dataset_id": _id(dataset)}) if _is_ours(run)]
    asked = ("model", "patches_field", "supports_prompts")
    runs = [run for run in runs if all(run["config"].get(name) for name in asked)]
    return sorted(run["key"] for run in runs if not has_store(store_folder(_store_of(run))))


@contextmanager
def deleting_index(dataset: fo.Dataset, key: str) -> Iterator[None]:
    """Deletes the store of one index, if there is one, after what is done inside.

    A store of another dataset, or one that another run names, stays.

    Raises:
        StoreBusyError: if the index is being written; then nothing is done
    """
    store = store_id(dataset, key)
    if not owns(dataset, store) or store in _stores_of_others(dataset, key):
        yield
        return
    folder = store_folder(store)
    with deleting_store(folder):
        yield
    with suppress(OSError):
        folder.parent.rmdir()


def remove_index(dataset: fo.Dataset, key: str) -> None:
    """Deletes the store of one index, see :func:`deleting_index`; safe to repeat."""
    with deleting_index(dataset, key):
        pass


def has_run(dataset: fo.Dataset, key: str) -> bool:
    """Whether FiftyOne lists a Brain run of this name, as the database has it.

    FiftyOne writes and deletes the document of a run and its name in the dataset's one after the
    other. What a kill between the two leaves is neither listed nor deleted, and is put right here.
    """
    import fiftyone.core.odm as foo

    database, of = foo.get_db_conn(), _id(dataset)
    document = database["datasets"].find_one({"_id": of}, {"brain_methods": 1}) or {}
    named = (document.get("brain_methods") or {}).get(key)
    runs = [
        run["_id"] for run in database["runs"].find({"_dataset_id": of, "key": key}, {"_id": 1})
    ]
    if runs != ([] if named is None else [named]):
        foo.patch_brain_runs(dataset.name)
        dataset.reload()
    return bool(dataset.has_brain_run(key))


def named_stores() -> set[str]:
    """The stores that the runs of this database's datasets name."""
    datasets = dataset_ids()
    runs = _runs({})
    return {_store_of(run) for run in runs if str(run.get("_dataset_id")) in datasets}


def dataset_ids() -> set[str]:
    """The ids of this database's datasets."""
    import fiftyone.core.odm as foo

    return set(map(str, foo.get_db_conn()["datasets"].distinct("_id")))


def _id(dataset: fo.Dataset) -> Any:
    return dataset._root_dataset._doc.id


def _is_ours(run: dict[str, Any]) -> bool:
    return bool(run["config"].get("cls") == CONFIG_CLASS)


def _runs(query: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs that have a store, the newest first, straight from the database.

    A dataset that is loaded in this process does not see what others change in its runs.
    """
    import fiftyone.core.odm as foo

    ours = {"$or": [{"config.cls": CONFIG_CLASS}, {"config.store": {"$type": "string"}}]}
    names = dict.fromkeys(("key", "_dataset_id", "config"), 1)
    return list(foo.get_db_conn()["runs"].find({**query, **ours}, names).sort("_id", -1))


def _store_of(run: dict[str, Any]) -> str:
    """What a run names; runs of the first version named nothing."""
    return run["config"].get("store") or f"{run['_dataset_id']}/{_name(run['key'])}"


def _stores_of_others(dataset: fo.Dataset, key: str) -> set[str]:
    """The stores that all runs but one name."""
    own = (_id(dataset), key)
    return {_store_of(run) for run in _runs({}) if (run["_dataset_id"], run["key"]) != own}


def _free_stores(dataset: fo.Dataset, key: str) -> Iterator[str]:
    default = f"{_id(dataset)}/{_name(key)}"
    taken = _stores_of_others(dataset, key)
    candidates = chain([default], (f"{default}_{i}" for i in count(2)))
    return (store for store in candidates if store not in taken)


def _name(key: str) -> str:
    """A key as the name of a folder, on systems too that do not tell A from a."""
    if not isinstance(key, str) or not key.isidentifier():
        raise KeyNameError(f"key is {key!r}: expected letters, digits and underscores")
    name = re.sub("[^a-z0-9_]", "_", key.lower())
    return (name if name[0].isalpha() else f"k{name}")[:64]


def _holds_regions(folder: Path) -> bool:
    """Whether the newest version that can be read is of regions; where none can, it may be."""
    for version in versions(folder):
        try:
            info = read_manifest(folder, version)["info"]
            return bool(info.get("kind") == REGIONS or "fingerprint" in info)
        except StoreError:
            continue
    return has_store(folder)
