"""Every benchmark runs, at a size that says nothing: all in one process, which imports once."""

from __future__ import annotations

import importlib
import json
import runpy
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alphaclip.catalog import zoo
from alphaclip.indexing.dataset import samples

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = [path for path in sorted(FOLDER.rglob("*.py")) if "if __name__ ==" in path.read_text()]
NANO = "alphaclip-nano"
CELL = """<annotation><size><width>80</width><height>60</height></size>{}</annotation>"""
CELLS = """<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>5</ymin><xmax>{}</xmax>
<ymax>50</ymax></bndbox></object>"""


@pytest.fixture(scope="module", autouse=True)
def imported() -> Iterator[None]:
    """Lets the scripts import each other; in the end forgets them, and the threads they set."""
    import torch

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER / "app"))
        patch.syspath_prepend(str(FOLDER))
        before = set(sys.modules)
        yield
        for name in {path.stem for path in FOLDER.rglob("*.py")} - before:
            sys.modules.pop(name, None)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the bundled scenes that share a thing, as a sample of its own."""
    folder = tmp_path_factory.mktemp("sample")
    listing = json.loads((samples.FOLDER / "scenes.json").read_text())
    names = [{region["label"] for region in scene["regions"]} for scene in listing["scenes"]]
    ((most, _),) = Counter(name for some in names for name in some).most_common(1)
    pairs = zip(listing["scenes"], names, strict=True)
    listing["scenes"] = [scene for scene, some in pairs if most in some][:8]
    for scene in listing["scenes"]:
        target = folder / scene["image"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(samples.FOLDER / scene["image"], target)
    (folder / "scenes.json").write_text(json.dumps(listing))
    return folder


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blood cells, as BCCD has them, on noise."""
    folder, rng = tmp_path_factory.mktemp("cells"), np.random.default_rng(0)
    for name in ("images", "annotations"):
        (folder / name).mkdir()
    for number in range(6):
        pixels = rng.integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        kinds = ("RBC", "RBC", "WBC", "Platelets")
        own = "".join(CELLS.format(kind, 15 * i, 15 * i + 20) for i, kind in enumerate(kinds))
        (folder / "annotations" / f"{number}.xml").write_text(CELL.format(own))
    return folder


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, scenes: Path) -> Callable[..., ModuleType]:
    """Imports a script, sets some of its names, and lets its steps and its sample be small."""

    def run(script: str, step: str, options: Mapping[str, Any], python: str = "") -> dict[str, Any]:
        module = importlib.import_module(Path(script).stem)
        figures = getattr(module, step)(json.loads(json.dumps(dict(options))))
        return {"peak_memory": 1, **json.loads(json.dumps(figures))}

    def module_of(name: str, **names: Any) -> ModuleType:
        module = importlib.import_module(name)
        usual = {"run_step": run, "FOLDER": scenes, "load_sample": partial(of_tests, scenes)}
        for key, value in {
            **{k: v for k, v in usual.items() if hasattr(module, k)},
            **names,
        }.items():
            monkeypatch.setattr(module, key, value)
        return module

    of_tests = samples.load_sample
    monkeypatch.setattr(samples, "load_sample", partial(of_tests, scenes))
    return module_of


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Calls a script's main as from a command line; returns what it printed."""

    def called(module: ModuleType, *arguments: object) -> str:
        words = [str(one) for one in arguments]
        monkeypatch.setattr(sys, "argv", [str(module.__file__), *words])
        takes = module.main.__code__.co_argcount
        assert not (module.main(words) if takes else module.main())
        return capsys.readouterr().out

    return called


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage:")


def test_index__and_its_parts(load: Callable, call: Callable, tmp_path: Path) -> None:
    """Brain, search with its systems, and updates."""
    index = load("index", QUICK=160)
    load("brain", LOADS=1)
    load("search", BUDGET=0.0, FILTERED_BUDGET=0.0, BATCH_BUDGET=0.0, QUERIES=64)
    load("updates", PER_PICTURE=10)
    text = call(index, "--quick", "--output", tmp_path / "out", "--work", tmp_path)
    assert "failed" not in text
    for part in ("A 125", "B 6,250", "C filter", "D update"):
        assert f"| {part}" in text


