"""Which box is meant: by an encoder of colours, and by alphaclip-nano on drawings."""

import argparse
import builtins
import json
import pickle
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alphaclip.cli import main
from alphaclip.errors import AlphaClipError
from alphaclip.sam.sam import load_sam
from alphaclip.training.datasets.examples import (
    Box,
    Example,
    Expression,
    ExpressionSet,
    take_first_expressions,
)
from alphaclip.training.datasets.phrases import Sentence, Word, load_parser, sentence_of
from alphaclip.training.datasets.sources import MissingDataError
from alphaclip.training.evaluation.outcomes import Means, Outcome, Row
from alphaclip.training.evaluation.referring.boxes import REPRESENTATIONS
from alphaclip.training.evaluation.referring.referring import (
    ALL_SPLITS,
    TASK,
    ReferringEntry,
    ReferringProtocol,
    mean_of_splits,
    overlaps,
    run,
    true_regions,
)
from alphaclip.training.evaluation.vectors import region_vectors
from alphaclip.views.view import View
from recipes.small_sam.scenes import draw_scene

from ..conftest import ColourEncoder
from .parses import parse

SAMPLE = Path(__file__).parents[4] / "sample"
SAM = Path(__file__).parents[3] / "sam_vit_nano.safetensors"
PLAIN = ReferringProtocol(method="plain")


class Loader:
    """Loads encoders of colours, and remembers with which views."""

    def __init__(self, load: Callable[..., Any], encoder: ColourEncoder) -> None:
        self.views: list[View] = []
        self._load, self._encoder = load, encoder

    def __call__(self, name: str, device: Any, precision: Any, view: View) -> Any:
        self.views.append(view)
        return self._encoder if name == "colours" else self._load(name, device, precision, view)


@pytest.fixture(autouse=True)
def loader(colour_encoder: ColourEncoder, monkeypatch: pytest.MonkeyPatch) -> Loader:
    """``colours`` is a name that can be loaded."""
    from alphaclip.training.evaluation.referring import boxes

    made = Loader(boxes.load, colour_encoder)
    monkeypatch.setattr(boxes, "load", made)
    return made


def stripe(place: int) -> Box:
    return 10.0 * place, 0.0, 10.0, 20.0


def say(example: Example, text: str, place: int, number: int = 0) -> Expression:
    """An expression that means a stripe."""
    boxes = tuple(stripe(i) for i in range(len(example.regions)))
    return Expression(f"{example.id}{number}", example, text, stripe(place), boxes)


def made_of(*expressions: Expression, name: str = "refcoco-val") -> ExpressionSet:
    return ExpressionSet(name, expressions, "annotated")


def judge(*expressions: Expression, **entry: Any) -> Outcome:
    given = {"protocol": PLAIN, **entry}
    return run("colours", ReferringEntry(made_of(*expressions), **given), Means())


def test_run__right_and_wrong(paint: Callable[..., Example]) -> None:
    a, b = paint("a", "red", "green"), paint("b", "blue", "green", "red")
    outcome = judge(say(a, "The RED one", 0), say(a, "green", 0, 1), say(b, "the red", 2))
    assert outcome.metrics["accuracy"] == pytest.approx(100 * 2 / 3)
    assert outcome.metrics["accuracy small"] == pytest.approx(100 * 2 / 3)
    assert np.isnan(outcome.metrics["accuracy large"])
    assert outcome.metrics["reachable"] == 100
    right, wrong, _ = outcome.rows
    assert (right.id, right.example, right.correct) == ("a0", "a", 1.0)
    assert right.score == pytest.approx(1.0)
    assert (wrong.correct, wrong.predicted) == (0.0, "[10.0, 0.0, 10.0, 20.0]")
    assert wrong.truth == "green [0.0, 0.0, 10.0, 20.0]"
    assert wrong.group == "small"


def test_run__says_what_it_did(paint: Callable[..., Example], loader: Loader) -> None:
    outcome = judge(say(paint("a", "red", "green"), "red", 0))
    assert (outcome.task, outcome.set, outcome.primary) == ("referring", "refcoco-val", "accuracy")
    assert outcome.setting == "annotated boxes, full+blur, plain, boxes as masks"
    assert outcome.settings["masks"] == "boxes as masks"
    assert outcome.settings["correct"] == "IoU > 0.5"
    json.dumps(dict(outcome.settings))
    assert [(v.kind, v.background) for v in loader.views] == [
        ("squash", "kept"),
        ("squash", "blur"),
    ]
    assert loader.views[1].blur_sigma == 100


