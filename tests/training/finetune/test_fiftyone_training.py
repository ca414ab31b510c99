"""A fine-tune on a FiftyOne field: what is trained on, what is kept out, what is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import alphaclip
from alphaclip.indexing.dataset.samples import load_sample
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.finetune.fiftyone_training import (
    LEAST_STEPS,
    DatasetTraining,
    defaults,
    finetune_on_dataset,
)
from alphaclip.training.finetune.gains import ClassHits, Gain
from alphaclip.training.pairs.format.reading import open_pairs

if TYPE_CHECKING:
    import fiftyone as fo

NANO = "alphaclip-nano"
SHORT = {"steps": 3, "warm_up": 1, "batch_size": 8, "workers": 0}


@pytest.fixture
def scenes() -> Iterator[fo.Dataset]:
    """A few pictures of the sample."""
    dataset = load_sample()[:24].clone()
    yield dataset
    dataset.delete()


def test_defaults__fit_the_data_and_the_model() -> None:
    found = defaults(NANO, 1000)
    assert (found["batch_size"], found["steps"]) == (125, 80)
    assert found["rate"] == 1e-4
    assert (found["geometry"], found["context"]) == (
        "context",
        pytest.approx([1.0, 1.4]),
    )
    assert defaults(NANO, 5)["batch_size"] == 2
    assert defaults(NANO, 5)["steps"] == LEAST_STEPS
    assert defaults(NANO, 10**6)["batch_size"] == 256


def test_finetune__held_out_pictures_are_not_trained_on(scenes: fo.Dataset, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    done = finetune_on_dataset(
        scenes, "objects", tmp_path, NANO, held_out=0.25, changed=SHORT,
        progress=lambda *said: told.append(said),
    )  # fmt: skip
    train, kept_out = (open_pairs(tmp_path / "pairs" / name) for name in ("train", "validation"))
    keys = [{picture.key for picture in pairs.pictures()} for pairs in (train, kept_out)]
    assert not keys[0] & keys[1]
    assert 1 <= len(keys[1]) <= 6
    assert (done.trained_on, done.held_out) == (len(train), len(kept_out))
    assert done.trained_on + done.held_out == scenes.count("objects.detections")
    assert done.finished
    assert {what for what, _, _ in told} >= {"pictures read", "steps trained"}

    encoder = alphaclip.load(str(done.model))
    assert encoder.view == alphaclip.load(NANO).view
    assert encoder.fingerprint != alphaclip.load(NANO).fingerprint
    content = json.loads((tmp_path / "gain.json").read_text())
    assert [one["name"] for one in content["classes"]] == [one.name for one in done.classes]
    assert all(0 <= one.after <= min(10, one.regions) for one in done.classes)
    assert sum(one.before for one in done.classes) > 0
    gain = content["gains"]["text to region"]
    assert gain["difference"] == pytest.approx(gain["after"] - gain["before"])
    assert gain["low"] is None
    assert 20 < gain["before"] < 100


def test_finetune__stopped_and_run_again_goes_on(scenes: fo.Dataset, tmp_path: Path) -> None:
    changed = {**SHORT, "checkpoint_every": 1}

    class Stop(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if (what, done) == ("steps trained", 2):
            raise Stop

    with pytest.raises(Stop):
        finetune_on_dataset(
            scenes, "objects", tmp_path, NANO, held_out=0.25, changed=changed, progress=stop
        )
    told: list[tuple[str, int, int]] = []
    finetune_on_dataset(
        scenes, "objects", tmp_path, NANO, held_out=0.25, changed=changed,
        progress=lambda *said: told.append(said),
    )  # fmt: skip
    assert [done for what, done, _ in told if what == "steps trained"] == [3]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_finetune__a_share_that_leaves_nothing(
    scenes: fo.Dataset, tmp_path: Path, share: float
) -> None:
    with pytest.raises(FinetuneError, match="share of the pictures"):
        finetune_on_dataset(scenes, "objects", tmp_path, NANO, held_out=share)


def test_finetune__too_little_is_said(scenes: fo.Dataset, tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match="at least two of each"):
        finetune_on_dataset(scenes[:1], "objects", tmp_path, NANO)


def test_lines__say_the_gain_with_its_interval() -> None:
    assert Gain(1.0, 2.0, 1.0, None, None).said == "+1.0 (too few pictures for an interval)"
    gain = Gain(40.0, 52.25, 12.25, 3.0, 20.0)
    done = DatasetTraining(
        Path("tuned"), NANO, 90, 10, {"text to region": gain}, True, {"no text": 2}
    )
    assert done.lines() == [
        "trained on 90 pairs, measured on 10 held-out ones",
        "text to region: mAP 40.0 before, 52.2 after, +12.2 [+3.0, +20.0]",
        "left out: 2 (no text)",
        "the model: tuned",
    ]
    assert replace(done, reviews="auto").lines()[0] == (
        "trained on 90 pairs, measured on 10 held-out ones, as reviewed into auto, without the "
        "promise's random sample"
    )
    assert done.class_lines() == []
    told = replace(done, classes=(ClassHits("owl", 4, 1, 3), ClassHits("a", 20, 7, 9)))
    assert told.class_lines() == [
        "owl: 1 of 4 right before, 3 after",
        "a: 7 of 10 right before, 9 after",
    ]
    assert replace(done, finished=False).lines() == [
        "Stopped. The same again goes on from the last checkpoint."
    ]
