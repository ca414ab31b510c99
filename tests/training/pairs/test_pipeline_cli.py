"""The commands of the two pipelines, from tables and folders to sets that open."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from alphaclip.training.pairs import pipeline_cli
from alphaclip.training.pairs.captions import noun_chunks
from alphaclip.training.pairs.captions.grounding import FoundBox
from alphaclip.training.pairs.captions.noun_chunks import Phrase
from alphaclip.training.pairs.format.reading import open_pairs
from alphaclip.training.pairs.sources.grit_rows import open_grit, to_parquet

from .sources.picture_server import PictureServer

CAPTION = "a dog with a red ball"
DOG, BALL, ALL = (0, 5), (11, 21), (0, 21)

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command: ``run("grit", ...)``."""
    monkeypatch.setenv("no_proxy", "*")
    parser = argparse.ArgumentParser()
    pipeline_cli.add_commands(parser.add_subparsers())

    def call(*words: object) -> int:
        args = parser.parse_args([str(word) for word in words])
        status: int = args.run(args)
        return status

    return call


def grit_row(url: str, *spans: tuple[int, int]) -> dict:
    chunks = [[*span, 0.1, 0.1, 0.6, 0.7 + n / 10, 0.9] for n, span in enumerate(spans)]
    return {"caption": CAPTION, "url": url, "noun_chunks": chunks, "ref_exps": []}


def test_grit__what_is_gone_is_counted_and_nothing_is_fetched_twice(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with PictureServer().running() as server:
        rows = [
            grit_row(f"{server.url}/good.jpg", DOG, BALL),
            grit_row(f"{server.url}/gone.jpg", DOG),
            grit_row(f"{server.url}/page", DOG),
            grit_row(f"{server.url}/good.png", DOG, (0, 99)),
            grit_row(f"{server.url}/never-asked.jpg", (5, 99)),
        ]
        (tmp_path / "grit.parquet").write_bytes(to_parquet(rows))
        words = ("grit", tmp_path / "grit.parquet", tmp_path / "set", "--masks", "box")
        assert run(*words, "--allow-private") == 0
        shown = capsys.readouterr().out
        asked = sorted(server.requests)
        assert asked == ["/gone.jpg", "/good.jpg", "/good.png", "/page"]
        (tmp_path / "set" / "pairs-000000.tar").unlink()
        assert run(*words, "--allow-private") == 0
        assert sorted(server.requests) == asked
    assert "1 missing (404)" in shown
    assert "1 not a picture" in shown
    assert "1 no phrase kept" in shown
    assert "1 span does not fit its caption" in shown
    texts = [pair.texts for pair in open_pairs(tmp_path / "set")]
    assert texts == [("a dog",), ("a red ball",), ("a dog",)]


def test_grit__private_addresses_are_refused_unless_allowed(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with PictureServer().running() as server:
        row = grit_row(f"{server.url}/good.jpg", DOG)
        (tmp_path / "grit.parquet").write_bytes(to_parquet([row]))
        assert run("grit", tmp_path, tmp_path / "set", "--masks", "box") == 1
        assert server.requests == []
    assert "1 private address" in capsys.readouterr().out


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
    monkeypatch.setattr(pipeline_cli, "open_grounder", lambda args: Grounder())
    with PictureServer().running() as server:
        table = tmp_path / "laion.csv"
        lines = [f"{server.url}/good.jpg,{CAPTION}", f"{server.url}/gone,{CAPTION}"]
        lines += [f"{server.url}/good.png,nothing to see"]
        table.write_text("\n".join(["URL,TEXT", *lines]))
        assert run("captions", table, tmp_path / "grit", "--allow-private") == 0
        shown = capsys.readouterr().out
        assert run("captions", table, tmp_path / "grit", "--allow-private") == 0
        assert Grounder.seen == 1
        asked = len(server.requests)
        words = ("grit", tmp_path / "grit", tmp_path / "set", "--masks", "box", "--allow-private")
        assert run(*words) == 0
        assert len(server.requests) == asked == 3
    assert "left out: 1 missing (404), 1 no phrase in the caption" in shown
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
    monkeypatch.setattr(pipeline_cli, "open_encoder", lambda args: Colours())
    words = ("classes", tmp_path / "in", tmp_path / "set", "--sam", WEIGHTS, "--points", 4)
    more = ("--device", "cpu", "--least-mask-quality", 0.6, "--least-stability", 0.8)
    assert run(*words, *more) == 0
    pairs = open_pairs(tmp_path / "set")
    assert {pair.label for pair in pairs} == set(COLOURS)
    assert {pair.texts for pair in pairs} == {("red", "a red"), ("blue", "a blue")}
