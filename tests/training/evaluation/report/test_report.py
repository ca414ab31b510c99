"""Outcomes on the disk and side by side."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from alphaclip.errors import AlphaClipError
from alphaclip.training.evaluation.outcomes import Outcome, Row, load_outcomes, save_outcome
from alphaclip.training.evaluation.report.names import code, markdown
from alphaclip.training.evaluation.report.report import write_report
from alphaclip.training.evaluation.report.tables import make_tables


def outcome(encoder: str, right: int, **kwargs: object) -> Outcome:
    """Twenty regions of ten pictures, the first ``right`` of them right."""
    rows = tuple(
        Row(f"r{i:02d}", f"p{i // 2}", float(i < right), "x", "yx"[i < right], 0.5,
            "small" if i % 2 else "large")
        for i in range(20)
    )  # fmt: skip
    metrics = {"top-1": 5.0 * right, "top-5": 90.0, "top-1 small": 1.0, "regions": 20.0}
    settings = {"setting": "own view", "templates": ["a {}"], "limit": None}
    made = Outcome("regions", "set", encoder, metrics, rows, settings, ("one line",), "top-1")
    return replace(made, **kwargs)


def test_outcome_files__bring_back_what_was_saved(tmp_path: Path) -> None:
    odd = Row("r", "p", 1.0, 'say "ähm"', "|", float("nan"), "")
    saved = outcome("a/b & c", 12, rows=(*outcome("a", 12).rows, odd))
    saved = replace(saved, metrics={**saved.metrics, "nothing": float("nan")})
    save_outcome(tmp_path, saved, 0)
    (found,) = load_outcomes(tmp_path)
    assert repr(found) == repr(saved)


def test_outcome_files__are_strict_json(tmp_path: Path) -> None:
    path = save_outcome(tmp_path, outcome("a", 3, metrics={"top-1": float("nan")}), 0)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    content = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert content["metrics"] == {"top-1": None}


def test_load_outcomes__merges_runs_in_the_order_of_their_encoders(tmp_path: Path) -> None:
    for run, names in (("one", ["b", "a"]), ("two", ["b", "c"])):
        for order, name in enumerate(names):
            save_outcome(tmp_path / run, outcome(name, 9), order)
    assert [found.encoder for found in load_outcomes(tmp_path)] == ["b", "a", "c"]


def test_load_outcomes__a_later_run_replaces_its_own_file(tmp_path: Path) -> None:
    save_outcome(tmp_path, outcome("a", 9), 0)
    save_outcome(tmp_path, outcome("a", 8), 0)
    assert [found.metrics["top-1"] for found in load_outcomes(tmp_path)] == [40.0]


def test_load_outcomes__runs_that_disagree_are_named(tmp_path: Path) -> None:
    save_outcome(tmp_path / "one", outcome("a", 9), 0)
    save_outcome(tmp_path / "two", outcome("a", 8), 0)
    with pytest.raises(AlphaClipError, match=r"one.*two.*disagree on a"):
        load_outcomes(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1}', "is damaged"),
        ('{"format": 2}', "another version"),
    ],
)
def test_load_outcomes__damaged_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    save_outcome(tmp_path, outcome("a", 9), 0).write_text(content, "utf-8")
    with pytest.raises(AlphaClipError, match=message):
        load_outcomes(tmp_path)


def test_load_outcomes__empty_folder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(AlphaClipError, match="alphaclip eval TASK"):
        load_outcomes(tmp_path)


def test_make_tables__compares_with_the_first_and_by_size() -> None:
    (table,) = make_tables([outcome("z", 10), outcome("a", 16)])
    assert [line.outcome.encoder for line in table.lines] == ["z", "a"]
    assert table.lines[0].difference is None
    assert table.lines[1].difference.value == pytest.approx(30.0)
    assert table.groups == ["small", "large"]
    assert table.lines[1].groups["small"].value == 80.0


def test_make_tables__one_for_each_set_and_setting() -> None:
    other = outcome("a", 3, settings={"setting": "other"})
    tables = make_tables([outcome("a", 3), other, outcome("a", 3, set="b"), outcome("c", 3)])
    assert [(t.set, t.setting, len(t.lines)) for t in tables] == [
        ("b", "own view", 1),
        ("set", "other", 1),
        ("set", "own view", 2),
    ]


def test_write_report__table_has_intervals_differences_and_published_figures(
    tmp_path: Path,
) -> None:
    clip, alpha = (
        outcome(name, right, task="imagenet-s", set="imagenet-s-919",
                settings={"setting": "mask alpha, paper names", "limit": None})
        for name, right in (("openclip:ViT-L-14-quickgelu/openai", 10),
                            ("alphaclip-vit-l14-grit20m", 20))
    )  # fmt: skip
    write_report(tmp_path, [clip, alpha])
    page = (tmp_path / "report.md").read_text("utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    assert lines[0].startswith("| `openclip:ViT-L-14-quickgelu/openai` | 50.00 [20.00, 80.00] |  |")
    assert lines[0].endswith("| 73.48 |")
    assert "| 100.00 [100.00, 100.00] | **+50.00 [+20.00, +80.00]** |" in lines[1]
    assert lines[1].endswith("| 77.41 |")
    assert "one line" in page
    assert "MaskCLIP* ViT-L/14" in page
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert content[0]["encoders"][1]["published"] == 77.41
    assert content[0]["encoders"][1]["difference"]["value"] == 50.0


def test_write_report__difference_that_may_be_nothing_is_not_bold(tmp_path: Path) -> None:
    mixed = outcome("b", 10, rows=tuple(
        replace(row, correct=float(int(row.id[1:]) in range(1, 12))) for row in outcome("b", 0).rows
    ))  # fmt: skip
    write_report(tmp_path, [outcome("a", 10), mixed])
    page = (tmp_path / "report.md").read_text("utf-8")
    assert "| +5.00 [" in page
    assert "**" not in page


def test_write_report__same_outcomes_same_bytes(tmp_path: Path) -> None:
    outcomes = [outcome("a", 10), outcome("b", 13)]
    first, second = (write_report(tmp_path / name, outcomes) for name in ("one", "two"))
    assert [path.name for path in first] == [path.name for path in second]
    assert len(first) == 4
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
    with Image.open(first[2]) as plot:
        assert plot.width >= 800


def test_write_report__few_pictures_have_figures_without_intervals(tmp_path: Path) -> None:
    few = [outcome(name, n, rows=outcome(name, n).rows[:6]) for name, n in (("a", 3), ("b", 6))]
    write_report(tmp_path, few)
    page = (tmp_path / "report.md").read_text("utf-8")
    assert "| `a` | 50.00 |  |" in page
    assert "| `b` | 100.00 | +50.00 |" in page


def test_write_report__metric_that_is_not_made_of_rows_has_no_interval(tmp_path: Path) -> None:
    bare = outcome("a", 0, rows=(), estimator="none", metrics={"mAP": 12.345}, primary="mAP")
    write_report(tmp_path, [bare])
    assert "| `a` | 12.35 |  |  |" in (tmp_path / "report.md").read_text("utf-8")


def test_write_report__part_of_a_set_is_said(tmp_path: Path) -> None:
    part = outcome("a", 3, settings={"setting": "own view", "limit": 10})
    write_report(tmp_path, [part])
    assert "Only the first 10 of the set were judged" in (tmp_path / "report.md").read_text("utf-8")


def test_write_report__encoder_that_judged_nothing_does_not_stop_the_others(
    tmp_path: Path,
) -> None:
    nothing = outcome("b", 0, rows=(), metrics={"top-1": float("nan")})
    write_report(tmp_path, [outcome("a", 10), nothing])
    page = (tmp_path / "report.md").read_text("utf-8")
    assert "| `a` | 50.00 [" in page
    assert "| `b` | - |" in page


ODD_NAMES = [
    "$\\frac{",
    "a $ and $b$ cost $5",
    '<img src="https://example.com/x.png"><script>alert(1)</script>',
    "![x](https://example.com/x.png)",
    "a|b | c\n\n# heading\n- item",
    "`tick` ``two`` \\",
    "_hidden",
    "nul\x00, bell\x07, \x1b[31mred, \u202eleft",
    "half \udcff",
    "模型🙂" * 400,
    "n" * 5000,
    "   ",
    "..",
    "/etc/passwd",
    "CON: <>?*",
]


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_write_report__no_name_ends_it_or_becomes_markup(tmp_path: Path, name: str) -> None:
    """After hours of work a report has to be written, whatever things are called."""
    rows = tuple(replace(row, group=[name, "_other"][n % 2]) for n, row in
                 enumerate(outcome("", 0).rows))  # fmt: skip
    odd = outcome(
        name, 12, rows=rows, set=name, task=name, primary=name, skipped=(name,) * 3,
        metrics={name: 60.0, f"{name} 2": 1.0}, settings={"setting": name, name: name},
    )  # fmt: skip
    save_outcome(tmp_path, odd, 0)
    save_outcome(tmp_path, replace(odd, encoder=f"{name}2"), 1)
    loaded = load_outcomes(tmp_path)
    assert {one.encoder for one in loaded} == {name, f"{name}2"}
    paths = write_report(tmp_path, loaded)
    *_, html = write_report(tmp_path, loaded, tmp_path / "page.html")
    assert "<script" not in html.read_text("utf-8") and html.read_text("utf-8").count("<img") == 2
    page = (tmp_path / "report.md").read_text("utf-8")
    assert "<img" not in page and "<script" not in page and "![x]" not in page
    assert not any(ord(char) < 32 and char != "\n" for char in page)
    # Nothing begins a line of its own, and every row of a table has as many cells.
    assert page.count("\n# ") == 0
    assert sum(line.startswith("## ") for line in page.splitlines()) == 1
    tables = page.split("\n\n")
    for table in (part.splitlines() for part in tables if part.startswith("| ")):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    for path in paths[2:]:
        with Image.open(path) as plot:
            assert plot.format == "PNG"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a_b*c", "a\\_b\\*c"),
        ("- item", "\\- item"),
        ("1. item", "1\\. item"),
        ("alphaclip-nano (0.5)", "alphaclip-nano (0.5)"),
    ],
)
def test_markdown__reads_as_the_text(name: str, expected: str) -> None:
    assert markdown(name) == expected
    assert code(name) == f"`{name}`"
    assert code(f"{name} < $5 & more") == f"{expected} &lt; \\$5 &amp; more"


def test_load_outcomes__damage_is_seen(tmp_path: Path) -> None:
    """One right answer more would be another figure."""
    path = save_outcome(tmp_path, outcome("a", 9), 0)
    text = path.read_text("utf-8")
    path.write_text(text.replace("1.0", "0.0", 1), "utf-8")
    with pytest.raises(AlphaClipError, match="is damaged"):
        load_outcomes(tmp_path)
    content = json.loads(text)
    del content["checksum"]
    path.write_text(json.dumps(content), "utf-8")  # as earlier versions wrote it
    assert load_outcomes(tmp_path)[0].encoder == "a"
