"""``alphaclip label`` and ``alphaclip tag``, by their exit codes."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import pytest

from alphaclip.indexing.cli.label_cli import add_label_parsers

Command = Callable[..., int]
PICTURES = [[(kind, 0.01 * number) for kind in range(3)] for number in range(30)]


@pytest.fixture
def dataset(
    make_dataset: Callable, make_index: Callable, monkeypatch: pytest.MonkeyPatch
) -> fo.Dataset:
    dataset = make_dataset(PICTURES)
    toy = make_index(dataset).encoder
    monkeypatch.setattr("alphaclip.encoder.load._shared_encoder", lambda *_: toy)
    return dataset


@pytest.fixture
def run() -> Command:
    parser = argparse.ArgumentParser()
    add_label_parsers(parser.add_subparsers())

    def call(*arguments: object) -> int:
        args = parser.parse_args([str(argument) for argument in arguments])
        return int(args.run(args))

    return call


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(["ant", {"name": "bee", "prompts": ["bee"]}, "cat"]))
    return path


def test_label__waits_then_is_done_then_sees_a_change(
    dataset: fo.Dataset,
    make_dataset: Callable,
    run: Command,
    classes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    from alphaclip.indexing import load

    given = ("label", dataset.name, "regions", "--classes", classes, "--precision", 0.9)
    assert run(*given) == 3
    assert "not reviewed" in capsys.readouterr().out
    done = (*given, "--reviews", "boxes.truth", "--report", tmp_path / "report")
    assert run(*done, "--html", tmp_path / "page.html") == 0
    assert "at least 90 % of them right" in (tmp_path / "page.html").read_text("utf-8")
    assert dataset.count("auto.detections") == 90
    values = json.loads((tmp_path / "report" / "labels.json").read_text("utf-8"))
    assert values["outcome"] == "done" and values["promise"]["precision"] == 0.9
    make_dataset.add(dataset, [[(0, 0.45), (0, 0.44)] for _ in range(40)])
    load(dataset).update(progress=lambda *_: None)
    assert run(*given, "--new-only") == 4
    assert "not like the reviewed ones" in capsys.readouterr().out
    assert dataset.count("auto.detections") == 90


def test_label__again_until_the_promise_is_kept(
    dataset: fo.Dataset, run: Command, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    classes = tmp_path / "swapped.json"
    swapped = [{"name": "ant", "prompts": ["bee"]}, {"name": "bee", "prompts": ["ant"]}]
    classes.write_text(json.dumps([*swapped, "cat"]))
    given = ("label", dataset.name, "regions", "--classes", classes, "--precision", 0.6)
    done = (*given, "--sample", 30, "--reviews", "boxes.truth")
    assert run(*done) == 3
    assert "label again: test 2 takes 30 answers" in capsys.readouterr().out
    assert run(*done) == 0
    assert dataset.count("auto.detections") == 90
    assert run(*given, "--sample", 30, "--retrain") == 3
    assert "30 more of the random sample are reviewed" in capsys.readouterr().out


def test_label__answers_in_files(
    dataset: fo.Dataset, run: Command, classes: Path, tmp_path: Path
) -> None:
    paths = [f"boxes.detections.{name}" for name in ("id", "truth")]
    truth = dict(zip(*dataset.values(paths, unwind=True), strict=True))
    reviews = tmp_path / "reviews.json"
    reviews.write_text(json.dumps(truth))
    given = ("label", dataset.name, "regions", "--classes", classes)
    assert run(*given, "--precision", 0.9, "--reviews", reviews) == 0
    reviews.write_text(json.dumps([1]))
    assert run(*given, "--precision", 0.9, "--reviews", reviews) == 2


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ('["ant", "ant"]', (), "two classes"),
        ("{", (), "cannot be read as JSON"),
        ('["ant"]', ("--precision", "1"), "cannot be tested"),
        ('["ant"]', ("--into", "boxes"), "own field"),
        ('["ant"]', ("--reviews", "elsewhere.label"), "own field"),
        ('["ant"]', ("--training", "missing.json"), "cannot be read"),
        ('["ant"]', ("--mode", "promise"), "precision is None"),
        ('["ant"]', ("--html", "."), "a folder: name a file"),
    ],
)
def test_label__usage(
    dataset: fo.Dataset,
    run: Command,
    classes: Path,
    content: str,
    options: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture,
) -> None:
    classes.write_text(content)
    assert run("label", dataset.name, "regions", "--classes", classes, *options) == 2
    assert message in capsys.readouterr().err


def test_label__into_what_another_index_labels(
    dataset: fo.Dataset, run: Command, classes: Path, capsys: pytest.CaptureFixture
) -> None:
    from alphaclip.indexing.labelling.review.runs import Labelling

    Labelling("auto", "other").save(dataset)
    assert run("label", dataset.name, "regions", "--classes", classes) == 2
    assert "labelled from index 'other'" in capsys.readouterr().err


def test_label__no_such_dataset_or_index(dataset: fo.Dataset, run: Command, classes: Path) -> None:
    assert run("label", "nowhere", "regions", "--classes", classes) == 2
    assert run("label", dataset.name, "other", "--classes", classes) == 2


def test_tag__and_again(dataset: fo.Dataset, run: Command, capsys: pytest.CaptureFixture) -> None:
    given = ("tag", dataset.name, "regions", "ant", "--tag", "ants")
    assert run(*given, "--min-score", 0.9) == 0
    assert "30 regions tagged 'ants', 0 had it" in capsys.readouterr().out
    assert dataset.count_label_tags() == {"ants": 30}
    assert run(*given, "--min-score", 0.9, "--samples", "--new-only") == 0
    assert "30 pictures" in capsys.readouterr().out
    assert run(*given, "--min-score", 9) == 2
    assert "expected a cosine" in capsys.readouterr().err
