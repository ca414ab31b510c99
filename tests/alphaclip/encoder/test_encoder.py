"""The encoder on a small random model."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from alphaclip import Region
from alphaclip.catalog.zoo import NANO_FOLDER
from alphaclip.encoder.encoder import Encoder, Failure
from alphaclip.errors import AlphaClipError, EmptyRegionError, ImageError
from alphaclip.network.factory import create_model
from alphaclip.network.fingerprint import fingerprint
from alphaclip.views.view import View


def boxes(count: int) -> list[Region]:
    return [Region.from_box([0.1 + 0.6 * i / count, 0.2, 0.3, 0.5]) for i in range(count)]


@pytest.fixture
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(40, 60, 3), (60, 40, 3), (50, 50, 3)]
    return [rng.integers(0, 256, shape, np.uint8) for shape in shapes]


def test_encode_regions__unit_rows(encoder: Encoder, pictures: list[np.ndarray]) -> None:
    vectors = encoder.encode_regions(pictures[0], boxes(3))
    assert vectors.shape == (3, encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_encode_regions__looks_at_the_mask(encoder: Encoder, pictures: list[np.ndarray]) -> None:
    left, right = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    left[:, :30], right[:, 30:] = True, True
    left[0, 59] = right[0, 0] = left[39, 59] = right[39, 0] = True
    vectors = encoder.encode_regions(pictures[0], [Region.from_mask(m) for m in (left, right)])
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_encode_many__equals_encode_regions(encoder: Encoder, pictures: list[np.ndarray]) -> None:
    items = [(pictures[i % 3], boxes(n)) for i, n in enumerate([3, 0, 70, 1, 5])]
    rows = list(encoder.encode_many(items, batch_size=4))
    assert [len(r) for r in rows] == [3, 0, 70, 1, 5]
    for (image, regions), got in zip(items, rows, strict=True):
        np.testing.assert_allclose(got, encoder.encode_regions(image, regions), atol=1e-5)


def test_encode_regions__a_timm_tower(tiny_config: Path, pictures: list[np.ndarray]) -> None:
    vision = {"image_size": 160, "timm_model_name": "test_vit3", "timm_pool": "map"}
    tiny = json.loads(tiny_config.read_text())
    model = create_model({**tiny, "vision_cfg": vision, "custom_text": True, "quick_gelu": False})
    timm = Encoder(model, "timm", View("context"), torch.device("cpu"), torch.float32)
    assert timm.encode_regions(pictures[0], boxes(2)).shape == (2, 16)
    assert timm.dim == 16


def test_encode_many__without_regions_nothing_is_opened(encoder: Encoder) -> None:
    failures: list[Failure] = []
    rows = list(encoder.encode_many([("gone.jpg", []), ("gone.jpg", [])], failures.append))
    assert [r.shape for r in rows] == [(0, 16), (0, 16)]
    assert rows[0].dtype == np.float32
    assert not failures


def test_encode_many__image_view(encoder: Encoder, pictures: list[np.ndarray]) -> None:
    whole = Encoder(encoder._model, "tiny", View("image"), encoder.device, encoder.dtype)
    (rows,) = whole.encode_many([(pictures[0], boxes(70))])
    for place in (0, 69):
        alone = whole.encode_regions(pictures[0], [boxes(70)[place]])
        np.testing.assert_allclose(rows[place], alone[0], atol=1e-5)


def test_encode_many__one_bad_picture_among_many(
    encoder: Encoder, pictures: list[np.ndarray]
) -> None:
    failures: list[Failure] = []
    items = [(pictures[0], boxes(2)), ("gone.jpg", boxes(3)), (pictures[1], boxes(2))]
    rows = list(encoder.encode_many(items, on_error=failures.append))
    assert [(f.item, f.region) for f in failures] == [(1, None)]
    assert "gone.jpg" in str(failures[0].error)
    assert np.isnan(rows[1]).all()
    assert np.isfinite(rows[0]).all()
    assert np.isfinite(rows[2]).all()


def test_encode_many__one_bad_region(encoder: Encoder, pictures: list[np.ndarray]) -> None:
    failures: list[Failure] = []
    regions = [*boxes(1), Region.from_mask(np.ones((3, 3), bool)), *boxes(1)]
    (rows,) = encoder.encode_many([(pictures[0], regions)], on_error=failures.append)
    assert [(f.item, f.region) for f in failures] == [(0, 1)]
    np.testing.assert_array_equal(np.isnan(rows).all(axis=1), [False, True, False])


def test_encode_regions__raises_without_on_error(
    encoder: Encoder, pictures: list[np.ndarray]
) -> None:
    with pytest.raises(ImageError, match="no such file"):
        encoder.encode_regions("gone.jpg", boxes(1))
    regions = [*boxes(1), Region.from_box([2, 2, 1, 1])]
    with pytest.raises(EmptyRegionError, match=r"^the given image, regions\[1\]: box .* outside"):
        encoder.encode_regions(pictures[0], regions)


def test_encode_text__unit_rows_and_templates(encoder: Encoder) -> None:
    plain = encoder.encode_text(["a cat", "a dog"])
    np.testing.assert_allclose(np.linalg.norm(plain, axis=1), 1, atol=1e-5)
    averaged = encoder.encode_text(["cat"], templates=["a {}", "the {}"])
    parts = encoder.encode_text(["a cat", "the cat"]).mean(axis=0)
    np.testing.assert_allclose(averaged[0], parts / np.linalg.norm(parts), atol=1e-5)


@pytest.mark.parametrize("words, wordings", [(300, 1), (7, 80), (2, 300)])
def test_encode_text__the_same_in_whatever_pass(
    encoder: Encoder, words: int, wordings: int
) -> None:
    prompts = [f"thing {number}" for number in range(words)]
    templates = [f"picture {number} of a {{}}" for number in range(wordings)]
    alone = np.concatenate([encoder.encode_text([prompt], templates) for prompt in prompts])
    np.testing.assert_allclose(encoder.encode_text(prompts, templates), alone, rtol=0, atol=1e-6)


def test_encode_text__many_prompts_share_passes(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, passes = encoder._model.encode_text, []
    monkeypatch.setattr(
        encoder._model, "encode_text", lambda tokens: passes.append(len(tokens)) or encode(tokens)
    )
    encoder.encode_text([f"thing {number}" for number in range(300)])
    encoder.encode_text(["a cat", "a dog", "a bird"], [f"{n} {{}}" for n in range(100)])
    assert passes == [256, 44, 200, 100]


def test_encode_text__a_long_prompt_is_cut_with_a_warning(
    encoder: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    encoder.encode_text(["word " * 50])
    assert "cut to 14 tokens" in caplog.text


@pytest.mark.parametrize(
    ("prompts", "message"),
    [([], "no prompt"), (["a", " "], "prompt 1 is empty"), ("cat", "expected a list")],
)
def test_encode_text__bad_prompts(encoder: Encoder, prompts: list[str], message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        encoder.encode_text(prompts)


def test_fingerprint__changes_with_the_view_only(encoder: Encoder) -> None:
    same = Encoder(encoder._model, "other", encoder.view, encoder.device, encoder.dtype)
    other = Encoder(encoder._model, "tiny", View("image"), encoder.device, encoder.dtype)
    assert same.fingerprint == encoder.fingerprint
    assert other.fingerprint != encoder.fingerprint


def test_fingerprint__changes_with_the_configuration(encoder: Encoder, tiny_config: Path) -> None:
    tiny = json.loads(tiny_config.read_text())
    weights = encoder._model.clip.state_dict()
    prints = set()
    for quick_gelu in (True, False):
        model = create_model({**tiny, "quick_gelu": quick_gelu}, checkpoint=weights)
        same = Encoder(model, "tiny", encoder.view, encoder.device, encoder.dtype)
        prints.add(same.fingerprint)
    assert len(prints) == 2
    assert encoder.fingerprint in prints


def test_fingerprint__changes_with_the_merges(tmp_path: Path) -> None:
    config = tmp_path / "alphaclip-nano.json"
    shutil.copy(NANO_FOLDER / config.name, config)
    torch.manual_seed(0)
    model = create_model(config)
    prints = set()
    for merges in (None, b"#version\na b\n", b"#version\na c\n"):
        if merges:
            (tmp_path / "merges.txt.gz").write_bytes(gzip.compress(merges))
        prints.add(fingerprint(model, View()))
    assert len(prints) == 3
