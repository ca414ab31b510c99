"""Indexes that are deleted, registered or exported and cut off at any step: it goes on."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import fiftyone as fo
import fiftyone.brain.similarity as fbs
import pytest
from fiftyone.core.brain import BrainMethod
from fiftyone.core.odm import get_db_conn
from fiftyone.core.odm.runs import RunDocument

from alphaclip import indexing
from alphaclip.errors import AlphaClipError
from alphaclip.files import StoreBusyError, writer_lock
from alphaclip.indexing.brain.exporting import export
from alphaclip.indexing.dataset.garbage import orphans, remove_empty_folders, remove_orphan
from alphaclip.indexing.dataset.locations import (
    export_folder,
    index_folder,
    index_keys,
    lost_keys,
    own_folder,
    store_id,
)
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.similarity import (
    FaissSimilarityConfig,
    FaissSimilarityIndex,
    register_run,
)

from ..brain_data import compute, images, publish, vectors

MOST_STEPS = 40


class CutOffError(BaseException):
    """What a kill is here: nothing handles it."""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALPHACLIP_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def dataset(dataset_factory: Callable) -> fo.Dataset:
    return images(dataset_factory, 4)


def make_regions(dataset: fo.Dataset, key: str = "regions") -> Path:
    """What a build leaves: a store, and a run that names it."""
    folder = own_folder(dataset, key)
    publish(folder)
    (folder / "cache").mkdir(exist_ok=True)
    (folder / "cache" / "index").write_text("")
    register_run(dataset, key, store_id(dataset, key), "alphaclip-nano", "gt")
    return folder


def in_database(dataset: fo.Dataset) -> tuple[int, dict]:
    """How many runs there are, and which the dataset names."""
    of = {"_id": dataset._doc.id}
    named = get_db_conn()["datasets"].find_one(of)["brain_methods"]
    return get_db_conn()["runs"].count_documents({"_dataset_id": of["_id"]}), named


def cut_off(run: Callable[[], object], changes: list[tuple[object, str]]) -> Iterator[int]:
    """Runs something again and again, until it comes to its end: a process that ends before the
    n-th change, and does nothing after that."""
    for step in range(1, MOST_STEPS):
        left = step

        def counted(change: Callable) -> Callable:
            def change_or_end(*args: object, **kwargs: object) -> object:
                nonlocal left
                left -= 1
                if left <= 0:
                    raise CutOffError
                return change(*args, **kwargs)

            return change_or_end

        with pytest.MonkeyPatch.context() as patched:
            for owner, name in changes:
                patched.setattr(owner, name, counted(getattr(owner, name)))
            try:
                run()
            except CutOffError:
                pass
            else:
                return
        yield step
    raise AssertionError("more steps than are tried")


DELETING = [
    (Path, "unlink"),
    (shutil, "rmtree"),
    (RunDocument, "delete"),
    (fo.Dataset, "save"),
]


@pytest.mark.parametrize("by", ["the index", "FiftyOne"])
def test_delete__goes_on(dataset: fo.Dataset, by: str) -> None:
    def make_and_delete() -> None:
        index = RegionIndex(dataset, "regions")
        index.delete() if by == "the index" else dataset.delete_brain_run("regions")

    folder, steps = make_regions(dataset), 0
    for _ in cut_off(make_and_delete, DELETING):
        steps += 1
        dataset.reload()
        if index_keys(dataset):
            indexing.load(dataset, "regions").delete()
        elif "regions" in lost_keys(dataset):
            with pytest.raises(AlphaClipError, match=r"delete_brain_run\('regions'\)"):
                indexing.load(dataset, "regions")
            RegionIndex(dataset, "regions").delete()
        elif by == "FiftyOne":
            # The dataset names a run that is gone, of which FiftyOne says that it is corrupted
            RegionIndex(dataset, "regions").delete()
        assert in_database(dataset) == (0, {})
        assert index_keys(dataset) == lost_keys(dataset) == []
        assert {path.name for path in folder.glob("*")} <= {"writer.lock", "writer.txt"}
        make_regions(dataset)
    assert steps >= 6
    assert in_database(dataset) == (0, {})
    assert not folder.exists() and not folder.parent.exists()


def test_delete__waits_for_no_writer_and_takes_nothing_from_it(dataset: fo.Dataset) -> None:
    folder = make_regions(dataset)
    with writer_lock(folder):
        for delete in (
            indexing.load(dataset).delete,
            dataset.load_brain_results("regions").cleanup,
        ):
            with pytest.raises(StoreBusyError, match=str(os.getpid())):
                delete()
        # FiftyOne deletes a run whatever its backend says
        assert dataset.list_brain_runs() == ["regions"]
        dataset.delete_brain_run("regions")
        assert (folder / "writer.lock").exists()
    assert index_keys(dataset) == ["regions"]
    indexing.load(dataset).delete()
    assert not folder.exists()


def test_register__goes_on(dataset: fo.Dataset) -> None:
    make_regions(dataset)
    BrainMethod.delete_run(dataset, "regions", cleanup=False)
    changes = [(RunDocument, "save"), (RunDocument, "delete"), (fo.Dataset, "save")]

    def register() -> None:
        register_run(dataset, "regions", store_id(dataset, "regions"), "alphaclip-nano", "gt")

    for _ in cut_off(register, changes):
        dataset.reload()
        dataset._brain_cache = {}
        register()
        assert dataset.load_brain_results("regions").total_index_size == 4
        count, named = in_database(dataset)
        assert (count, list(named)) == (1, ["regions"])
        BrainMethod.delete_run(dataset, "regions", cleanup=False)


def test_delete__what_was_registered_half(dataset: fo.Dataset) -> None:
    folder = make_regions(dataset)
    get_db_conn()["datasets"].update_one({"_id": dataset._doc.id}, {"$set": {"brain_methods": {}}})
    dataset.reload()
    assert dataset.list_brain_runs() == []
    indexing.load(dataset).delete()
    assert in_database(dataset) == (0, {})
    assert not folder.exists()


@pytest.fixture
def source(dataset: fo.Dataset) -> FaissSimilarityIndex:
    return compute(dataset, embeddings=vectors(4))


@pytest.mark.parametrize("backend", ["sklearn", FaissSimilarityConfig])
def test_export__goes_on(dataset: fo.Dataset, source: FaissSimilarityIndex, backend: str) -> None:
    changes = [
        (RunDocument, "save"),
        (RunDocument, "delete"),
        (fo.Dataset, "save"),
        (FaissSimilarityIndex, "add_to_index"),
        (FaissSimilarityIndex, "cleanup"),
        (fbs.SimilarityIndex, "save"),
    ]
    steps, before = 0, in_database(dataset)
    for _ in cut_off(lambda: export(source, backend, "copy", batch_size=3), changes):
        steps += 1
        dataset.reload()
        dataset._brain_cache = {}
        copy = export(source, backend, "copy", batch_size=3)
        assert copy.total_index_size == 4
        assert list(vars(copy.config)) == list(vars(dataset.get_brain_info("copy").config))
        assert "alphaclip_unfinished" not in dataset.get_brain_info("copy").config.serialize()
        with pytest.raises(AlphaClipError, match="choose another key"):
            export(source, backend, "copy")
        assert in_database(dataset)[0] == before[0] + 1
        dataset.delete_brain_run("copy")
    assert steps >= 4
    assert not export_folder(dataset, "copy").exists()


def test_export__of_two_processes_to_one_key(
    dataset: fo.Dataset, source: FaissSimilarityIndex
) -> None:
    with writer_lock(export_folder(dataset, "copy")), pytest.raises(StoreBusyError):
        export(source, "sklearn", "copy")
    assert export(source, "sklearn", "copy").total_index_size == 4


def test_export__leaves_the_runs_of_others(
    dataset: fo.Dataset, source: FaissSimilarityIndex
) -> None:
    compute(dataset, embeddings=False, brain_key="empty")
    with pytest.raises(AlphaClipError, match="choose another key"):
        export(source, "sklearn", "empty")
    assert dataset.has_brain_run("empty")


@pytest.mark.parametrize("named", ["vectors", "~/vectors", "/elsewhere/vectors"])
def test_load__of_a_store_that_was_moved_says_where_it_was_looked_for(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str
) -> None:
    make_regions(dataset)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALPHACLIP_STORE", named)
    with pytest.raises(AlphaClipError) as told:
        indexing.load(dataset)
    message = str(told.value)
    assert "has an index 'regions', but its vectors are not in" in message
    assert str(index_folder(dataset, "regions")) in message
    assert f"ALPHACLIP_STORE is {named!r}" in message
    assert ("another folder in each working directory" in message) == (named == "vectors")
    with pytest.raises(AlphaClipError, match="has no index 'other'; it has: none"):
        indexing.load(dataset, "other")


def test_gc__leaves_no_empty_folders(dataset: fo.Dataset, root: Path) -> None:
    (root / ("0" * 24)).mkdir(parents=True)
    (root / str(dataset._doc.id)).mkdir()
    (root / "mine").mkdir()
    remove_empty_folders()
    assert sorted(path.name for path in root.iterdir()) == sorted([str(dataset._doc.id), "mine"])
    folder = make_regions(dataset)
    gone = root / ("1" * 24) / "regions"
    shutil.copytree(folder, gone)
    (orphan,) = orphans()
    remove_orphan(orphan.store_id)
    assert not gone.parent.exists() and folder.exists()
