"""Retrieval, on vectors whose ranking is seen by eye."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score

from alphaclip.encoder.encoder import Failure
from alphaclip.errors import AlphaClipError, ImageError
from alphaclip.regions.region import Region
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.evaluation.outcomes import Means
from alphaclip.training.evaluation.retrieval import ranking
from alphaclip.training.evaluation.retrieval.ranking import average_precision, rank
from alphaclip.training.evaluation.retrieval.retrieval import RETRIEVAL, retrieve


def line(*values: float) -> np.ndarray:
    """Unit vectors whose inner product with the first axis is each of the values."""
    x = np.array(values, np.float32)
    return np.stack([x, np.sqrt(1 - x**2)], axis=1)


QUERY = np.array([[1.0, 0.0]], np.float32)


def test_rank__by_hand() -> None:
    gallery = line(0.5, 0.9, 0.1, 0.7, 0.3)
    (found,) = rank(QUERY, gallery, [np.array([3, 2])])
    assert found.ranks.tolist() == [2, 5]
    assert found.items.tolist() == [3, 2]
    assert (found.first, found.score) == (1, pytest.approx(0.9))
    assert average_precision(found.ranks) == pytest.approx((1 / 2 + 2 / 5) / 2)


def test_rank__ties_go_against_the_encoder() -> None:
    gallery = line(0.5, 0.5, 0.5, 0.9, 0.1)
    (found,) = rank(QUERY, gallery, [np.array([0])])
    assert found.ranks.tolist() == [4]
    (found,) = rank(QUERY, gallery, [np.array([0, 2])])
    assert found.ranks.tolist() == [3, 4]


def test_rank__one_vector_for_all_is_no_luck() -> None:
    rng = np.random.default_rng(0)
    vector = rng.normal(size=64).astype(np.float32)
    gallery = np.tile(vector / np.linalg.norm(vector), (37, 1))
    right = [np.array([place]) for place in range(37)]
    assert [found.ranks.tolist() for found in rank(gallery, gallery, right)] == [[37]] * 37


def test_rank__other_right_answers_are_taken_out() -> None:
    gallery = line(0.9, 0.8, 0.7, 0.6)
    (found,) = rank(QUERY, gallery, [np.array([0, 2, 3])])
    assert found.ranks.tolist() == [1, 3, 4]
    assert found.among(np.array([False, True, True])).tolist() == [2, 3]
    assert found.among(np.array([True, False, True])).tolist() == [1, 3]


def test_rank__as_scikit_learn_and_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    queries, gallery = (rng.normal(size=(n, 16)).astype(np.float32) for n in (23, 60))
    right = [rng.choice(60, size=rng.integers(1, 6), replace=False) for _ in queries]
    whole = list(rank(queries, gallery, right))
    monkeypatch.setattr(ranking, "_BLOCK_BYTES", 4 * 60 * 5)
    for in_blocks, found in zip(rank(queries, gallery, right), whole, strict=True):
        np.testing.assert_array_equal(in_blocks.ranks, found.ranks)
    for found, query, answers in zip(whole, queries, right, strict=True):
        truth = np.isin(np.arange(60), answers)
        expected = average_precision_score(truth, gallery @ query)
        assert average_precision(found.ranks) == pytest.approx(expected, abs=1e-6)


def test_rank__holds_a_block_of_scores_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_BLOCK_BYTES", 4 * 100 * 8)
    sizes = []

    class Watched(np.ndarray):
        def __matmul__(self, other: np.ndarray) -> np.ndarray:
            product = np.asarray(self) @ np.asarray(other)
            sizes.append(product.size)
            return product

    queries = np.ones((50, 2), np.float32).view(Watched)
    list(rank(queries, line(*np.linspace(0, 1, 100)), [np.array([0])] * 50))
    assert max(sizes) == 800
    assert len(sizes) == 7


class TableEncoder:
    """Knows the vector of each region and text; a region is known by its left edge."""

    name = "table"
    dim = 2
    fingerprint = text_fingerprint = "f" * 32

    def __init__(self, regions: dict[float, float], texts: dict[str, float]) -> None:
        self._regions = regions
        self._texts = texts
        self.asked: list[tuple[list[str], Sequence[str] | None]] = []

    def encode_many(self, items: Iterator, on_error: object = None) -> Iterator[np.ndarray]:
        for place, (_, regions) in enumerate(items):
            rows = line(*(self._regions[round(r.box[0], 2)] for r in regions))
            for at, row in enumerate(rows):
                if np.isnan(row).any():
                    on_error(Failure(place, at, ImageError("broken")))  # type: ignore[operator]
            yield rows

    def encode_text(self, prompts: Sequence[str], templates: Sequence[str] | None) -> np.ndarray:
        self.asked.append((list(prompts), templates))
        return line(*(self._texts[prompt] for prompt in prompts))


def region(key: str, left: float, *texts: str, area: float = 100.0) -> LabelledRegion:
    return LabelledRegion(key, Region.from_box((left, 0, 0.1, 0.1)), area, texts=texts)


def region_set(*pictures: Sequence[LabelledRegion]) -> RegionSet:
    examples = (
        Example(f"picture{n}", Path(f"{n}.jpg"), 100, 100, tuple(regions))
        for n, regions in enumerate(pictures)
    )
    return RegionSet("set", tuple(examples), (), ("a line of the reader",))


def test_retrieve__text_to_region_by_hand() -> None:
    """Angles from the axis: text ``one`` 0; regions at cosines 0.9, 0.8, 0.1 with it."""
    encoder = TableEncoder({0.0: 0.9, 0.2: 0.8, 0.4: 0.1}, {"one": 1.0, "two": 0.0})
    regions = region_set(
        [region("a", 0.0, "two")], [region("b", 0.2, "one"), region("c", 0.4, "two")]
    )
    outcome = retrieve(encoder, regions)  # type: ignore[arg-type]
    assert [row.id for row in outcome.rows] == ["two", "one"]
    two, one = outcome.rows
    assert one.correct == pytest.approx(1 / 2)
    assert two.correct == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert (one.predicted, one.truth, one.example) == ("two", "one", "picture1")
    assert outcome.metrics["mAP"] == pytest.approx(100 * (0.5 + 5 / 6) / 2)
    assert outcome.metrics["recall@1"] == 50.0
    assert outcome.metrics["recall@5"] == 100.0
    assert outcome.metrics["median rank"] == 1.5
    assert (outcome.metrics["queries"], outcome.metrics["gallery"]) == (2.0, 3.0)
    assert outcome.primary == "mAP"
    assert outcome.skipped == ("a line of the reader",)
    assert outcome.setting == "text to region"


def test_retrieve__region_to_text_by_hand() -> None:
    encoder = TableEncoder({0.0: 0.9, 0.2: 0.8, 0.4: 0.1}, {"one": 1.0, "two": 0.0})
    regions = region_set(
        [region("a", 0.0, "two")], [region("b", 0.2, "one"), region("c", 0.4, "two")]
    )
    outcome = retrieve(encoder, regions, "region to text")  # type: ignore[arg-type]
    assert [(row.id, row.correct) for row in outcome.rows] == [("a", 0.5), ("b", 1.0), ("c", 1.0)]
    assert [row.predicted for row in outcome.rows] == ["one", "one", "two"]
    assert outcome.metrics["recall@1"] == pytest.approx(200 / 3)
    assert (outcome.metrics["queries"], outcome.metrics["gallery"]) == (3.0, 2.0)


def test_retrieve__equal_descriptions_are_right_for_each_other() -> None:
    encoder = TableEncoder({0.0: 0.2, 0.2: 0.9, 0.4: 0.5}, {"A  red cat": 1.0, "dog": 0.0})
    regions = region_set(
        [region("a", 0.0, "A  red cat")], [region("b", 0.2, "a red CAT")], [region("c", 0.4, "dog")]
    )
    outcome = retrieve(encoder, regions)  # type: ignore[arg-type]
    assert encoder.asked == [(["A  red cat", "dog"], None)]
    assert [row.id for row in outcome.rows] == ["a red cat", "dog"]
    assert outcome.rows[0].correct == pytest.approx((1 + 2 / 3) / 2)
    back = retrieve(encoder, regions, "region to text")  # type: ignore[arg-type]
    assert [row.correct for row in back.rows] == [0.5, 1.0, 1.0]


def test_retrieve__by_size_takes_other_sizes_out() -> None:
    encoder = TableEncoder({0.0: 0.9, 0.2: 0.8, 0.4: 0.7}, {"cat": 1.0, "dog": 0.0})
    regions = region_set(
        [region("a", 0.0, "cat", area=50.0)],
        [region("b", 0.2, "dog", area=5000.0), region("c", 0.4, "cat", area=50000.0)],
    )
    outcome = retrieve(encoder, regions)  # type: ignore[arg-type]
    assert outcome.metrics["mAP small"] == 100.0
    assert outcome.metrics["mAP large"] == 50.0  # "dog" stands before it, the small cat does not
    assert [row.group for row in outcome.rows] == ["mixed sizes", "only medium"]
    back = retrieve(encoder, regions, "region to text")  # type: ignore[arg-type]
    assert [row.group for row in back.rows] == ["small", "medium", "large"]
    assert back.metrics["recall@1 small"] == 100.0


def test_retrieve__what_cannot_be_encoded_is_reported() -> None:
    encoder = TableEncoder({0.0: float("nan"), 0.2: 0.8}, {"one": 1.0, "two": 0.0, " ": 0.0})
    regions = region_set(
        [region("a", 0.0, "two")], [region("b", 0.2, "one", " ")], [region("c", 0.4)]
    )
    outcome = retrieve(encoder, regions)  # type: ignore[arg-type]
    assert [row.id for row in outcome.rows] == ["one"]
    assert outcome.metrics["gallery"] == 1.0
    assert any("broken" in line for line in outcome.skipped)


def test_retrieve__templates_and_nothing_to_do() -> None:
    encoder = TableEncoder({0.0: 0.9}, {"one": 1.0})
    outcome = retrieve(encoder, region_set([region("a", 0.0, "one")]), templates=["a {}"])  # type: ignore[arg-type]
    assert encoder.asked[0][1] == ["a {}"]
    assert outcome.settings["templates"] == ["a {}"]
    assert outcome.setting == "text to region, 'a {}'"
    with pytest.raises(AlphaClipError, match="no region with a description"):
        retrieve(encoder, region_set([region("a", 0.0)]))  # type: ignore[arg-type]


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--limit", type=int)
    RETRIEVAL.add_arguments(parser)
    return parser.parse_args(given)


def test_task__visual_genome_with_nano(tmp_path: Path) -> None:
    (tmp_path / "VG_100K").mkdir()
    Image.new("RGB", (64, 48), "red").save(tmp_path / "VG_100K" / "7.jpg")
    images = [{"image_id": 7, "url": "https://x/VG_100K/7.jpg", "width": 64, "height": 48}]
    (tmp_path / "image_data.json").write_text(json.dumps(images))
    boxes = [{"region_id": n, "x": 16 * n, "y": 0, "width": 16, "height": 16} for n in range(3)]
    regions = [box | {"phrase": text} for box, text in zip(boxes, "abc", strict=True)]
    content = [{"id": 7, "regions": regions}]
    (tmp_path / "region_descriptions.json").write_text(json.dumps(content))
    entries = RETRIEVAL.load(arguments("--data", str(tmp_path), "--format", "visual-genome"))
    means = Means(cache=tmp_path / "cache", device="cpu", precision="fp32")
    outcomes = [RETRIEVAL.run("alphaclip-nano", entry, means) for entry in entries]
    assert [outcome.setting for outcome in outcomes] == ["text to region", "region to text"]
    assert [len(outcome.rows) for outcome in outcomes] == [3, 3]
    assert all(outcome.metrics["recall@5"] == 100.0 for outcome in outcomes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "--data is missing"),
        (["--dataset", "d"], "goes with --field"),
        (["--dataset", "d", "--field", "f", "--data", "x"], "without --data"),
    ],
)
def test_task__wrong_arguments(given: list[str], message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        RETRIEVAL.load(arguments(*given))
