"""What captions of crops say of the white around, taken out."""

import pytest

from alphaclip.training.pairs.captions.backgrounds import BACKGROUND_PHRASES, strip_background


@pytest.mark.parametrize("phrase", BACKGROUND_PHRASES)
def test_strip_background__every_phrase_goes(phrase: str) -> None:
    assert strip_background(f"a red car {phrase}.") == "a red car"
    assert strip_background(f"A dog, {phrase.upper()}") == "A dog"


@pytest.mark.parametrize(
    "caption",
    ["a dog on a white sofa", "a white background check form", "two black cats", "a whitish wall"],
)
def test_strip_background__what_belongs_to_the_object_stays(caption: str) -> None:
    expected = {"a white background check form": "check form"}
    assert strip_background(caption) == expected.get(caption, caption)


def test_strip_background__nothing_may_be_left() -> None:
    assert strip_background("a white background") == ""
