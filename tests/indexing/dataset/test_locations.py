"""Where stores are, who may write to them, and which nobody uses any more."""

import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.files import writer_lock
from alphaclip.indexing.dataset.garbage import orphans, remove_orphan
from alphaclip.indexing.dataset.locations import (
    KeyNameError,
    check_key,
    index_folder,
    index_keys,
    own_folder,
    remove_index,
    store_folder,
    store_id,
    store_root,
)
from alphaclip.indexing.similarity import register_run
from alphaclip.indexing.store.store import open_store, writing

from ..brain_data import DIM, compute, images, publish, vectors

ID = "0" * 24


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALPHACLIP_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def dataset(dataset_factory: Callable) -> fo.Dataset:
    return images(dataset_factory, 4)


def make_regions(dataset: fo.Dataset, key: str) -> Path:
    """What a build leaves: a store, and a run that names it."""
    folder = own_folder(dataset, key)
    publish(folder)
    register_run(dataset, key, store_id(dataset, key), "alphaclip-nano", "gt")
    return folder


def age(folder: Path, days: float) -> None:
    then = time.time() - days * 86400
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (then, then))


def test_store_root__is_in_fiftyones_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALPHACLIP_STORE")
    assert store_root() == Path(fo.config.default_dataset_dir) / "alphaclip"


@pytest.mark.parametrize(
    "store",
    [
        "", "regions", "a/regions", ID, f"../{ID}", f"{ID}/..", "/etc/passwd", f"{ID}/a/../../b",
        f"{ID}/a\n", f"{ID}/A", f"{ID}\\a", f"{ID}//a",
    ],
)  # fmt: skip
def test_store_folder__is_never_outside_the_root(store: str) -> None:
    with pytest.raises(KeyNameError):
        store_folder(store)


def test_store_folder__is_in_the_root(root: Path) -> None:
    assert store_folder("0" * 24 + "/a_1") == root / ("0" * 24) / "a_1"


@pytest.mark.parametrize("key", ["../up", "", "a b", "1", "a/b", "a" * 65, "Upper"])
def test_check_key__refuses_what_is_no_plain_name(dataset: fo.Dataset, key: str) -> None:
    with pytest.raises(KeyNameError, match="key is"):
        check_key(dataset, key)


def test_check_key__refuses_runs_of_others(dataset: fo.Dataset) -> None:
    import fiftyone.brain as fob

    fob.compute_similarity(dataset, embeddings=vectors(4), backend="sklearn", brain_key="theirs")
    compute(dataset, embeddings=vectors(4), brain_key="given")
    make_regions(dataset, "regions")
    with pytest.raises(KeyNameError, match="SklearnSimilarityConfig"):
        check_key(dataset, "theirs")
    with pytest.raises(KeyNameError, match="embeddings that were given"):
        check_key(dataset, "given")
    check_key(dataset, "regions")
    check_key(dataset, "new")


def test_index_folder__is_that_of_the_dataset_and_key(dataset: fo.Dataset, root: Path) -> None:
    assert index_folder(dataset, "regions") == root / str(dataset._doc.id) / "regions"
    with pytest.raises(KeyNameError):
        index_folder(dataset, "../regions")


def test_store_id__goes_with_the_run_when_it_is_renamed(dataset: fo.Dataset) -> None:
    folder = make_regions(dataset, "regions")
    dataset.rename_brain_run("regions", "boxes")
    assert index_folder(dataset, "boxes") == folder
    assert index_folder(dataset, "regions") == folder.with_name("regions_2")
    assert make_regions(dataset, "regions") == folder.with_name("regions_2")
    assert index_folder(dataset, "third").name == "third"
    dataset.rename_brain_run("regions", "third")
    assert index_folder(dataset, "regions").name == "regions_3"
    assert index_keys(dataset) == ["boxes", "third"]


def test_store_id__of_runs_of_the_first_version_is_their_key(dataset: fo.Dataset) -> None:
    from fiftyone.core.brain import BrainMethod

    folder = make_regions(dataset, "regions")
    config = dataset.get_brain_info("regions").config
    config.store = None
    BrainMethod.update_run_config(dataset, "regions", config)
    assert index_folder(dataset, "regions") == folder
    dataset.rename_brain_run("regions", "boxes")
    assert index_folder(dataset, "boxes") == folder


