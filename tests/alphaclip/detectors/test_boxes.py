"""Which boxes are kept."""

import pytest

from alphaclip.detectors.boxes import FoundBox, GroundingSettings, keep_boxes
from alphaclip.errors import AlphaClipError


def test_keep_boxes__sure_ones_clipped_and_apart() -> None:
    found = [
        FoundBox((-0.1, 0.0, 0.5, 0.5), 0.6),
        FoundBox((0.0, 0.0, 0.5, 0.52), 0.9),
        FoundBox((0.6, 0.6, 0.9, 0.9), 0.5),
        FoundBox((0.7, 0.1, 0.9, 0.3), 0.2),
        FoundBox((1.2, 0.1, 1.5, 0.3), 0.95),
    ]
    kept = keep_boxes(found, GroundingSettings(least_score=0.3))
    assert kept == [FoundBox((0, 0, 0.5, 0.52), 0.9), FoundBox((0.6, 0.6, 0.9, 0.9), 0.5)]
    assert keep_boxes(found, GroundingSettings(0.3, most_boxes=1)) == kept[:1]


@pytest.mark.parametrize("wrong", [{"least_score": 2}, {"most_boxes": 0}, {"max_overlap": -1}])
def test_grounding_settings__out_of_range(wrong: dict) -> None:
    with pytest.raises(AlphaClipError):
        GroundingSettings(**wrong)
