"""Vectors of a set: once for each picture, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alphaclip.regions.region import Region
from alphaclip.training.datasets.examples import Example, RegionSet
from alphaclip.training.evaluation import vectors
from alphaclip.training.evaluation.vectors import region_vectors, text_vectors

RED, GREEN, BLUE = np.eye(3)


@pytest.fixture
def many(paint: Callable[..., Example], monkeypatch: pytest.MonkeyPatch) -> RegionSet:
    """Five pictures, two of them in a part."""
    monkeypatch.setattr(vectors, "PICTURES_IN_PART", 2)
    stripes = (["red"], ["green", "blue"], ["blue"], [], ["red", "red"])
    examples = [paint(f"p{i}", *(some or ["red"])) for i, some in enumerate(stripes)]
    examples[3] = replace(examples[3], regions=())
    return RegionSet("many", tuple(examples))


def test_region_vectors__rows_are_in_the_order_of_the_set(many, colour_encoder) -> None:
    found = region_vectors(colour_encoder, many)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [RED, GREEN, BLUE, BLUE, RED, RED])


def test_region_vectors__empty_set_has_no_rows(colour_encoder) -> None:
    assert region_vectors(colour_encoder, RegionSet("empty", ())).shape == (0, 3)


def test_region_vectors__second_run_encodes_nothing(many, colour_encoder, tmp_path) -> None:
    first = region_vectors(colour_encoder, many, tmp_path / "cache")
    assert colour_encoder.opened == ["p0", "p1", "p2", "p4"]
    colour_encoder.opened.clear()
    again = region_vectors(colour_encoder, many, tmp_path / "cache")
    assert colour_encoder.opened == []
    np.testing.assert_array_equal(again, first)


def test_region_vectors__killed_run_goes_on_after_its_last_part(
    many, colour_encoder, tmp_path
) -> None:
    def die(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        region_vectors(colour_encoder, many, tmp_path, die)
    assert not list(tmp_path.rglob("*.part"))
    colour_encoder.opened.clear()
    found = region_vectors(colour_encoder, many, tmp_path)
    assert colour_encoder.opened == ["p4"]
    np.testing.assert_array_equal(found, [RED, GREEN, BLUE, BLUE, RED, RED])


def test_region_vectors__progress_counts_pictures_and_starts_where_it_was(
    many, colour_encoder, tmp_path
) -> None:
    calls: list[tuple[int, int]] = []
    region_vectors(colour_encoder, replace(many, examples=many.examples[:2]), tmp_path)
    region_vectors(colour_encoder, many, tmp_path, lambda *call: calls.append(call))
    assert calls == [(4, 5), (5, 5)]


def test_region_vectors__other_encoder_and_other_precision_are_kept_apart(
    many, colour_encoder, tmp_path
) -> None:
    region_vectors(colour_encoder, many, tmp_path)
    colour_encoder.dtype = "torch.bfloat16"
    region_vectors(colour_encoder, many, tmp_path)
    colour_encoder.fingerprint = "e" * 32
    region_vectors(colour_encoder, many, tmp_path)
    assert len(colour_encoder.opened) == 3 * 4
    names = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert names == {"f" * 32, "f" * 32 + "-bfloat16", "e" * 32 + "-bfloat16"}


def test_region_vectors__changed_picture_and_changed_region_are_encoded_again(
    many, paint, colour_encoder, tmp_path
) -> None:
    cache = tmp_path / "cache"
    region_vectors(colour_encoder, many, cache)
    paint("p0", "blue")
    first = many.examples[2].regions[0]
    other = replace(first, region=Region.whole_image())
    changed = list(many.examples)
    changed[2] = replace(changed[2], regions=(other,))
    colour_encoder.opened.clear()
    found = region_vectors(colour_encoder, replace(many, examples=tuple(changed)), cache)
    assert colour_encoder.opened == ["p0", "p1", "p2"]
    np.testing.assert_array_equal(found[0], BLUE)


def test_region_vectors__bad_picture_is_nan_and_reported_and_the_others_are_kept(
    many, colour_encoder, tmp_path
) -> None:
    many.examples[1].path.write_bytes(b"no picture")
    lines: list[str] = []
    found = region_vectors(colour_encoder, many, tmp_path / "cache", on_skip=lines.append)
    assert np.isnan(found[1:3]).all()
    np.testing.assert_array_equal(found[[0, 3, 4, 5]], [RED, BLUE, RED, RED])
    assert len(lines) == 1
    assert "picture p1" in lines[0]
    assert "p1.png" in lines[0]


def test_region_vectors__failed_picture_alone_is_tried_again(
    many, paint, colour_encoder, tmp_path
) -> None:
    broken = replace(many.examples[1], path=tmp_path / "later.png")
    waiting = replace(many, examples=(many.examples[0], broken, *many.examples[2:]))
    region_vectors(colour_encoder, waiting, tmp_path / "cache", on_skip=lambda line: None)
    colour_encoder.opened.clear()
    lines: list[str] = []
    region_vectors(colour_encoder, waiting, tmp_path / "cache", on_skip=lines.append)
    assert colour_encoder.opened == ["later"]
    assert len(lines) == 1


def test_region_vectors__region_outside_its_picture_is_nan_and_named(
    many, colour_encoder, caplog
) -> None:
    outside = replace(many.examples[1].regions[1], region=Region.from_box((2, 2, 0.1, 0.1)))
    example = replace(many.examples[1], regions=(many.examples[1].regions[0], outside))
    found = region_vectors(colour_encoder, RegionSet("one", (example,)))
    assert np.isnan(found).tolist() == [[False] * 3, [True] * 3]
    assert "region p11 of" in caplog.text


@pytest.mark.parametrize("damage", ["truncated", "flipped", "other shape", "empty"])
def test_region_vectors__damaged_file_is_made_again(
    many, colour_encoder, tmp_path, caplog, damage
) -> None:
    first = region_vectors(colour_encoder, many, tmp_path)
    path = sorted(tmp_path.rglob("*.npz"))[0]
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[:-30])
    elif damage == "flipped":
        content[180] ^= 255
        path.write_bytes(content)
    elif damage == "other shape":
        np.savez(path, vectors=np.zeros((9, 3), np.float32))
    else:
        path.write_bytes(b"")
    np.testing.assert_array_equal(region_vectors(colour_encoder, many, tmp_path), first)
    assert str(path) in caplog.text


def test_region_vectors__pickled_file_is_not_opened(many, colour_encoder, tmp_path) -> None:
    first = region_vectors(colour_encoder, many, tmp_path)
    path = sorted(tmp_path.rglob("*.npz"))[0]
    np.savez(path, vectors=np.array([{"a": 1}], dtype=object))
    np.testing.assert_array_equal(region_vectors(colour_encoder, many, tmp_path), first)


def test_text_vectors__are_found_by_words_and_templates(colour_encoder, tmp_path) -> None:
    asked: list[object] = []
    encode = colour_encoder.encode_text

    def counting(prompts: list[str], templates: object = None) -> np.ndarray:
        asked.append(templates)
        return encode(prompts, templates)

    colour_encoder.encode_text = counting
    for templates in (None, None, ["a {}"], ("a {}",)):
        found = text_vectors(colour_encoder, ["red", "blue"], templates, tmp_path)
        np.testing.assert_array_equal(found, [RED, BLUE])
    assert asked == [None, ["a {}"]]
    colour_encoder.fingerprint = "another view"
    text_vectors(colour_encoder, ["red", "blue"], None, tmp_path)
    assert len(asked) == 2


def test_region_vectors__unwritable_cache_is_said(many, colour_encoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match="cannot be written"):
        region_vectors(colour_encoder, many, tmp_path / "file")