def test_search__opening(
    load: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    search = load("search", _asked=lambda _, options: search.turn(options.work, options.count))
    command = ["search.py", "--work", tmp_path, "--count", "3000", "--turns", "1"]
    monkeypatch.setattr(sys, "argv", [*map(str, command)])
    assert search.opening() == 0
    text = capsys.readouterr().out
    for name in ("first answer", "of 1 %", "histogram", "all above a score"):
        assert f"| {name} " in text


def test_large(load: Callable, call: Callable, tmp_path: Path) -> None:
    text = call(load("large"), "--work", tmp_path, "--counts", "2000", "--dim", "32")
    for kind in ("spread     | plain", "calibrated | residual"):
        assert f"| 2,000   | {kind}" in text
    assert not list(tmp_path.rglob("vectors.npy"))


def test_encoders(load: Callable, call: Callable) -> None:
    encoders = load("encoders", BUDGET=0.01, COUNTS=(1, 2))
    random = f"random:{zoo.NANO_FOLDER / 'alphaclip-nano.json'}+near+maskattn"
    ways = ["--precision", "fp32", "--cpu", "--encoder", NANO, random]
    assert len(call(encoders, *ways).splitlines()) == 5
    tiny = ["--cutting", "--sizes", "64x48", "--counts", "1", "3", "--seconds", "0"]
    rows = call(encoders, *tiny).splitlines()[2:]
    kinds = [row.split(" | ")[0] for row in rows]
    assert kinds == ["| 64x48 box", "| 64x48 mask", "| 64x48 polygon"]
    queries = ["--queries", "2", "--encoder", NANO, "--counts", "2", "--rounds", "1"]
    assert len(call(encoders, *queries).splitlines()) == 3
    turns = ["--in-turn", "--encoder", NANO, "--batch", "2", "--rounds", "1"]
    ways = [row.strip("| ").split("|") for row in call(encoders, *turns).splitlines()[2:]]
    assert [way[0].strip() for way in ways][:2] == ["plain", "fp32"]
    assert min(float(way[3]) for way in ways) >= 0.999


def test_scenes_and_training(
    load: Callable, call: Callable, disc_drawings: Path, tmp_path: Path
) -> None:
    held_out = call(load("held_out_scenes", SCENES=2), disc_drawings, tmp_path)
    assert held_out.count("2 pictures") == 2
    pairs = tmp_path / "pairs"
    assert "pairs" in call(load("scene_pairs"), disc_drawings, pairs, "--scenes", 3)
    training = load("training", SKIPPED=0)
    steps = {"ours": training.ours, "open_clip": lambda _: {"per_second": 1.0, "peak_memory": 1}}
    training = load(
        "training", run_step=lambda _, step, asked: {"peak_memory": 1} | steps[step](asked)
    )
    text = call(training, pairs, "--batch", 2, "--steps", 5, "--workers", 0)
    assert "alphaclip train" in text


def test_finetune_tables(
    load: Callable, call: Callable, disc_drawings: Path, tmp_path: Path
) -> None:
    """The base only: no fine-tune."""
    import torch
    from open_clip import CLIP

    from recipes.nano.training import NANO_FOLDER

    tables = load("finetune_tables", SCENES=2)
    config = json.loads((NANO_FOLDER / "alphaclip-nano.json").read_text("utf-8"))
    state = {f"model.{name}": value for name, value in CLIP(**config).state_dict().items()}
    torch.save({"model": state}, tmp_path / "base.pt")
    (tmp_path / "drawings").symlink_to(disc_drawings)
    tables.run_all(tmp_path, tmp_path / "out", [], 1, 0)
    assert "| base | 1 |" in call(tables, "table", tmp_path / "out")


def test_closed_loop(load: Callable, call: Callable, disc_drawings: Path, tmp_path: Path) -> None:
    """Without reviews, which need many regions, and with nano for its fine-tune."""
    gain = SimpleNamespace(before=1.0, after=2.0, said="better")
    done = SimpleNamespace(
        model=NANO, gains={"text to region": gain}, trained_on=1, skipped={}, held_out=1
    )
    sizes = {"SEEDS": (0,), "RESAMPLES": 3, "SCENES": 8, "THINGS": 10}
    instead = {"_review": lambda *_: 0, "_finetuned": lambda *_: done}
    loop = load("closed_loop", **sizes, **instead)
    call(loop, "run", disc_drawings, tmp_path, tmp_path / "out", "--only", "unseen artist")
    assert "| unseen artist | 0 |" in call(loop, "table", tmp_path / "out")


def test_feedback(
    load: Callable, call: Callable, disc_drawings: Path, cells: Path, tmp_path: Path
) -> None:
    load("pictures")
    feedback = load("feedback", SCENES=2, LEAST=1, GROUP=1)
    text = call(feedback, disc_drawings, cells, "--work", tmp_path)
    assert text.count("| drawn scenes, hard | 1 |") == 2


def test_labelling(load: Callable, call: Callable, cells: Path, tmp_path: Path) -> None:
    load("pictures")
    sizes = {"REVIEWED": (0, 10), "SEEDS": 1, "RUNS": 2, "SAMPLES": (5,)}
    labelling = load("labelling", **sizes, TRAINED={"scenes": 20, "cells": 10})
    text = call(labelling, cells, "--work", tmp_path, "--figure", tmp_path / "figure.png")
    assert [line.split()[0] for line in text.splitlines()] == ["scenes", "cells"]


def test_label_errors(load: Callable, call: Callable, cells: Path) -> None:
    script = load("label_errors", SEEDS=(0,))
    assert "cells, 5 % at random" in call(script, cells)
    faults = call(script, "--faults", "--seeds", "1")
    kinds = [row.split("|")[1].strip() for row in faults.splitlines()[2:]]
    assert kinds == ["missing", "drawn badly", "doubled"]


def test_thresholds(load: Callable, call: Callable) -> None:
    assert len(call(load("thresholds")).splitlines()) == 4
    assert len(call(load("thresholds"), "--captions").splitlines()) == 6


@pytest.mark.usefixtures("installed_plugin")
def test_panel(load: Callable, call: Callable, tmp_path: Path) -> None:
    class Encoder:
        def __init__(self, source: Any) -> None:
            self.queries = source.queries(1000, draw=0)

        def encode_text(self, prompts: list[str]) -> np.ndarray:
            return self.queries[: len(prompts)]

        recall_text = encode_text

    panel = load("panel", SIDE=(64, 48), QUERIES=1, QUICK=96, TextEncoder=Encoder)
    text = call(panel, tmp_path, "--quick")
    assert "| search in a view, its first |" in text
