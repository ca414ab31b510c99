"""Round the loop: label, review, fine-tune on what was reviewed, embed, label again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alphaclip import indexing
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.samples import load_sample
from alphaclip.indexing.labelling.review.runs import add_reviews, labelling_of
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.finetune.fiftyone_training import finetune_on_dataset
from alphaclip.training.pairs.format.reading import open_pairs

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.indexing.region_index import RegionIndex

NANO = "alphaclip-nano"
SHORT = {"steps": 3, "warm_up": 1, "batch_size": 4, "workers": 0}
SAMPLE = 10


@pytest.fixture
def scenes() -> Iterator[fo.Dataset]:
    """A few pictures of the sample."""
    dataset = load_sample()[:24].clone()
    yield dataset
    dataset.delete()


@pytest.fixture
def index(scenes: fo.Dataset) -> RegionIndex:
    return indexing.build(scenes, "objects", NANO, "regions")


def _names(dataset: fo.Dataset) -> dict[str, str]:
    """The label of each region, by label id."""
    paths = ["objects.detections.id", "objects.detections.label"]
    return dict(zip(*dataset.values(paths, unwind=True), strict=True))


def _labelled(index: RegionIndex, into: str) -> tuple[list[str], list[str]]:
    """Labels; returns the promise's sample and the queue."""
    names = sorted(set(_names(index.dataset).values()))
    classes = [{"name": name, "prompts": [f"a drawing of a {name}"]} for name in names]
    index.label(classes, into=into, precision=0.9, sample=SAMPLE)
    labelling = labelling_of(index.dataset, into)
    assert labelling is not None
    return list(labelling.draws[-1]["label_ids"]), list(labelling.queue)


def test_loop__reviewed_regions_make_another_encoder(
    scenes: fo.Dataset, index: RegionIndex, tmp_path: Path
) -> None:
    """Trained and measured on the reviewed regions alone; none of the sample is in either."""
    sample, queue = _labelled(index, "auto")
    names = _names(scenes)
    answers: dict[str, str | None] = {one: names[one] for one in queue[:30]}
    answers[queue[30]] = None
    add_reviews(scenes, "auto", {**answers, **{one: names[one] for one in sample}})

    gone = queue[0]
    scenes.delete_labels(ids=[gone], fields="objects")
    done = finetune_on_dataset(
        scenes, "objects", tmp_path, NANO, held_out=0.4, changed=SHORT, reviews="auto"
    )
    parts = [open_pairs(tmp_path / "pairs" / name) for name in ("train", "validation")]
    regions = [{r.id for p in pairs.pictures() for r in p.regions} for pairs in parts]
    assert regions[0] | regions[1] == set(queue[1:30])
    assert not regions[0] & regions[1]
    assert (done.trained_on, done.held_out) == tuple(map(len, regions))
    assert done.skipped["none of the classes"] == 1
    assert done.skipped["reviewed, but not in these samples"] == 1
    assert done.skipped["not reviewed"] > 0
    assert "reviewed into auto" in done.lines()[0]
    pair = parts[0][0]
    assert pair.texts == (f"a drawing of a {pair.label}",)
    assert {one.name for one in done.classes} <= {pair.label for pair in parts[1]}
    assert set(done.gains) == {"text to region", "region to text"}
    assert json.loads((tmp_path / "gain.json").read_text())["finished"]

    tuned = indexing.build(scenes, "objects", str(done.model), "tuned")
    assert tuned.info()["fingerprint"] != index.info()["fingerprint"]
    with pytest.raises(AlphaClipError, match=r"labelled from index 'regions'.*into"):
        tuned.label(["owl"], into="auto")
    again = tuned.label(sorted(set(names.values())), into="auto_tuned")
    assert again.counts["regions"] == len(tuned) == len(names) - 1
    assert again.counts["written"] > 0


def test_too_few__says_how_many_and_where(
    scenes: fo.Dataset, index: RegionIndex, tmp_path: Path
) -> None:
    """With more reviews, the same call into the same folder works."""
    _, queue = _labelled(index, "few")
    names = _names(scenes)
    add_reviews(scenes, "few", {queue[0]: names[queue[0]]})
    with pytest.raises(FinetuneError, match=r"1 pairs to train on and 0 .*Label regions"):
        finetune_on_dataset(scenes, "objects", tmp_path, NANO, reviews="few")
    add_reviews(scenes, "few", {one: names[one] for one in queue[:20]})
    done = finetune_on_dataset(
        scenes, "objects", tmp_path, NANO, held_out=0.4, changed=SHORT, reviews="few"
    )
    assert done.trained_on + done.held_out == 20


def test_place__nobody_labelled_into_is_said_before_anything_is_written(
    scenes: fo.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(AlphaClipError, match="nothing was labelled into it"):
        finetune_on_dataset(scenes, "objects", tmp_path / "tuned", NANO, reviews="nothing")
    assert not (tmp_path / "tuned").exists()
