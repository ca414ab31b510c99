"""What the indexing house adds to ``alphaclip doctor``."""

from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest

from alphaclip.cli.doctor import Check
from alphaclip.indexing.cli.commands import checks
from alphaclip.indexing.dataset.locations import store_id
from alphaclip.indexing.similarity import FaissSimilarityConfig


@pytest.fixture(autouse=True)
def empty_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No store of another test."""
    monkeypatch.setenv("ALPHACLIP_STORE", str(tmp_path))


def found() -> dict[str, Check]:
    return {check.name: check for check in checks()}


def test_checks__database_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphaclip.weights.hub.try_to_load_from_cache", lambda *names: None)
    checked = found()
    assert {name: check.status for name, check in checked.items()} == {
        "fiftyone": "ok",
        "pyarrow": "ok",
        "database": "ok",
        "faiss": "ok",
        "indexes": "ok",
        "detector of words": "warn",
    }
    assert "--install" in checked["detector of words"].advice
    assert checked["database"].detail.startswith("MongoDB ")


def test_checks__database_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ConnectionError("nobody listens")

    monkeypatch.setattr("fiftyone.core.odm.get_db_conn", refuse)
    database = found()["database"]
    assert database.status == "missing"
    assert "nobody listens" in database.detail
    assert "FIFTYONE_DATABASE_URI" in database.advice


def test_checks__no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ConnectionError("cannot reach mongodb+srv://me:secret@host/db")

    monkeypatch.setattr("fiftyone.core.odm.get_db_conn", refuse)
    assert "cannot reach mongodb+srv://***@host/db" in found()["database"].detail


def test_checks__stores_of_deleted_datasets(
    dataset_factory: Callable[[], fo.Dataset], capsys: pytest.CaptureFixture
) -> None:
    from alphaclip.cli import main

    dataset = dataset_factory()
    vectors = np.eye(3, dtype=np.float32)
    dataset.add_samples([fo.Sample(f"{i}.png") for i in range(3)])
    fob.compute_similarity(
        dataset, embeddings=vectors, backend=FaissSimilarityConfig, brain_key="given"
    )
    store = store_id(dataset, "given")
    dataset.delete()
    assert found()["indexes"].status == "warn"
    assert "1 stores in" in found()["indexes"].detail
    assert main(["index", "gc"]) == 0
    assert store in capsys.readouterr().out
    assert main(["index", "gc", "--delete"]) == 0
    assert found()["indexes"].status == "ok"
