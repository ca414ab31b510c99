"""Describers judged on sets: what they say, how it is scored, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaclip.cli import main
from alphaclip.errors import AlphaClipError
from alphaclip.language.batches import run_batches
from alphaclip.language.describer import Answers, Caption, Describer, Item
from alphaclip.language.questions import Question, fill
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region
from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.evaluation.captions import captions
from alphaclip.training.evaluation.captions.captioning import CaptionScores
from alphaclip.training.evaluation.outcomes import Means, load_outcomes
from alphaclip.training.evaluation.report.published import published_on
from alphaclip.training.finetune.evaluating import read_held_out
from alphaclip.training.language import describing, responses, vqa
from alphaclip.training.language.describing import DescribeEntry
from alphaclip.training.language.vqa_set import WORDING, VqaSet, make_vqa_set
from alphaclip.views.prefetch import OnError

from ..finetune.shape_pairs import COLOURS


class ColourDescriber(Describer):
    """Says and answers what the mean color and the bounds of a region tell it."""

    name = "colours"
    sees = "vectors"
    fingerprint = "f" * 32  # type: ignore[assignment]

    def __init__(self) -> None:
        self.seen = 0

    def describe_many(
        self,
        items: Iterable[Item],
        prompt: str | None = None,
        max_tokens: int = 40,
        on_error: OnError | None = None,
    ) -> Iterator[list[Caption]]:
        def work(tasks: Sequence[tuple[str, str]]) -> list[Caption]:
            return [Caption(f"a {color} square", -1.0) for color, _ in tasks]

        yield from run_batches(items, self._prepare, work, 4, Caption("", np.nan), on_error)

    def ask_many(
        self,
        items: Iterable[Item],
        questions: Sequence[Question],
        on_error: OnError | None = None,
    ) -> Iterator[list[Answers]]:
        for picture, regions, attributes in items:
            rows = []
            for region, its in zip(regions, attributes, strict=True):
                ((color, place),) = self._facts([(picture, region)])
                rows.append([self._answer(fill(q.text, its), q, color, place) for q in questions])
            yield [
                Answers(q.choices, np.stack(logliks), np.zeros_like(logliks))
                for q, logliks in zip(questions, zip(*rows, strict=True), strict=True)
            ]

    def _answer(self, text: str, question: Question, color: str, place: str) -> np.ndarray:
        right = place if text.startswith("where") else color
        if question.choices == ("yes", "no"):
            right = "yes" if color in text else "no"
        return np.array([float(right in choice) for choice in question.choices], np.float32)

    def _prepare(self, image: np.ndarray) -> Any:
        return lambda region, attributes: self._facts([(image, region)])[0]

    def _facts(self, tasks: Sequence[tuple[Any, Region]]) -> list[tuple[str, str]]:
        self.seen += len(tasks)
        facts = []
        for picture, region in tasks:
            image = open_image(picture)
            alpha = region.alpha_map(*image.shape[:2]) > 0
            middle = np.median(image[alpha], axis=0)
            far = {name: np.abs(middle - rgb).sum() for name, rgb in COLOURS.items()}
            side = np.argwhere(alpha)[:, 1].mean() / image.shape[1]
            place = "on the left" if side < 0.38 else "on the right" if side > 0.62 else "middle"
            facts.append((min(far, key=lambda name: far[name]), place))
        return facts


@pytest.fixture
def describer(monkeypatch: pytest.MonkeyPatch) -> ColourDescriber:
    """Loaded by every name."""
    made = ColourDescriber()

    def load(name: str, **options: Any) -> ColourDescriber:
        if "shown" in options:
            raise AlphaClipError("it sees vectors")
        return made

    monkeypatch.setattr(responses, "load", load)
    return made


@pytest.fixture(scope="module")
def shapes(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> RegionSet:
    """8 pictures with a region on the left and one on the right, of 8 colors."""
    return read_held_out(pairs, "shapes", tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def questions(shapes: RegionSet) -> VqaSet:
    return make_vqa_set(shapes, tuple(WORDING))


def test_vqa_set__asks_what_the_set_knows(shapes: RegionSet, questions: VqaSet) -> None:
    assert list(questions.questions) == list(WORDING)
    assert len(questions.questions["kind"].choices) == 16
    rows = zip(shapes.regions, questions.attributes, questions.truths, strict=True)
    for (_, region), its, truth in rows:
        color, is_left = region.label.split()[0], region.id.endswith("/0")
        assert (truth["kind"], truth["color"]) == (region.label, color)
        assert truth["count"] == "two"
        assert truth["place"].endswith("on the left" if is_left else "on the right")
        assert (truth["is"] == "yes") == its["name"].endswith(f" {region.label}")
        assert (truth["fits"] == "yes") == (its["text"] in region.texts)
    for kind in ("is", "fits"):
        assert {truth[kind] for truth in questions.truths} == {"yes", "no"}


def test_vqa_set__leaves_out_what_has_no_answer(shapes: RegionSet) -> None:
    plain = [
        replace(e, regions=tuple(replace(r, label="", texts=("red or blue",)) for r in e.regions))
        for e in shapes.examples
    ]
    unlabelled = replace(shapes, examples=tuple(plain))
    assert list(make_vqa_set(unlabelled, tuple(WORDING)).questions) == ["place", "size", "count"]
    with pytest.raises(AlphaClipError, match="has no answer to questions of the kind color, kind"):
        make_vqa_set(unlabelled, ("color", "kind"))


def test_vqa__is_judged_by_kind_beside_the_majority(
    questions: VqaSet, describer: ColourDescriber
) -> None:
    outcome, crops = (vqa.run(f"colours{end}", questions) for end in ("", "+crop"))
    assert outcome.metrics["accuracy color"] == 100
    assert outcome.metrics["accuracy place"] > 0
    assert crops.metrics["accuracy place"] == 0
    kinds = [outcome.metrics[f"accuracy {kind}"] for kind in WORDING]
    assert outcome.metrics["accuracy"] == pytest.approx(np.mean(kinds))
    assert [row.group for row in outcome.rows[:7]] == list(WORDING)
    assert len(outcome.rows) == 16 * 7
    (usual,) = vqa.majority([outcome])
    assert usual.encoder == vqa.MAJORITY
    assert usual.metrics["accuracy color"] == 100 / 8
    assert usual.metrics["accuracy count"] == 100
    counts = [truth["is"] for truth in questions.truths].count("yes")
    assert usual.metrics["accuracy is"] == pytest.approx(100 * max(counts, 16 - counts) / 16)


def test_said_once__it_is_kept(
    questions: VqaSet, describer: ColourDescriber, tmp_path: Path
) -> None:
    first = vqa.run("colours", questions, Means(tmp_path))
    seen = describer.seen
    assert vqa.run("colours", questions, Means(tmp_path)) == first
    assert describer.seen == seen
    vqa.run("colours+crop", questions, Means(tmp_path))
    assert describer.seen > seen


@pytest.mark.parametrize("name", ["colours", "colours+crop"])
def test_region_that_fails__is_left_out_and_tried_again(
    name: str, shapes: RegionSet, describer: ColourDescriber, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(describing, "caption_outcome", lambda *args: args)
    first, *others = shapes.examples
    bad = replace(first.regions[1], region=Region.from_mask(np.ones((5, 5), bool)))
    gone = replace(others[0], path=tmp_path / "gone.png")
    examples = (replace(first, regions=(first.regions[0], bad)), gone, *others[1:])
    entry = DescribeEntry(replace(shapes, examples=examples))
    for _ in range(2):
        described: Any = describing.run(name, entry, Means(tmp_path / "cache"))
        said, references, skipped = described[3], described[4], described[7]
        assert len(said) == 13
        assert said.keys() == references.keys()
        assert said[first.regions[0].id] == f"a {first.regions[0].label.split()[0]} square"
        assert [line.partition(":")[0] for line in skipped] == [
            f"region {bad.id} of {first.path}",
            *(f"region {region.id} of {gone.path}" for region in gone.regions),
        ]
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_describe__on_the_command_line(
    pairs: Path, describer: ColourDescriber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(said: Mapping[str, str], texts: Mapping[str, Sequence[str]], spice: bool) -> Any:
        each = [1000.0 * (said[key] in texts[key]) for key in texts]
        return CaptionScores({"CIDEr": float(np.mean(each)), "METEOR": 1.0}, {"CIDEr": each})

    monkeypatch.setattr(captions, "score_captions", score)
    options = f"--pairs {pairs} --out {tmp_path} --limit 4 --model colours colours+crop"
    assert main(f"eval describe {options}".split()) == 0
    outcome, crops = load_outcomes(tmp_path)
    squares = [float("square" in row.truth) for row in outcome.rows]
    assert (outcome.set, outcome.encoder, len(squares)) == ("pairs", "colours", 8)
    assert [row.correct / 10 for row in outcome.rows] == squares
    assert outcome.metrics["CIDEr"] == pytest.approx(1000 * np.mean(squares))
    assert (crops.encoder, crops.settings["sees"]) == ("colours+crop", "vectors")


def test_vqa__of_a_real_model_on_the_command_line(pairs: Path, base: Path, tmp_path: Path) -> None:
    options = f"--limit 2 --kinds color size --device cpu --model {base} {base}+crop"
    assert main(f"eval vqa --pairs {pairs} --out {tmp_path} {options}".split()) == 0
    outcomes = load_outcomes(tmp_path)
    assert {one.encoder for one in outcomes} == {str(base), f"{base}+crop", vqa.MAJORITY}
    page = (tmp_path / "report.md").read_text()
    assert "majority answer" in page
    assert "accuracy color" in page


def test_published_figures__are_of_the_whole_validation_set() -> None:
    figures = {(f.system, f.metric): f.value for f in published_on("describe", "refcocog-val")}
    assert figures["Alpha-CLIP + LLaVA-1.5-7B", "CIDEr"] == 109.2
    assert figures["Osprey", "METEOR"] == 16.6
    assert not published_on("describe", "visual-genome")
