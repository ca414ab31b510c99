"""Several encoders as one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from alphaclip import Region
from alphaclip.encoder.encoder import Encoder, Failure
from alphaclip.encoder.ensembles import Ensemble, MemberViews, read_view
from alphaclip.encoder.explaining import explain
from alphaclip.encoder.load import load, members_of
from alphaclip.errors import AlphaClipError, EmptyRegionError
from alphaclip.views.view import View

NAME = "alphaclip-nano & alphaclip-nano+crop & alphaclip-nano+maskattn"


@pytest.fixture(scope="module")
def ensemble() -> Encoder:
    return load(NAME, device="cpu")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


REGIONS = [Region.from_box([0.1 * i, 0.2, 0.3, 0.5]) for i in range(6)]


def test_ensemble__cosine_is_the_mean_of_the_members(
    ensemble: Encoder, picture: np.ndarray
) -> None:
    assert isinstance(ensemble, Ensemble)
    texts = ["a red apple", "a violin"]
    got = ensemble.encode_regions(picture, REGIONS) @ ensemble.encode_text(texts).T
    each = [m.encode_regions(picture, REGIONS) @ m.encode_text(texts).T for m in ensemble.members]
    np.testing.assert_allclose(got, np.mean(each, axis=0), atol=1e-6)
    vectors = ensemble.encode_regions(picture, REGIONS)
    assert vectors.shape == (6, ensemble.dim) == (6, 3 * 192) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_ensemble__name_and_views_make_it_again(ensemble: Encoder) -> None:
    assert ensemble.name == NAME
    stated = ensemble.view.to_dict()
    assert [member["kind"] for member in stated["members"]] == ["context", "context", "image"]
    view = read_view(stated)
    assert view == ensemble.view and hash(view) == hash(ensemble.view)
    assert load(NAME, device="cpu", view=view).fingerprint == ensemble.fingerprint
    assert read_view({"kind": "squash"}) == View("squash")


def test_load__a_view_is_for_every_member_and_methods_are_laid_over_it() -> None:
    encoder = load(NAME, device="cpu", view=View("center"))
    assert isinstance(encoder.view, MemberViews)
    assert [view.kind for view in encoder.view.members] == ["center", "context", "center"]


def test_load__a_list_of_names_and_encoders() -> None:
    nano = load("alphaclip-nano", device="cpu")
    joined = load([nano, "alphaclip-nano+crop"], device="cpu")
    assert joined.name == "alphaclip-nano & alphaclip-nano+crop"
    assert load([nano]) is nano


def test_fingerprint__depends_on_members_and_their_order(ensemble: Encoder) -> None:
    first, second, _ = ensemble.members  # type: ignore[attr-defined]
    found = {Ensemble([first, second]).fingerprint, Ensemble([second, first]).fingerprint}
    assert len(found | {ensemble.fingerprint, first.fingerprint}) == 4


def test_load__refuses() -> None:
    with pytest.raises(AlphaClipError, match="two of its members are the same"):
        load("alphaclip-nano & alphaclip-nano+near", device="cpu", view=View("context", 1.5))
    with pytest.raises(AlphaClipError, match="0 encoders were named"):
        load([])
    two = MemberViews(members=(View(), View()))
    with pytest.raises(AlphaClipError, match="ensemble of 3 was given 2 views"):
        load(NAME, device="cpu", view=two)


def test_encode_many__streams_in_order(ensemble: Encoder, picture: np.ndarray) -> None:
    taken = []

    def items() -> Iterator[tuple[np.ndarray, list[Region]]]:
        for i in range(40):
            taken.append(i)
            yield np.roll(picture, i, axis=1), REGIONS[: i % 3]

    rows = ensemble.encode_many(items(), batch_size=4)
    first = next(rows)
    assert first.shape == (0, ensemble.dim) and len(taken) < 40
    rest = list(rows)
    assert [len(r) for r in rest] == [i % 3 for i in range(1, 40)] and taken == list(range(40))
    alone = ensemble.encode_regions(np.roll(picture, 5, axis=1), REGIONS[:2])
    np.testing.assert_allclose(rest[4], alone, atol=1e-5)


def test_encode_many__a_failure_is_told_once(ensemble: Encoder, picture: np.ndarray) -> None:
    failures: list[Failure] = []
    outside = Region.from_box([2, 2, 0.1, 0.1])
    items = [(picture, [REGIONS[0], outside]), ("gone.jpg", REGIONS[:2])]
    first, second = ensemble.encode_many(items, failures.append)
    assert [(f.item, f.region) for f in failures] == [(0, 1), (1, None)]
    assert np.isfinite(first[0]).all() and np.isnan(first[1]).all() and np.isnan(second).all()
    with pytest.raises(EmptyRegionError, match=r"regions\[1\]"):
        list(ensemble.encode_many(items))


def test_explain__names_a_member(ensemble: Encoder, picture: np.ndarray) -> None:
    with pytest.raises(AlphaClipError, match="take one of them, such as alphaclip-nano"):
        explain(ensemble, picture, REGIONS[0], "an apple")


def test_members_of__a_path_with_the_sign_in_it(tmp_path) -> None:
    path = tmp_path / "mine & yours"
    path.mkdir()
    assert members_of(str(path)) == [str(path)]
    assert members_of("a & b") == ["a", "b"]
    assert members_of("a") == ["a"]
