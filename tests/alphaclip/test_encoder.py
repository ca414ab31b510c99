"""The encoder on a small random model."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alphaclip import Region, images
from alphaclip.encoder import Encoder, Failure
from alphaclip.errors import AlphaClipError, EmptyRegionError, ImageError


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


def test_encode_many__opens_each_picture_once(
    encoder: Encoder, tmp_path: Path, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.png"
    Image.fromarray(pictures[0]).save(path)
    opened = []

    def counting(source: Path) -> np.ndarray:
        opened.append(source)
        return images.open_image(source)

    monkeypatch.setattr("alphaclip.encoder.open_image", counting)
    list(encoder.encode_many([(path, boxes(200))]))
    assert opened == [path]


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
    with pytest.raises(EmptyRegionError):
        encoder.encode_regions(pictures[0], [Region.from_box([2, 2, 1, 1])])


def test_encode_text__unit_rows_and_templates(encoder: Encoder) -> None:
    plain = encoder.encode_text(["a cat", "a dog"])
    np.testing.assert_allclose(np.linalg.norm(plain, axis=1), 1, atol=1e-5)
    averaged = encoder.encode_text(["cat"], templates=["a {}", "the {}"])
    parts = encoder.encode_text(["a cat", "the cat"]).mean(axis=0)
    np.testing.assert_allclose(averaged[0], parts / np.linalg.norm(parts), atol=1e-5)


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
    from alphaclip.views import View

    same = Encoder(encoder._model, "other", encoder.view, encoder.device, encoder.dtype)
    other = Encoder(encoder._model, "tiny", View("image"), encoder.device, encoder.dtype)
    assert same.fingerprint == encoder.fingerprint
    assert other.fingerprint != encoder.fingerprint