def test_index_keys__lists_regions_only(dataset: fo.Dataset) -> None:
    assert index_keys(dataset) == []
    make_regions(dataset, "b")
    compute(dataset, embeddings=vectors(4), brain_key="given")
    compute(dataset, embeddings=False, brain_key="empty")
    publish(index_folder(dataset, "a"))
    publish(index_folder(dataset, "c"), kind="external")
    index_folder(dataset, "d").mkdir()
    assert index_keys(dataset) == ["a", "b"]
    assert index_keys(dataset.limit(1)._root_dataset) == ["a", "b"]


def test_remove_index__is_safe_to_repeat(dataset: fo.Dataset) -> None:
    folder = make_regions(dataset, "regions")
    dataset.delete_brain_run("regions")
    assert not folder.exists()
    remove_index(dataset, "regions")
    assert index_keys(dataset) == []


def test_remove_index__leaves_what_a_clone_reads(dataset: fo.Dataset) -> None:
    folder = make_regions(dataset, "regions")
    clone = dataset.clone()
    remove_index(clone, "regions")
    assert folder.exists()
    dataset.delete_brain_run("regions")
    assert len(open_store(index_folder(clone, "regions"))) == 4
    assert index_keys(dataset) == []
    assert orphans() == []
    clone.delete_brain_run("regions")
    age(folder, 2)
    assert [orphan.store_id for orphan in orphans()] == [f"{dataset._doc.id}/regions"]
    fo.delete_dataset(clone.name)


def test_own_folder__copies_for_a_clone(dataset: fo.Dataset) -> None:
    folder = make_regions(dataset, "regions")
    with writing(folder) as writer:
        (segment,) = writer.base.segments
        kept = segment.keeping(np.array([True, False, True, True]))
        writer.publish([kept], DIM, np.dtype(np.float16), writer.base.info)
    assert own_folder(dataset, "regions") == folder
    clone = dataset.clone()
    assert index_folder(clone, "regions") == folder
    copied = own_folder(clone, "regions")
    assert copied == store_folder(f"{clone._doc.id}/regions") == own_folder(clone, "regions")
    first, second = open_store(folder), open_store(copied)
    assert second.ids.label_ids.tolist() == first.ids.label_ids.tolist()
    assert second.info == first.info
    names = [segment.name for segment in second.segments]
    assert all((folder / name).samefile(copied / name) for name in names)
    clone.reload()
    assert clone.get_brain_info("regions").config.store == f"{clone._doc.id}/regions"
    fo.delete_dataset(clone.name)
    assert len(open_store(folder)) == 3


def test_own_folder__of_a_clone_that_has_nothing_to_copy(dataset: fo.Dataset) -> None:
    compute(dataset, embeddings=False, brain_key="empty")
    clone = dataset.clone()
    copy = clone.load_brain_results("empty")
    copy.add_to_index(vectors(4), clone.values("id"))
    assert copy.total_index_size == 4
    assert dataset.load_brain_results("empty").total_index_size == 0
    fo.delete_dataset(clone.name)


def test_orphans__are_those_of_deleted_datasets(dataset_factory: Callable) -> None:
    dataset = images(dataset_factory, 4)
    folder = make_regions(dataset, "regions")
    store = store_id(dataset, "regions")
    assert orphans() == []
    fo.delete_dataset(dataset.name)
    (orphan,) = orphans()
    assert orphan.store_id == store
    assert orphan.bytes == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert datetime.now(timezone.utc) - orphan.modified < timedelta(minutes=5)
    remove_orphan(store)
    assert not folder.parent.exists()
    assert orphans() == []
    with pytest.raises(AlphaClipError, match="not an orphan"):
        remove_orphan(store)


def test_orphans__leave_alone_what_may_be_gone_on_with(dataset: fo.Dataset) -> None:
    folder = index_folder(dataset, "regions")
    publish(folder)
    assert orphans() == []
    age(folder, 2)
    with writer_lock(folder):
        age(folder, 2)
        assert orphans() == []
    age(folder, 2)
    assert len(orphans()) == len(orphans()) == 1
    register_run(dataset, "regions", store_id(dataset, "regions"), "alphaclip-nano", "gt")
    assert orphans() == []
    with pytest.raises(AlphaClipError, match="used"):
        remove_orphan(store_id(dataset, "regions"))


def test_orphans__are_stores_only(root: Path) -> None:
    assert orphans() == []
    (root / "elsewhere" / "regions").mkdir(parents=True)
    (root / ("0" * 24)).mkdir()
    (root / ("0" * 24) / "file").write_text("")
    assert orphans() == []
