"""Words for what a region looks like."""

import numpy as np
import pytest

from alphaclip.training.datasets.words import PLACES, SIZES, article, position_words, size_word


@pytest.mark.parametrize(("side", "word"), zip((0.2, 0.25, 0.6), SIZES, strict=True))
def test_size_word__by_the_longer_side(side: float, word: str) -> None:
    assert size_word((0, 0, 0.1, side)) == word
    assert size_word(np.array([0, 0, side, 0.1])) == word


def test_position_words__of_nine_parts() -> None:
    middles = [(x, y) for y in (0.1, 0.5, 0.9) for x in (0.1, 0.5, 0.9)]
    assert tuple(position_words((x - 0.05, y - 0.05, 0.1, 0.1)) for x, y in middles) == PLACES


def test_article__of_vowels() -> None:
    assert [article(name) for name in ("owl", "Apple", "bee")] == ["an owl", "an Apple", "a bee"]
