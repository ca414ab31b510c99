"""What describers say: answers, and texts as they are kept."""

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.language import Answers, Question
from alphaclip.language.describer import clean
from alphaclip.language.questions import fill


def test_answers__are_what_is_likelier_than_without_a_picture() -> None:
    logliks = np.log(np.array([[0.6, 0.3], [0.6, 0.1], [np.nan, np.nan]], np.float32))
    priors = np.log(np.array([[0.9, 0.1]] * 3, np.float32))
    answers = Answers(("yes", "no"), logliks, priors)
    # 0.6 / 0.9 to 0.3 / 0.1, then to 0.1 / 0.1
    assert np.allclose(answers.scores[:2], [[2 / 11, 9 / 11], [0.4, 0.6]])
    assert answers.scores.dtype == np.float32
    assert answers.best == ["no", "no", None]


def test_answers__of_very_unlikely_choices() -> None:
    answers = Answers(("a", "b"), np.array([[-900.0, -901.0]]), np.zeros((1, 2)))
    assert np.allclose(answers.scores, [[0.7310586, 0.26894143]])
    assert Answers(("a", "b"), np.empty((0, 2)), np.empty((0, 2))).best == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  a dog\n on\ta mat ", "a dog on a mat"),
        ("a\x00b\x1b[31mred\x7f", "a b [31mred"),
        ("safe\u202egpj.exe\u2066\ufeff", "safegpj.exe"),
        (
            "\U0001f469\u200d\U0001f680 \u0645\u200c\u062e",
            "\U0001f469\u200d\U0001f680 \u0645\u200c\u062e",
        ),
        ("\ud800 half", "half"),
        ("<b>x</b> & {y}", "<b>x</b> & {y}"),
        ("word " * 200, "word " * 99 + "word"),
        ("\n\r\u2028", ""),
    ],
)
def test_clean__one_line_of_what_can_be_seen(text: str, kept: str) -> None:
    assert clean(text) == kept
    assert len(clean(text)) <= 500


def test_fill__reads_names_and_nothing_else() -> None:
    assert fill("a {label}, {n} of {label}", {"label": "{n}", "n": 3}) == "a {n}, 3 of {n}"
    assert fill("{label.__class__} {} {0!r}", {"label": "cat"}) == "{label.__class__} {} {0!r}"
    with pytest.raises(AlphaClipError, match="no value of: it has no attributes"):
        fill("a {label}", {"label": None})


def test_question__takes_any_list() -> None:
    assert Question("q", ["a ", "b"]) == Question("q", ("a", "b"))  # type: ignore[arg-type]
