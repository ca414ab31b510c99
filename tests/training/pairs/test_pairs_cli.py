"""``alphaclip pairs``: exit statuses, and what it says."""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from alphaclip.cli import Command
from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs.cli import add_parsers
from alphaclip.training.pairs.format.reading import open_pairs


def run(*arguments: object) -> int:
    """Runs the command as `alphaclip.cli` does."""
    parser = argparse.ArgumentParser()
    add_parsers(parser.add_subparsers(required=True, parser_class=Command))
    args = parser.parse_args(["pairs", *map(str, arguments)])
    status: int = args.run(args)
    return status


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    """Visual Genome with one picture and two phrases; another picture is missing."""
    folder = tmp_path / "genome"
    (folder / "VG_100K").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "VG_100K" / "1.jpg")
    images = [
        {"image_id": key, "url": f"https://x/VG_100K/{key}.jpg", "width": 40, "height": 30}
        for key in (1, 2)
    ]
    box = {"x": 0, "y": 0, "width": 20, "height": 15}
    regions = [{"region_id": key, "phrase": f"phrase {key}", **box} for key in (5, 6)]
    (folder / "image_data.json").write_text(json.dumps(images))
    (folder / "region_descriptions.json").write_text(
        json.dumps([{"id": key, "regions": regions} for key in (1, 2)])
    )
    return folder


def test_visual_genome__writes_a_set(
    genome: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends by saying what it did and what it left out."""
    assert run("visual-genome", genome, tmp_path / "set") == 0
    said = capsys.readouterr().out
    assert "2 regions with 2 texts in 1 pictures, 1 shards" in said
    assert "items left out: 1 not readable" in said
    assert len(open_pairs(tmp_path / "set", strict=True)) == 2


def test_filters__come_from_the_options(genome: Path, tmp_path: Path) -> None:
    """And with nothing left the exit status is 1."""
    options = ("--per-shard", 3, "--seed", 5, "--least-area", 0.5, "--most-tokens", 9)
    assert run("visual-genome", genome, tmp_path / "set", *options) == 1
    settings = json.loads((tmp_path / "set" / "index.json").read_text())["settings"]
    assert (settings["per_shard"], settings["seed"]) == (3, 5)
    assert settings["filters"]["least_area"] == 0.5
    assert settings["filters"]["most_tokens"] == 9
    assert settings["filters"]["most_area"] == 1.0


@pytest.mark.parametrize("command", ["coco", "refcoco", "visual-genome"])
def test_missing_data__is_an_error(tmp_path: Path, command: str) -> None:
    """`alphaclip` prints it and exits with 1."""
    with pytest.raises(AlphaClipError, match="Get it from"):
        run(command, tmp_path, tmp_path / "set")


def test_setting_out_of_range__is_an_error(genome: Path, tmp_path: Path) -> None:
    """As the library says it."""
    with pytest.raises(AlphaClipError, match="least_area is 7"):
        run("visual-genome", genome, tmp_path / "set", "--least-area", 7)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["check"],
        ["coco", "a", "b", "--shape", "circle"],
        ["show", "a", "--pairs", "0"],
    ],
)
def test_wrong_usage__exits_with_2(
    arguments: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Argparse says how it is used."""
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_check__exits_with_1_where_something_is_wrong(
    small_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The faults go to stderr."""
    assert run("check", small_set) == 0
    assert capsys.readouterr().out == f"{small_set}: no problem(s)\n"
    (small_set / "pairs-000001.tar").unlink()
    assert run("check", small_set) == 1
    said = capsys.readouterr()
    assert said.out == f"{small_set}: 1 problem(s)\n"
    assert "pairs-000001.tar" in said.err


def test_show__prints_pairs_and_draws_them(
    small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them where there are few."""
    assert run("show", small_set, "--sheet", tmp_path / "sheet.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "10 regions in 5 pictures"
    assert lines[1:3] == ["p00/0: left 0", "p00/1: corner 0 | nook"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000
    assert run("show", small_set, "--pairs", 2, "--seed", 3) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_dataset__writes_two_sets(
    dataset_factory: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train and validation."""
    import fiftyone as fo

    made = dataset_factory("cli")
    for number in range(4):
        Image.new("RGB", (40, 30)).save(tmp_path / f"{number}.png")
        box = fo.Detection(label="owl", bounding_box=[0, 0, 0.5, 0.5], note=f"owl {number}")
        things = fo.Detections(detections=[box])
        made.add_sample(fo.Sample(tmp_path / f"{number}.png", things=things))
    options = ("--text", "note", "--validation", 0.25)
    assert run("dataset", made.name, "things", tmp_path / "set", *options) == 0
    said = capsys.readouterr().out
    assert "3 regions" in said and "1 regions" in said
    pairs = open_pairs(tmp_path / "set" / "train", tmp_path / "set" / "validation")
    assert sorted(pair.texts[0] for pair in pairs) == [f"owl {number}" for number in range(4)]


def test_dataset__takes_what_was_reviewed(
    dataset_factory: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two boxes the one that somebody named."""
    import fiftyone as fo

    from alphaclip.indexing.labelling.review.runs import Labelling, add_reviews

    made = dataset_factory("cli")
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    boxes = [fo.Detection(label="thing", bounding_box=[x, 0, 0.5, 0.5]) for x in (0, 0.5)]
    made.add_sample(fo.Sample(str(tmp_path / "a.png"), things=fo.Detections(detections=boxes)))
    Labelling("auto", "regions").save(made)
    add_reviews(made, "auto", {boxes[1].id: "owl"})
    options = ("--reviews", "auto", "--validation", 0)
    assert run("dataset", made.name, "things", tmp_path / "set", *options) == 0
    assert "1 not reviewed" in capsys.readouterr().out
    (pair,) = open_pairs(tmp_path / "set" / "train")
    assert pair.texts == ("owl", "an owl")
