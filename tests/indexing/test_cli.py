"""What the indexing house adds to ``alphaclip doctor``."""

import pytest
from alphaclip.indexing.cli import checks

from alphaclip.doctor import Check


def found() -> dict[str, Check]:
    return {check.name: check for check in checks()}


def test_checks__database_and_versions() -> None:
    checked = found()
    assert {name: check.status for name, check in checked.items()} == {
        "fiftyone": "ok",
        "pyarrow": "ok",
        "database": "ok",
        "faiss": "ok",
    }
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
