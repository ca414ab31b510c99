"""The scripts in `examples` do what they say, on the bundled sample."""

import re
import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.database  # The scripts use it.

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def lines_of(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a script prints, run in this process: another one takes long to import everything."""
    capsys.readouterr()
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return [line for line in capsys.readouterr().out.splitlines() if line]


def test_search(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of("search", capsys)
    assert lines[0] == "1046 regions of 320 pictures are indexed"
    titles = ("a red apple", "a tomato, or like the first one", "a red apple, but no stop sign")
    found = {title: hits_after(lines, title) for title in titles}
    assert [len(hits) for hits in found.values()] == [5, 5, 5]
    apples, mixed, avoiding = ([label for _, label in hits] for hits in found.values())
    assert apples[:2] == ["red apple"] * 2 and "stop sign" in apples
    assert {"red apple", "tomato"} <= set(mixed)
    assert "stop sign" not in avoiding and avoiding[:2] == apples[:2]
    scores = [score for score, _ in found[titles[0]]]
    assert scores == sorted(scores, reverse=True)
    assert "tagged: 5 regions, {'check': 5}" in lines
    assert lines[-1] == "taken back: {}"


def hits_after(lines: list[str], title: str) -> list[tuple[float, str]]:
    """Score and label of each hit under a title."""
    start = lines.index(title) + 1
    rows = [re.fullmatch(r"  (\d\.\d{3})  (.+)", line) for line in lines[start : start + 5]]
    return [(float(row[1]), row[2]) for row in rows if row]


def test_label_with_a_promise(capsys: pytest.CaptureFixture[str]) -> None:
    first, second, reason, truth, undone = lines_of("label_with_a_promise", capsys)
    assert re.fullmatch(r"first run: not reachable, \d+ regions wait for review", first)
    written = re.fullmatch(r"second run: done, (\d+) of 1046 regions labelled", second)
    assert written and int(written[1]) > 300
    assert "a share of 0.9 or more is right, with a confidence of 0.9" in reason
    right = re.fullmatch(r"right by the ground truth: (\d+) of (\d+), [\d.]+%", truth)
    assert right and right[2] == written[1]
    assert int(right[1]) / int(right[2]) >= 0.9
    assert undone == f"taken back: {written[1]} labels"


def test_fine_tune(capsys: pytest.CaptureFixture[str]) -> None:
    counts, *gains, found = lines_of("fine_tune", capsys)
    numbers = re.fullmatch(r"trained on (\d+) pairs, measured on (\d+)", counts)
    assert numbers and min(map(int, numbers.groups())) > 100
    for direction, gain in zip(("text to region", "region to text"), gains, strict=True):
        said = r": mAP ([\d.]+) before, ([\d.]+) after, [+-][\d.]+ \[[+-][\d.]+, [+-][\d.]+\]"
        row = re.fullmatch(direction + said, gain)
        assert row, gain
        assert min(float(row[1]), float(row[2])) > 50
    assert found.startswith("with the tuned encoder: [") and found.count("'") == 6
