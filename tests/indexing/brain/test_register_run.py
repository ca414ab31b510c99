"""Runs that are registered while another thread loads the dataset anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fiftyone as fo
import pytest
from fiftyone.core.odm import get_db_conn

from alphaclip.indexing import similarity
from alphaclip.indexing.dataset.locations import own_folder, store_id
from alphaclip.indexing.similarity import FaissSimilarity, register_run

from ..brain_data import patches, publish


@pytest.fixture
def dataset(dataset_factory: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ALPHACLIP_STORE", str(tmp_path / "store"))
    dataset = patches(dataset_factory, [2, 2])
    publish(own_folder(dataset, "regions"))
    return dataset


def registered(dataset: fo.Dataset, model: str = "alphaclip-nano") -> Any:
    register_run(dataset, "regions", store_id(dataset, "regions"), model, "gt")
    return dataset.get_brain_info("regions")


def in_database(dataset: fo.Dataset) -> list[str]:
    dataset.reload()
    return dataset.list_brain_runs()


def test_register__twice_writes_once(dataset: fo.Dataset) -> None:
    first = registered(dataset)
    assert first.config.patches_field == "gt"
    assert registered(dataset).timestamp == first.timestamp
    assert dataset.load_brain_results("regions").total_index_size == 4


def test_register__another_model_is_written(dataset: fo.Dataset) -> None:
    registered(dataset)
    assert registered(dataset, "alphaclip-vit-b16-grit1m").config.model.endswith("grit1m")
    assert in_database(dataset) == ["regions"]


def test_register__without_results_is_registered_again(dataset: fo.Dataset) -> None:
    registered(dataset)
    FaissSimilarity.save_run_results(dataset, "regions", None)
    assert dataset.load_brain_results("regions") is None
    registered(dataset)
    assert dataset.load_brain_results("regions").total_index_size == 4


@pytest.mark.parametrize("what", ["is forgotten", "fails"])
def test_register__while_the_dataset_is_loaded_anew(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """As another thread's load between the lines of FiftyOne's ``save_run_info``."""
    saves = []

    def anew_then_save(self: fo.Dataset) -> None:
        saves.append(1)
        if len(saves) == 1:
            if what == "fails":
                raise ReferenceError("weakly-referenced object no longer exists")
            self._reload(hard=True)
        self._save()

    monkeypatch.setattr(fo.Dataset, "save", anew_then_save)
    assert registered(dataset).config.model == "alphaclip-nano"
    assert saves
    assert get_db_conn()["runs"].count_documents({"_dataset_id": dataset._doc.id}) == 1
    assert in_database(dataset) == ["regions"]
    assert dataset.load_brain_results("regions").total_index_size == 4


def test_register__what_never_works_says_so(
    dataset: fo.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise ValueError("no run of this kind")

    monkeypatch.setattr(similarity, "_save_run", refuse)
    with pytest.raises(ValueError, match="of this kind"):
        registered(dataset)
