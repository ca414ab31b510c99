"""The benchmark of labels and updates, at a size that says nothing of speed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.database  # The script imports FiftyOne, this file does not


@pytest.mark.parametrize("kind", ["boxes", "polygons", "masks"])
def test_updates__labels(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import updates

    name = f"benchmark-{kind}-{tmp_path.name}"
    options = {"kind": kind, "regions": 400, "work": str(tmp_path), "name": name, "rounds": 1}
    options["only_new"] = False
    try:
        updates.prepare(options)
        assert {"reading", "plan", "ids of half"} == updates.reading(options)["seconds"].keys()
        assert len(updates.keeping(options)["seconds"]) == 4
    finally:
        updates.drop(options)
        sys.modules.pop("updates")


def test_growth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "scale"))
    import growth

    name = f"benchmark-growth-{tmp_path.name}"
    options = {"name": name, "all": 22, "pictures": 11, "work": str(tmp_path)}
    try:
        growth.prepare(options)
        assert growth.build(options)["regions"] == growth.boxes_of(11) == 200
        growth.update(options)
        assert growth.opened(options)["segments"] >= 1
    finally:
        growth.drop(options)
        for module in ("growth", "updates"):
            sys.modules.pop(module)
