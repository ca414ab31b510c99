"""The first hits for each class, before and after, with encoders whose vectors are made up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alphaclip.encoder.encoder import Encoder
from alphaclip.regions.region import Region
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.finetune.gains import ClassHits, Compared
from alphaclip.views.view import View

TEXTS = ("owl", "an owl", "pear")


class Toy(Encoder):
    """A text has an axis of its own, a region that which its box's left side names in tenths,
    shifted by some: wrong ones, then."""

    view, dim = View(), 4

    def __init__(self, name: str, shift: int) -> None:
        self.name, self.fingerprint, self._shift = name, f"{name}-fingerprint", shift

    @property
    def text_fingerprint(self) -> str:
        return "texts"

    def encode_many(
        self, items: Iterable[tuple[Any, Sequence[Region]]], on_error: Any = None
    ) -> Iterator[np.ndarray]:
        for _, regions in items:
            axes = [round((region.box or (0,))[0] * 10) + self._shift for region in regions]
            yield np.eye(4, dtype=np.float32)[[axis % 4 for axis in axes]]

    def encode_text(
        self, prompts: Sequence[str], templates: Sequence[str] | None = None
    ) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[[TEXTS.index(prompt) for prompt in prompts]]


@pytest.fixture
def compared(tmp_path: Path) -> Compared:
    """Two owls and twelve pears; before, the owls are what is most like a pear."""
    path = tmp_path / "a.png"
    Image.new("RGB", (10, 10)).save(path)
    owls = [("owl", 0, TEXTS[:2]), ("owl", 1, TEXTS[:2])]
    regions = tuple(
        LabelledRegion(f"{n}", Region.from_box((at / 10, 0, 0.1, 1)), 10.0, name, texts)
        for n, (name, at, texts) in enumerate([*owls, *[("pear", 2, TEXTS[2:])] * 12])
    )
    found = RegionSet("toy", (Example("a", path, 10, 10, regions),), ("owl", "pear"))
    return Compared(Toy("before", 2), Toy("after", 0), found, tmp_path / "cache")


def test_class_hits__count_the_right_ones_of_the_first(compared: Compared) -> None:
    assert compared.class_hits() == (ClassHits("pear", 12, 8, 10), ClassHits("owl", 2, 0, 2))
    assert compared.class_hits()[1].said == "owl: 0 of 2 right before, 2 after"


def test_class_hits__of_one_class_there_are_none(compared: Compared) -> None:
    (example,) = compared.regions.examples
    pears = RegionSet(
        "pears",
        (Example("a", example.path, 10, 10, example.regions[2:]),),
        ("pear",),
    )
    assert Compared(compared.before, compared.after, pears, compared.cache).class_hits() == ()


def test_gain__of_too_few_pictures_has_no_interval(compared: Compared) -> None:
    gain = compared.gain("text to region")
    assert (gain.after > gain.before, gain.low) == (True, None)
    assert "too few pictures" in gain.said
