"""Filters: what passes, and what is counted where it does not."""

import numpy as np
import pytest

from alphaclip.regions.region import Region
from alphaclip.training.pairs.format.filters import FilterSettings, filter_picture
from alphaclip.training.pairs.format.records import PairError, PairRegion, Skipped

from ..conftest import LEFT, corner_mask, picture

SHAPE = (20, 30)


def reasons(*regions: PairRegion, **settings: float) -> list[str]:
    """Why things are left out."""
    _, left_out = filter_picture(picture("a", *regions), SHAPE, FilterSettings(**settings))
    return [skipped.reason for skipped in left_out]


def kept(*regions: PairRegion, **settings: float) -> list[PairRegion]:
    """The regions that stay."""
    found, _ = filter_picture(picture("a", *regions), SHAPE, FilterSettings(**settings))
    return list(found.regions)


def box(x: float, y: float, w: float, h: float, *texts: str, **scores: float) -> PairRegion:
    """A region of a box."""
    return PairRegion(Region.from_box((x, y, w, h)), texts or ("box",), scores=scores)


def test_regions__get_their_share_of_the_picture() -> None:
    """Half a picture, and 24 of its 600 pixels."""
    found = kept(box(*LEFT), PairRegion(Region.from_mask(corner_mask()), ("corner",)))
    assert [region.scores["area"] for region in found] == [0.5, 0.04]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"least_quality": 0.9}, "mask quality too low"),
        ({"least_clip": 0.3}, "CLIP score too low"),
        ({"least_area": 0.6}, "area too small"),
        ({"most_area": 0.4}, "area too large"),
    ],
)
def test_limit__drops_what_is_beyond_it(settings: dict[str, float], reason: str) -> None:
    """The region has half the area, quality 0.8 and CLIP score 0.2."""
    region = box(*LEFT, mask_quality=0.8, clip=0.2)
    assert reasons(region, **settings) == [reason]
    assert reasons(region) == []


def test_limit__drops_nothing_without_the_score() -> None:
    """A box that nobody scored passes."""
    assert reasons(box(*LEFT), least_quality=0.9, least_clip=0.3) == []


def test_mask_that_scaling_loses__is_counted() -> None:
    """One pixel of 30 x 20 is 56 pixels at 224; one of 600 x 400 is a seventh of a pixel."""
    for scale, expected in ((1, []), (20, ["lost when scaled"])):
        shape = 20 * scale, 30 * scale
        mask = np.zeros(shape, bool)
        mask[3, 3] = True
        given = picture("a", PairRegion(Region.from_mask(mask), ("dot",)))
        _, left_out = filter_picture(given, shape, FilterSettings())
        assert [skipped.reason for skipped in left_out] == expected


def test_instance_mask_that_is_faint__is_empty() -> None:
    """Soft values below one half everywhere leave no pixel."""
    faint = Region.from_mask(np.full((4, 4), 0.4), box=LEFT)
    assert reasons(PairRegion(faint, ("faint",))) == ["region empty in its picture"]


def test_region_outside_or_of_another_size__is_counted() -> None:
    """Each under its own reason, with the picture and the label in the line."""
    outside = PairRegion(Region.from_box((2.0, 0.0, 0.5, 0.5)), ("x",), id="r1")
    turned = PairRegion(Region.from_mask(np.ones((30, 20), bool)), ("x",), id="r2")
    found, left_out = filter_picture(picture("a", outside, turned), SHAPE, FilterSettings())
    assert not found.regions
    assert [line.reason for line in left_out] == [
        "region empty in its picture",
        "region does not fit its picture",
    ]
    assert left_out[1].detail.startswith("a: region 'r2': mask has shape (30, 20)")


def test_texts__are_stripped_and_counted() -> None:
    """Empty, too long and doubled texts go, non-Latin ones stay."""
    region = box(*LEFT, "  red\n apple ", "red apple", "", "x" * 30, "赤いりんご", "\ud83d")
    assert kept(region, most_characters=20)[0].texts == ("red apple", "赤いりんご")
    assert reasons(region, most_characters=20) == ["text empty", "text too long"]


def test_region_without_text_left__is_dropped() -> None:
    """The text and the region are both counted."""
    assert reasons(box(*LEFT, " ")) == ["text empty", "region without a text left"]


def test_tokens__are_counted_by_clips_byte_pairs() -> None:
    """ "a red apple" has three."""
    region = box(*LEFT, "a red apple", "a red apple here")
    assert kept(region, most_tokens=3)[0].texts == ("a red apple",)
    assert reasons(region, most_tokens=3) == ["text too long"]


def test_duplicate__has_the_same_text_and_place() -> None:
    """Boxes that share 27 of 30 columns have an IoU of 0.9; 26 of 30 are two places."""
    first = box(0.0, 0.0, 1.0, 1.0, "sky")
    same, near = box(0.0, 0.0, 0.9, 1.0, "sky", "air"), box(0.0, 0.0, 26 / 30, 1.0, "sky")
    found = kept(first, same, near)
    assert [region.texts for region in found] == [("sky",), ("air",), ("sky",)]
    assert reasons(first, same, near) == ["text a duplicate"]


def test_score_that_is_not_finite__drops_the_region() -> None:
    """It could not be kept, and says that something went wrong."""
    assert reasons(box(*LEFT, clip=float("nan"))) == ["score not finite"]


def test_what_was_left_out_before__is_counted_too() -> None:
    """As labels that could not be read."""
    given = picture("a", left_out=(Skipped("span does not fit", "a: chunk 3"),))
    found, left_out = filter_picture(given, SHAPE, FilterSettings())
    assert left_out == [Skipped("span does not fit", "a: chunk 3")]
    assert found.left_out == ()


@pytest.mark.parametrize(
    "settings",
    [
        {"least_area": -0.1},
        {"least_area": 0.5, "most_area": 0.4},
        {"least_clip": 2.0},
        {"most_characters": 0},
        {"most_tokens": 0},
        {"duplicate_iou": 90},
    ],
)
def test_setting_out_of_range__is_refused(settings: dict[str, float]) -> None:
    """Named in the message."""
    with pytest.raises(PairError, match=next(iter(settings))):
        FilterSettings(**settings)
