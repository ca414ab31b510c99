"""Predictions of a FiftyOne dataset as proposals, and what detection makes of them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.training.evaluation.detection import detection
from alphaclip.training.evaluation.detection.detection import TASK
from alphaclip.training.evaluation.fiftyone_regions import read_field, read_predictions
from alphaclip.training.evaluation.outcomes import Means

from ..conftest import ColourEncoder
from .test_detection import arguments

if TYPE_CHECKING:
    import fiftyone as fo

HALVES = ([0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 0.5, 1.0])


@pytest.fixture
def dataset(dataset_factory: Callable[..., Any], paint: Callable[..., Any]) -> "fo.Dataset":
    """Two pictures of two stripes; the second has no predictions."""
    import fiftyone as fo

    made = dataset_factory("proposals")
    for name, colours in (("a", ("red", "green")), ("b", ("green", "blue"))):
        path = paint(name, *colours).path
        pairs = zip(colours, HALVES, strict=True)
        truth = [fo.Detection(label=label, bounding_box=box) for label, box in pairs]
        sample = fo.Sample(filepath=str(path), ground_truth=fo.Detections(detections=truth))
        if name == "a":
            mask = np.zeros((20, 10), bool)
            mask[5:15] = True
            sample["found"] = fo.Detections(
                detections=[
                    fo.Detection(label="any", bounding_box=HALVES[0], confidence=0.25),
                    fo.Detection(label="any", bounding_box=HALVES[1], confidence=0.75, mask=mask),
                    fo.Detection(label="any", bounding_box=[0.2, 0.2, 0.0, 0.1], confidence=0.5),
                    fo.Detection(label="any", bounding_box=HALVES[0], confidence=3.0),
                    fo.Detection(label="any", bounding_box=[0.0, 0.0, 0.5, 0.5]),
                ]
            )
        made.add_sample(sample)
    return made


def test_read_predictions__surest_first(dataset: "fo.Dataset") -> None:
    pictures = read_field(dataset, "ground_truth")
    found, skipped = read_predictions(dataset, "found", pictures)
    first, second = (example.id for example in pictures.examples)
    assert found[second] == []
    assert [p.objectness for p in found[first]] == [1.0, 0.75, 0.25]
    whole, masked, box = found[first]
    assert (whole.box, whole.rle) == ((0, 0, 10, 10), None)
    assert box.box == (0, 0, 10, 20)
    assert masked.box == (10, 5, 10, 10)
    seen = masked.region(pictures.examples[0]).alpha_map(20, 20) > 127
    assert seen[5:15, 10:].all()
    assert seen.sum() == 100
    assert len(skipped) == 2
    assert any("confidence is 3.0" in line for line in skipped)
    most, _ = read_predictions(dataset, "found", pictures, most=1)
    assert [p.objectness for p in most[first]] == [1.0]


def test_read_predictions__field_without_regions(dataset: "fo.Dataset") -> None:
    with pytest.raises(AlphaClipError):
        read_predictions(dataset, "filepath", read_field(dataset, "ground_truth"))


def test_task__names_the_predictions_of_a_dataset(
    dataset: "fo.Dataset",
    tmp_path: Path,
    colour_encoder: ColourEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(detection, "load", lambda *names: colour_encoder)
    args = arguments(
        *("--dataset", dataset.name, "--field", "ground_truth"),
        *("--predictions-field", "found", "--max-overlap", "1"),
    )
    (entry,) = TASK.load(args)
    outcome = TASK.run("colours", entry, Means())
    assert outcome.set == f"{dataset.name}.ground_truth"
    assert outcome.setting == "field found, bbox, max_overlap 1.0"
    assert len(outcome.skipped) == 2
    # red: the half box at confidence 1 comes first and is loose, the whole stripe second; green:
    # half of its stripe's height is found, of one object in two; blue: nothing is proposed
    assert outcome.metrics["AP75"] == pytest.approx((50 + 0 + 0) / 3)