def test_run__the_text_is_lower_case_behind_a_photo_of(
    paint: Callable[..., Example], colour_encoder: ColourEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    encode = colour_encoder.encode_text
    monkeypatch.setattr(
        colour_encoder, "encode_text", lambda texts, t=None: said.extend(texts) or encode(texts)
    )
    judge(say(paint("a", "red", "green"), "The RED one", 0))
    assert said == ["a photo of the red one"]


def test_run__overlap_of_a_half_is_not_enough(paint: Callable[..., Example]) -> None:
    example = paint("a", "red", "green")
    meant = say(example, "red", 0)
    half = replace(meant, truth=(0.0, 0.0, 10.0, 10.0))
    more = replace(meant, id="a1", truth=(0.0, 0.0, 10.0, 10.1))
    outcome = judge(half, more)
    assert [row.correct for row in outcome.rows] == [0.0, 1.0]
    assert outcome.metrics["reachable"] == 50


def test_overlaps__of_pixels() -> None:
    boxes = [(0.0, 0.0, 10.0, 10.0), (5.0, 0.0, 10.0, 10.0), (20.0, 20.0, 5.0, 5.0)]
    assert overlaps(boxes, boxes[0]) == pytest.approx([1.0, 1 / 3, 0.0])


def test_run__scores_are_summed_over_representations(paint: Callable[..., Example]) -> None:
    example = paint("a", "red", "green")
    scores = {}
    for count in (1, 2):
        protocol = ReferringProtocol(("full", "blur")[:count], "plain", logit_scale=1.0)
        scores[count] = judge(say(example, "red", 0), protocol=protocol).rows[0].score
    assert scores[1] == pytest.approx(np.e / (np.e + 1))
    assert scores[2] == pytest.approx(np.e**2 / (np.e**2 + 1))


def test_run__and_over_the_members_of_an_ensemble(
    paint: Callable[..., Example], colour_encoder: ColourEncoder
) -> None:
    colour_encoder.members = (colour_encoder,) * 3
    protocol = ReferringProtocol(("full",), "plain", logit_scale=1.0)
    row = judge(say(paint("a", "red", "green"), "red", 0), protocol=protocol).rows[0]
    assert row.score == pytest.approx(np.e**3 / (np.e**3 + 1))


def test_run__parse_tells_two_alike_apart(paint: Callable[..., Example]) -> None:
    example = paint("a", "red", "green", "red")
    parses = {
        "red on the right": "[red<0] on<0 [the<3 right<1]",
        "red left of green": "[red<0] left<0 of<1 [green<2]",
        "green": "[green<0]",
    }
    said = [
        say(example, "red on the right", 2),
        say(example, "red left of green", 0, 1),
        say(example, "green", 1, 2),
    ]
    spoken = {"protocol": ReferringProtocol(), "parser": lambda text: parse(parses[text])}
    outcome = judge(*said, **spoken, parser_name="by hand")
    assert [row.correct for row in outcome.rows] == [1.0, 1.0, 1.0]
    assert outcome.settings["parser"] == "by hand"
    assert outcome.setting == "annotated boxes, full+blur, parse, boxes as masks"
    assert judge(*said).metrics["accuracy"] < 100


def test_entry__parse_without_a_parser(paint: Callable[..., Example]) -> None:
    with pytest.raises(AlphaClipError, match="needs a parser"):
        judge(say(paint("a", "red"), "red", 0), protocol=ReferringProtocol())


def test_protocol__unknown_representation() -> None:
    for names in (("full", "sharp"), ()):
        with pytest.raises(AlphaClipError, match="expected some of full, blur, gray, crop"):
            ReferringProtocol(names)


def test_run__boxes_without_area_are_no_answer(paint: Callable[..., Example]) -> None:
    example = paint("a", "red", "green")
    flat = replace(say(example, "red", 0), proposals=((0.0, 0.0, 0.0, 20.0), stripe(1), stripe(0)))
    assert judge(flat).rows[0].correct == 1.0
    nothing = replace(flat, proposals=((0.0, 0.0, 0.0, 20.0),))
    outcome = judge(nothing)
    assert outcome.rows == ()
    assert outcome.skipped == (f"picture {shown_as(nothing)}: none of its 1 boxes can be shown",)
    assert np.isnan(outcome.metrics["accuracy"])


def shown_as(expression: Expression) -> str:
    from alphaclip.training.evaluation.referring.boxes import group_key

    return group_key(expression)


def test_run__a_bad_picture_is_reported_once_and_not_judged(
    paint: Callable[..., Example], tmp_path: Path
) -> None:
    good, bad = paint("a", "red", "green"), paint("b", "red", "green")
    (tmp_path / "b.png").write_bytes(b"no picture")
    outcome = judge(say(good, "red", 0), say(bad, "red", 0))
    assert [row.id for row in outcome.rows] == ["a0"]
    assert len(outcome.skipped) == 1
    assert "b" in outcome.skipped[0]
    assert outcome.metrics["accuracy"] == 100


def test_run__a_box_outside_the_picture_is_reported(paint: Callable[..., Example]) -> None:
    example = paint("a", "red", "green")
    said = replace(say(example, "red", 0), proposals=((500.0, 0.0, 5.0, 5.0), stripe(0), stripe(1)))
    outcome = judge(said)
    assert outcome.rows[0].correct == 1.0
    assert len(outcome.skipped) == 1


def test_run__splits_share_no_boxes_in_the_cache(
    paint: Callable[..., Example], tmp_path: Path
) -> None:
    example = paint("a", "red", "green")
    means = Means(cache=tmp_path / "cache")
    val, other = say(example, "red", 0), say(example, "red", 0)
    other = replace(other, proposals=(stripe(1), stripe(0)))
    for name, expression in (("refcoco-val", val), ("refcoco+-val", other), ("refcoco-val", val)):
        entry = ReferringEntry(made_of(expression, name=name), PLAIN)
        assert run("colours", entry, means).metrics["accuracy"] == 100


def test_run__sam_masks_are_kept_by_split(
    tmp_path: Path, colour_encoder: ColourEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = draw_scene(np.random.default_rng(2_000_003))
    path = tmp_path / "scene.png"
    Image.fromarray(scene.image).save(path)
    height, width = scene.image.shape[:2]
    box = tuple(float(v) for v in np.array(scene.shapes[0].box) * (width, height, width, height))
    example = Example("1", path, width, height, ())
    expression = Expression("1", example, "red", box, (box, (0.0, 0.0, 0.0, 1.0)))
    shown: list[Any] = []

    def watch(encoder: Any, regions: Any, *rest: Any) -> np.ndarray:
        shown.extend(regions.regions)
        return region_vectors(encoder, regions, *rest)

    monkeypatch.setattr("alphaclip.training.evaluation.referring.boxes.region_vectors", watch)
    sam = load_sam(SAM, "cpu")
    means = Means(cache=tmp_path / "cache")
    for name in ("refcoco-val", "refcoco-testA", "refcoco-val"):
        outcome = run(
            "colours", ReferringEntry(made_of(expression, name=name), PLAIN, sam=sam), means
        )
    assert outcome.metrics["accuracy"] == 100
    assert outcome.settings["masks"] == f"masks by {SAM.stem}"
    assert len(list((tmp_path / "cache").glob("proposals-*.jsonl"))) == 2
    mask = shown[0][1].region.alpha_map(height, width) > 127
    known = scene.shapes[0].mask
    assert (mask & known).sum() / (mask | known).sum() > 0.7
    assert len(shown) == 6


def outcome_of(name: str, *correct: float) -> Outcome:
    rows = tuple(Row(str(place), "p", value) for place, value in enumerate(correct))
    accuracy = {"accuracy": 100 * float(np.mean(correct))}
    return Outcome("referring", name, "e", accuracy, rows, {"setting": "s"}, (f"{name}: x",))


def test_mean_of_splits__each_weighs_the_same() -> None:
    (mean,) = mean_of_splits([outcome_of("refcoco-val", 1, 0, 0, 0), outcome_of("refcocog-val", 1)])
    assert mean.metrics == {"accuracy": 62.5}
    assert mean.set == "mean of 2 splits"
    assert mean.estimator == "group-mean"
    assert mean.setting == "s"
    assert mean.settings["splits"] == ["refcoco-val", "refcocog-val"]
    assert len({row.id for row in mean.rows}) == 5
    assert {row.example for row in mean.rows} == {"p"}
    by_split = {row.group for row in mean.rows}
    means = [np.mean([r.correct for r in mean.rows if r.group == name]) for name in by_split]
    assert 100 * np.mean(means) == 62.5
    assert mean.skipped == ("refcoco-val: x", "refcocog-val: x")


def test_mean_of_splits__of_one_is_none() -> None:
    assert mean_of_splits([outcome_of("refcoco-val", 1)]) == []


def test_representations__are_of_one_geometry() -> None:
    assert {name: view.kind for name, view in REPRESENTATIONS.items()} == {
        "full": "squash",
        "blur": "squash",
        "gray": "squash",
        "crop": "context",
    }
    assert REPRESENTATIONS["crop"].context == 1.0
    assert all(view.alpha == "region" for view in REPRESENTATIONS.values())


def test_take_first_expressions__of_the_first_pictures() -> None:
    a, b = (Example(name, Path(name), 40, 30, ()) for name in "ab")
    shown = ((a, "0"), (b, "1"), (a, "2"))
    said = [Expression(number, one, "x", stripe(0), (stripe(0),)) for one, number in shown]
    everything = made_of(*said)
    assert [e.id for e in take_first_expressions(everything, 1)] == ["0", "2"]
    assert len(take_first_expressions(everything, None)) == 3


def test_true_regions__have_the_rows_ids(paint: Callable[..., Example]) -> None:
    a, b = paint("a", "red", "green"), paint("b", "red")
    entry = ReferringEntry(
        made_of(say(a, "Red", 0), say(b, "red", 0), say(a, "green", 1, 1)), PLAIN
    )
    regions = true_regions(entry)
    assert [example.id for example in regions.examples] == ["a", "b"]
    found = {labelled.id: labelled for _, labelled in regions.regions}
    assert found.keys() == {row.id for row in run("colours", entry, Means()).rows}
    assert found["a1"].texts == ("green",)
    assert found["a1"].region.bounds(20, 20) == (10, 0, 20, 20)


class Token:
    """What is used of spaCy's tokens."""

    def __init__(self, text: str, head: int, whitespace: str) -> None:
        self.text, self.whitespace_ = text, whitespace
        self.head = types.SimpleNamespace(i=head)


class Doc(list):
    """What is used of spaCy's documents."""

    noun_chunks = (types.SimpleNamespace(start=0, end=2),)


def test_sentence_of__a_spacy_document() -> None:
    doc = Doc([Token("red", 1, " "), Token("cup", 1, ""), Token(".", 1, "")])
    words = Word("red", 1, " "), Word("cup", 1, ""), Word(".", 1, "")
    assert sentence_of(doc) == Sentence(words, ((0, 2),))


def test_load_parser__without_spacy(monkeypatch: pytest.MonkeyPatch) -> None:
    import_module = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "spacy":
            raise ImportError("No module named 'spacy'")
        return import_module(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(AlphaClipError, match=r"alphaclip-fiftyone\[rec\].*'plain'"):
        load_parser()


def spacy_with(pipeline: Any) -> types.ModuleType:
    module = types.ModuleType("spacy")
    module.load = lambda name: pipeline
    return module


def test_load_parser__says_which_model_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipeline:
        meta = {"name": "core_web_sm", "version": "3.8.0"}  # noqa: RUF012

        def __call__(self, text: str) -> Doc:
            return Doc([Token(text, 0, ""), Token("!", 0, "")])

        def has_pipe(self, name: str) -> bool:
            return name == "parser"

    monkeypatch.setitem(sys.modules, "spacy", spacy_with(Pipeline()))
    parser, name = load_parser()
    assert name == "core_web_sm 3.8.0"
    assert parser("cup").words[0] == Word("cup", 0, "")


def test_load_parser__pipeline_without_a_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = types.SimpleNamespace(has_pipe=lambda name: False)
    monkeypatch.setitem(sys.modules, "spacy", spacy_with(blank))
    with pytest.raises(AlphaClipError, match="no dependency parser"):
        load_parser("blank")


def arguments(*given: str, **common: Any) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    TASK.add_arguments(parser)
    known = {"data": None, "limit": None, "cache": None, "device": None, **common}
    return argparse.Namespace(**vars(parser.parse_args(given)), **known)


@pytest.fixture
def reclip(tmp_path: Path, paint: Callable[..., Example]) -> Path:
    """ReCLIP's files: two splits of one picture; the detector's boxes are in another order."""
    data = tmp_path / "data"
    (data / "reclip_data").mkdir(parents=True)
    (data / "train2014").mkdir()
    name = "COCO_train2014_000000000009"
    paint("nine", "red", "green").path.rename(data / "train2014" / f"{name}.jpg")
    line = {
        "image_id": 9,
        "file_name": f"{name}_3.jpg",
        "ann_id": 3,
        "anns": [{"id": 3, "bbox": stripe(0)}, {"id": 4, "bbox": stripe(1)}],
        "sentences": [{"raw": "Red", "sent_id": 1}, {"raw": "the green", "sent_id": 2}],
    }
    for split in ("val", "testA"):
        (data / "reclip_data" / f"refcoco_{split}.jsonl").write_text(json.dumps(line) + "\n")
    found = {"9": [stripe(1), stripe(0)]}
    (data / "reclip_data" / "refcoco_dets_dict.json").write_text(json.dumps(found))
    return data


def test_task__from_files_to_the_mean(reclip: Path) -> None:
    args = arguments("--splits", "refcoco-val", "refcoco-testA", "--method", "plain", data=reclip)
    entries = TASK.load(args)
    outcomes = [TASK.run("colours", entry, Means()) for entry in entries]
    assert [o.set for o in outcomes] == ["refcoco-val", "refcoco-testA"]
    assert [o.metrics["accuracy"] for o in outcomes] == [50.0, 50.0]
    assert outcomes[0].setting == "detector boxes, full+blur, plain, boxes as masks"
    (mean,) = TASK.summarize(outcomes)
    assert (mean.set, mean.metrics) == ("mean of 2 splits", {"accuracy": 50.0})


def test_eval_referring__mistakes_of_each_split(reclip: Path, tmp_path: Path) -> None:
    import fiftyone as fo

    chosen = ["--data", str(reclip), "--splits", "refcoco-val", "refcoco-testA"]
    others = ["--method", "plain", "--encoder", "colours", "--out", str(tmp_path / "out")]
    name = f"mistakes-{tmp_path.name}"
    names = [f"{name}-refcoco-{split}" for split in ("val", "testA")]
    try:
        assert main(["eval", "referring", *chosen, *others, "--mistakes", name]) == 0
        field = "colours_detector_boxes_full_blur_plain_boxes_as_masks"
        for made in map(fo.load_dataset, names):
            assert made.count(f"{field}.detections") == 2
    finally:
        for made in names:
            fo.delete_dataset(made)


def test_task__annotated_boxes_and_limit(reclip: Path) -> None:
    args = arguments(
        *("--splits", "refcoco-val", "--method", "plain", "--proposals", "annotated"),
        data=reclip,
        limit=1,
    )
    (entry,) = TASK.load(args)
    assert [e.text for e in entry.expressions] == ["Red", "the green"]
    assert entry.expressions.proposals == "annotated"


def test_task__refers_own_files(tmp_path: Path, paint: Callable[..., Example]) -> None:
    (tmp_path / "train2014").mkdir()
    (tmp_path / "refcoco").mkdir()
    paint("nine", "red", "green").path.rename(tmp_path / "train2014/nine.jpg")
    objects = [
        {"id": n, "image_id": 9, "category_id": 1, "bbox": list(stripe(n)), "area": 200}
        for n in range(2)
    ]
    image = {"id": 9, "file_name": "nine.jpg", "width": 20, "height": 20}
    content = {"images": [image], "annotations": objects, "categories": [{"id": 1, "name": "x"}]}
    (tmp_path / "refcoco/instances.json").write_text(json.dumps(content))
    sentence = {"raw": "green one", "sent_id": 4}
    ref = {"ref_id": 1, "image_id": 9, "ann_id": 1, "split": "testB", "sentences": [sentence]}
    (tmp_path / "refcoco/refs(unc).p").write_bytes(pickle.dumps([ref], protocol=2))
    given = ("--refs", "--method", "plain", "--splits", "refcoco-testB")
    with pytest.raises(AlphaClipError, match="--proposals annotated"):
        TASK.load(arguments(*given, data=tmp_path))
    (entry,) = TASK.load(arguments(*given, "--proposals", "annotated", data=tmp_path))
    outcome = TASK.run("colours", entry, Means())
    assert (outcome.set, outcome.metrics["accuracy"]) == ("refcoco-testB", 100)
    assert outcome.setting == "annotated boxes, full+blur, plain, boxes as masks"


def test_task__all_eight_splits_are_the_default() -> None:
    assert arguments().splits == list(ALL_SPLITS)
    assert len(ALL_SPLITS) == 8
    assert arguments().representations == ["full", "blur"]


def test_task__data_that_is_missing(reclip: Path) -> None:
    with pytest.raises(AlphaClipError, match="--data is missing"):
        TASK.load(arguments("--method", "plain"))
    with pytest.raises(MissingDataError, match="refcoco_testB"):
        TASK.load(arguments("--method", "plain", "--splits", "refcoco-testB", data=reclip))


def cut(canvas: Image.Image, scene: int, box: Box, at: tuple[int, int]) -> Box:
    """Puts a part of one of the sample's pictures onto a canvas, 90 pixels wide."""
    picture = Image.open(SAMPLE / f"images/scene-{scene:04d}.jpg")
    x, y, w, h = np.array(box) * ((picture.width, picture.height) * 2)
    part = picture.crop((round(x), round(y), round(x + w), round(y + h))).resize((90, 90))
    canvas.paste(part, at)
    return float(at[0]), float(at[1]), 90.0, 90.0


@pytest.fixture
def fruit(tmp_path: Path) -> tuple[Example, tuple[Box, ...]]:
    """A red apple, a pear, and another red apple, from left to right."""
    canvas = Image.new("RGB", (360, 150), "white")
    boxes = (
        cut(canvas, 107, (0.05488, 0.49035, 0.31707, 0.35521), (15, 40)),
        cut(canvas, 16, (0.04776, 0.10896, 0.31045, 0.41162), (135, 20)),
        cut(canvas, 221, (0.56347, 0.02703, 0.42724, 0.30977), (255, 40)),
    )
    path = tmp_path / "fruit.png"
    canvas.save(path)
    return Example("fruit", path, 360, 150, ()), boxes


def test_run__nano_finds_the_fruit_and_the_parse_its_place(
    fruit: tuple[Example, tuple[Box, ...]],
) -> None:
    example, boxes = fruit
    apple_left = "[the<2 red<2 apple<2] left<2 of<3 [the<6 pear<4]"
    apple_right = "[the<2 red<2 apple<2] right<2 of<3 [the<6 pear<4]"
    last = "[the<3 rightmost<3 red<3 apple<3]"
    cases = [("[the<1 pear<1]", 1), (apple_left, 0), (apple_right, 2), (last, 2)]
    parses = {" ".join(w.text for w in parse(text).words): parse(text) for text, _ in cases}
    said = [
        Expression(str(n), example, text, boxes[place], boxes)
        for n, (text, (_, place)) in enumerate(zip(parses, cases, strict=True))
    ]
    protocol = ReferringProtocol(prefix="a drawing of ")
    entry = ReferringEntry(made_of(*said), protocol, parses.__getitem__, "by hand")
    with_parse = run("alphaclip-nano", entry, Means())
    assert [row.correct for row in with_parse.rows] == [1.0] * 4
    plain = replace(entry, protocol=replace(protocol, method="plain"), parser=None)
    without = run("alphaclip-nano", plain, Means())
    assert without.rows[0].correct == 1.0
    assert without.metrics["accuracy"] < 100
