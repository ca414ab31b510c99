"""Prompts that are encoded once."""

from typing import Any

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.scoring import prompt_vectors
from alphaclip.indexing.labelling.scoring.prompt_vectors import remembering


class Encoder:
    """A text's vector is its length, and the number of templates."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.asked: list[str] = []

    def encode_text(self, prompts: Any, templates: Any = None) -> np.ndarray:
        if not prompts:
            raise AlphaClipError("no prompt was given")
        self.asked += prompts
        return np.array([[len(one), len(templates or ())] for one in prompts], np.float32)


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_vectors, "_vectors", prompt_vectors.OrderedDict())


def test_remembering__each_text_once_in_the_order_asked() -> None:
    encoder: Any = Encoder("a")
    encode = remembering(encoder)
    assert encode(["ab", "c", "ab"], None)[:, 0].tolist() == [2, 1, 2]
    assert encode(["c", "def", "ab"], None)[:, 0].tolist() == [1, 3, 2]
    assert encoder.asked == ["ab", "c", "def"]
    assert encode(["c"], None).dtype == np.float32


def test_remembering__not_for_another_encoder_or_other_templates() -> None:
    first: Any = Encoder("a")
    other: Any = Encoder("b")
    remembering(first)(["x"], None)
    remembering(other)(["x"], None)
    assert remembering(first)(["x"], ["{}", "a {}"]).tolist() == [[1, 2]]
    assert remembering(first)(["x"], ("{}", "a {}")).tolist() == [[1, 2]]
    assert (first.asked, other.asked) == (["x", "x"], ["x"])


def test_remembering__what_was_not_used_for_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_vectors, "MOST_VALUES", 4)
    encoder: Any = Encoder("a")
    encode = remembering(encoder)
    encode(["a", "b"], None)
    encode(["a"], None)
    assert encode(["cc"], None).tolist() == [[2, 0]]
    encode(["a"], None)
    encode(["b"], None)
    assert encoder.asked == ["a", "b", "cc", "b"]
    assert encode(["d", "e", "f", "g"], None).shape == (4, 2), "more than are remembered"


def test_remembering__tells_progress_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_vectors, "PART", 2)
    encoder: Any = Encoder("a")
    told: list[tuple[str, int, int]] = []
    encode = remembering(encoder, lambda *one: told.append(one))
    encode(["a", "b", "c"], None)
    encode(["a", "d"], None)
    assert told == [("prompts encoded", *n) for n in ((2, 3), (3, 3), (1, 1))]


def test_remembering__nothing_is_for_the_encoder_to_refuse() -> None:
    encoder: Any = Encoder("a")
    with pytest.raises(AlphaClipError, match="no prompt"):
        remembering(encoder)([], None)
