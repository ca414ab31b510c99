"""What public functions are given: converted where it is clear what is meant, else refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
import torch

import alphaclip
from alphaclip import Region
from alphaclip.arguments import COSINE, COUNT, check_fields, checked
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.sam.masks import MaskLimits

Order = Literal["up", "down"]


@checked(k=COUNT, score=COSINE, order=Order)
def given(
    k: int | None = 1,
    score: float = 0.0,
    flag: bool = False,
    name: str = "",
    names: Sequence[str] | None = None,
    order: Order = "up",
    **more: Any,
) -> tuple[Any, ...]:
    return k, score, flag, name, names, order


@pytest.mark.parametrize(
    ("argument", "value", "meant"),
    [
        ("k", np.int64(3), 3),
        ("k", np.uint8(3), 3),
        ("k", np.array(3), 3),
        ("k", torch.tensor(3), 3),
        ("k", 3.0, 3),
        ("k", None, None),
        ("score", np.float32(0.5), 0.5),
        ("score", 1, 1.0),
        ("score", Fraction(1, 2), 0.5),
        ("score", 1 + 1e-7, 1 + 1e-7),
        ("flag", np.True_, True),
        ("flag", 1, True),
        ("name", np.str_("a"), "a"),
        ("names", np.array(["a", "b"]), ["a", "b"]),
        ("names", (one for one in "ab"), ["a", "b"]),
        ("names", (), []),
        ("order", "down", "down"),
    ],
)
def test_checked__accepts_what_is_meant(argument: str, value: Any, meant: Any) -> None:
    names = ("k", "score", "flag", "name", "names", "order")
    got = dict(zip(names, given(**{argument: value}), strict=True))[argument]
    assert got == meant
    assert type(got) is type(meant)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("k", True, "k is True: expected a whole number of at least 1, or None"),
        ("k", np.True_, "expected a whole number"),
        ("k", 0, "k is 0: expected a whole number of at least 1"),
        ("k", np.int64(-2), "expected a whole number of at least 1"),
        ("k", 2.5, "k is 2.5: expected a whole number"),
        ("k", float("nan"), "k is nan"),
        ("k", float("inf"), "k is inf"),
        ("k", "3", "k is '3'"),
        ("k", np.array([3]), "expected a whole number"),
        ("score", "0.1", r"score is '0.1': expected a cosine in \[-1, 1\]$"),
        ("score", 1.01, r"in \[-1, 1\]"),
        ("score", None, "score is None"),
        ("score", float("nan"), "score is nan"),
        ("score", 1j, "expected a cosine"),
        ("flag", "false", "flag is 'false': expected True or False"),
        ("flag", 2, "expected True or False"),
        ("flag", None, "expected True or False"),
        ("name", 7, "name is 7: expected a text"),
        ("name", b"a", "expected a text"),
        ("name", None, "expected a text"),
        ("names", "ab", "names is 'ab': expected a list of texts, or None"),
        ("names", ["a", 1], "expected a list of texts"),
        ("names", {"a": 1}, "expected a list of texts"),
        ("names", 7, "expected a list of texts"),
        ("order", "left", "order is 'left': expected one of up, down"),
        ("order", ["up"], "expected one of up, down"),
        ("order", np.array(["up", "down"]), "expected one of up, down"),
    ],
)
def test_checked__names_what_it_cannot_take(argument: str, value: Any, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        given(**{argument: value})


def test_checked__leaves_defaults_and_other_arguments_alone() -> None:
    assert given(more=object()) == (1, 0.0, False, "", None, "up")
    assert given.__name__ == "given"
    with pytest.raises(TypeError, match=r"required"):
        checked()(lambda one: one)()


def test_checked__long_values_give_short_messages() -> None:
    with pytest.raises(AlphaClipError) as raised:
        given(k="x\n" * 10_000)
    assert len(str(raised.value)) < 200
    assert "\n" not in str(raised.value)


def test_check_fields__of_a_dataclass() -> None:
    @dataclass(frozen=True)
    class Limits:
        count: int = 1
        share: float | None = None

        def __post_init__(self) -> None:
            check_fields(self, count=COUNT)

    assert Limits(np.int64(3)) == Limits(3)
    with pytest.raises(AlphaClipError, match="share is 'half': expected a number, or None"):
        Limits(share="half")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return alphaclip.load("alphaclip-nano", device=torch.device("cpu"), precision="fp32")


PIXELS = np.zeros((20, 30, 3), np.uint8)
REGION = Region.from_box([0.1, 0.1, 0.5, 0.5])


@pytest.mark.parametrize("size", [np.int64(2), 2.0, None])
def test_encode__takes_numbers_of_numpy(encoder: Encoder, size: Any) -> None:
    assert next(encoder.encode_many([(PIXELS, [REGION])], batch_size=size)).shape == (
        1,
        encoder.dim,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.encode_many([], batch_size=True), "batch_size is True"),
        (lambda e: e.encode_many([], batch_size=0), "batch_size is 0"),
        (lambda e: e.encode_many([], batch_size="8"), "batch_size is '8'"),
        (lambda e: e.encode_many([], on_error="skip"), "on_error is 'skip'"),
        (lambda e: list(e.encode_many(["a.png"])), "item 0 is 'a.png'"),
        (lambda e: e.encode_many(None), "items is None: expected pictures"),
        (lambda e: e.encode_regions(PIXELS, REGION), "item 0 is"),
        (lambda e: e.encode_regions(PIXELS, [[0, 0, 1, 1]]), r"regions\[0\]"),
        (lambda e: e.encode_text("a cat"), "prompts is 'a cat': expected a list of texts"),
        (lambda e: e.encode_text([7]), "expected a list of texts"),
        (lambda e: e.encode_text(None), "prompts is None"),
        (lambda e: e.encode_text(["a"], templates="{}"), "templates is '{}'"),
        (lambda e: alphaclip.load(7), "encoder is 7"),
        (lambda e: alphaclip.load(None), "encoder is None"),
        (lambda e: alphaclip.load([None]), "encoder is None"),
        (lambda e: alphaclip.load("alphaclip-nano", device=["cpu"]), "device is"),
        (lambda e: alphaclip.load("alphaclip-nano", precision=16), "precision is 16"),
        (lambda e: alphaclip.load("alphaclip-nano", view="context"), "view is 'context'"),
        (lambda e: MaskLimits(min_area="0.1"), "min_area is '0.1'"),
        (lambda e: MaskLimits(max_overlap=2), r"max_overlap is 2: .*\[0, 1\]"),
    ],
)
def test_encoder__names_what_it_cannot_take(encoder: Encoder, call: Any, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        call(encoder)
