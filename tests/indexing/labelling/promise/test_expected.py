"""The mode that holds on average."""

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.promise.expected import expected_share


def test_expected_share__agrees_with_benjamini_and_hochberg_by_hand() -> None:
    scores = np.arange(1.0, 10.0)
    correct = scores > 3
    promise = expected_share(scores, correct, 0.8, candidates=scores)
    # p-values: 0.1 for the scores 4 to 9 (no wrong one is as high), then 0.2, 0.3 and 0.4.
    # BH at 0.2: 0.1 <= 0.2 * 6 / 9; 0.2 > 0.2 * 7 / 9; 0.3 and 0.4 are above theirs.
    assert promise.threshold == 4 and promise.mode == "on average" and promise.confidence is None
    assert (promise.passed, promise.right) == (6, 6)
    assert promise.coverage == pytest.approx(6 / 9)
    assert "on average" in promise.reason


def test_expected_share__too_few_reviews_are_not_enough() -> None:
    scores = np.arange(10.0)
    promise = expected_share(scores, np.ones(10, bool), 0.95, candidates=scores)
    assert not promise.kept and promise.more == 9, "the smallest p-value of 19 reviews is 0.05"
    assert expected_share(np.arange(19.0), np.ones(19, bool), 0.95, candidates=np.arange(19.0)).kept


def test_expected_share__refuses_all_of_them() -> None:
    with pytest.raises(AlphaClipError, match="100 %"):
        expected_share(np.ones(3), np.ones(3, bool), 1.0, candidates=np.ones(3))
