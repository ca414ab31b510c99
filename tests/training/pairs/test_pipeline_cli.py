"""The commands of the two pipelines, from tables and folders to sets that open."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from alphaclip.detectors.boxes import FoundBox
from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs import cli
from alphaclip.training.pairs.captions import noun_chunks
from alphaclip.training.pairs.captions.noun_chunks import Phrase
from alphaclip.training.pairs.format.reading import open_pairs
from alphaclip.training.pairs.sources.grit_rows import open_grit, to_parquet

from ...alphaclip.language.tiny_models import write_model
from .conftest import picture_file as picture

CAPTION = "a dog with a red ball"
DOG, BALL, ALL = (0, 5), (11, 21), (0, 21)

Run = Callable[..., int]


@pytest.fixture
def run() -> Run:
    """Runs a command: ``run("grit", ...)``."""
    parser = argparse.ArgumentParser()
    cli.add_commands(parser)

    def call(*words: object) -> int:
        args = parser.parse_args([str(word) for word in words])
        status: int = args.run(args)
        return status

    return call


def grit_row(name: str, *spans: tuple[int, int]) -> dict:
    chunks = [[*span, 0.1, 0.1, 0.6, 0.7 + n / 10, 0.9] for n, span in enumerate(spans)]
    return {"caption": CAPTION, "place": name, "noun_chunks": chunks, "ref_exps": []}


def test_grit__what_is_not_there_is_counted(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "good.jpg").write_bytes(picture(1))
    (tmp_path / "good.png").write_bytes(picture(2, "PNG"))
    (tmp_path / "page").write_bytes(b"<html>")
    rows = [
        grit_row("good.jpg", DOG, BALL),
        grit_row("gone.jpg", DOG),
        grit_row("page", DOG),
        grit_row("good.png", DOG, (0, 99)),
        grit_row("never-read.jpg", (5, 99)),
        grit_row("http://a/1.jpg", DOG),
    ]
    (tmp_path / "grit.parquet").write_bytes(to_parquet(rows))
    words = ("grit", tmp_path / "grit.parquet", tmp_path / "set", "--masks", "box")
    assert run(*words) == 0
    shown = capsys.readouterr().out
    first = (tmp_path / "set" / "pairs-000000.tar").read_bytes()
    (tmp_path / "set" / "pairs-000000.tar").unlink()
    assert run(*words) == 0
    assert (tmp_path / "set" / "pairs-000000.tar").read_bytes() == first
    assert "1 missing" in shown
    assert "1 not a picture" in shown
    assert "1 no phrase kept" in shown
    assert "1 an address, not a file" in shown
    assert "1 span does not fit its caption" in shown
    texts = [pair.texts for pair in open_pairs(tmp_path / "set")]
    assert texts == [("a dog",), ("a red ball",), ("a dog",)]


def test_grit__addresses_are_img2datasets_work(run: Run, tmp_path: Path) -> None:
    row = {**grit_row("", DOG), "url": "http://a/1.jpg"}
    (tmp_path / "grit.parquet").write_bytes(to_parquet([row]))
    with pytest.raises(AlphaClipError, match="names pictures by their addresses") as caught:
        run("grit", tmp_path / "grit.parquet", tmp_path / "set", "--masks", "box")
    words = shlex.split(str(caught.value).splitlines()[2])
    assert words == [
        *("img2dataset", "--url_list", str(tmp_path / "grit.parquet"), "--input_format", "parquet"),
        *("--url_col", "url", "--caption_col", "caption"),
        *("--save_additional_columns", '["id", "noun_chunks", "ref_exps", "license"]'),
        *("--output_format", "webdataset", "--output_folder", str(tmp_path / "grit-shards")),
        *("--resize_mode", "no", "--skip_reencode", "True"),
    ]
    assert not (tmp_path / "set").exists()


def test_captions__written_as_grit_and_read_back(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    class Grounder:
        name = "fake"
        seen = 0

        def ground(self, image: np.ndarray, phrases: Sequence[str]) -> list[list[FoundBox]]:
            Grounder.seen += 1
            return [[FoundBox((0, 0, 0.5, 0.5), 0.8)] if "dog" in p else [] for p in phrases]

    def chunker(caption: str) -> list[Phrase]:
        return [Phrase(DOG, ALL), Phrase(BALL, None)] if caption == CAPTION else []

    monkeypatch.setattr(noun_chunks, "load_chunker", lambda model: (chunker, "fake 1"))
    monkeypatch.setattr(cli, "open_grounder", lambda args: Grounder())
    (tmp_path / "good.jpg").write_bytes(picture(1))
    (tmp_path / "good.png").write_bytes(picture(2, "PNG"))
    table = tmp_path / "laion.csv"
    lines = [f"good.jpg,{CAPTION}", f"gone,{CAPTION}", "good.png,nothing to see"]
    table.write_text("\n".join(["PATH,TEXT", *lines]))
    assert run("captions", table, tmp_path / "grit") == 0
    shown = capsys.readouterr().out
    assert run("captions", table, tmp_path / "grit") == 0
    assert Grounder.seen == 1
    words = ("grit", tmp_path / "grit", tmp_path / "set", "--pictures", tmp_path)
    assert run(*words, "--masks", "box") == 0
    assert "left out: 1 missing, 1 no phrase in the caption" in shown
    (entry,), _ = open_grit(tmp_path / "grit")
    box = [0.0, 0.0, 0.5, 0.5, 0.8]
    assert entry.content["noun_chunks"] == [[*DOG, *box]]
    assert entry.content["ref_exps"] == [[*ALL, *box]]
    assert (entry.content["width"], entry.content["height"]) == (24, 24)
    (pair,) = open_pairs(tmp_path / "set")
    assert pair.texts == (CAPTION, "a dog")
    assert pair.caption == CAPTION


def test_classes__from_a_folder_to_a_set(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image, ImageDraw

    from .classes.test_classes import COLOURS, OUTLINE, WEIGHTS, Colours

    for name, colour in COLOURS.items():
        image = Image.new("RGB", (100, 80), (150, 150, 150))
        ImageDraw.Draw(image).ellipse(OUTLINE, fill=colour)
        (tmp_path / "in" / name).mkdir(parents=True)
        image.save(tmp_path / "in" / name / "a.png")
    monkeypatch.setattr(cli, "open_encoder", lambda args: Colours())
    words = ("classes", tmp_path / "in", tmp_path / "set", "--sam", WEIGHTS, "--points", 4)
    more = ("--device", "cpu", "--least-mask-quality", 0.6, "--least-stability", 0.8)
    assert run(*words, *more) == 0
    pairs = open_pairs(tmp_path / "set")
    assert {pair.label for pair in pairs} == set(COLOURS)
    assert {pair.texts for pair in pairs} == {("red", "a red"), ("blue", "a blue")}
    captioner = write_model("blip", tmp_path / "blip")
    words = (*words[:2], tmp_path / "captioned", *words[3:])
    assert run(*words, *more, "--captioner", captioner) == 0
    for pair in open_pairs(tmp_path / "captioned"):
        assert pair.texts[0].endswith(f", probably {pair.label}")
