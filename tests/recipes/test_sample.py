"""The sample dataset: what was drawn, and what is bundled."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from alphaclip.regions.rle import decode_rle
from recipes.nano.drawings import concepts
from recipes.nano.sample import draw_sample

BUNDLED = Path(__file__).parents[2] / "sample"


@pytest.fixture
def drawn(disc_drawings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("recipes.nano.sample.SPRITE_SIZE", 96)
    draw_sample(disc_drawings, tmp_path, scenes=11)
    return tmp_path


def test_draw_sample__a_turned_picture_is_shown_upright(drawn: Path) -> None:
    scene = json.loads((drawn / "scenes.json").read_text())["scenes"][0]
    stored = Image.open(drawn / scene["image"])
    assert stored.getexif()[0x0112] == 6
    pixels = np.asarray(ImageOps.exif_transpose(stored)).astype(int)
    height, width = pixels.shape[:2]
    top = scene["regions"][-1]
    x, y = _center(top)
    red, green, blue = pixels[int(y * height), int(x * width)]
    assert abs(green - 40) < 30
    assert abs(blue - 200) < 30
    assert 0 <= red <= 255


def test_draw_sample__masks_fill_their_boxes(drawn: Path) -> None:
    scenes = json.loads((drawn / "scenes.json").read_text())["scenes"]
    masks = [row["mask"] for scene in scenes for row in scene["regions"] if "mask" in row]
    assert masks
    for rle in masks:
        mask = decode_rle(rle)
        assert mask.any(axis=1).all()
        assert mask.any(axis=0).all()


def test_bundled__is_as_large_and_as_wrong_as_promised() -> None:
    scenes = json.loads((BUNDLED / "scenes.json").read_text())["scenes"]
    rows = [row for scene in scenes for row in scene["regions"]]
    wrong = [row for row in rows if "true_label" in row]
    kinds = {"polygon" if "polygon" in r else "mask" if "mask" in r else "box" for r in rows}
    assert len(scenes) >= 300
    assert len(rows) >= 1500
    assert 0.02 < len(wrong) / len(rows) < 0.045
    assert all(row["label"] != row["true_label"] for row in wrong)
    assert kinds == {"polygon", "mask", "box"}
    assert {row["label"] for row in rows} <= {concept.name for concept in concepts()}


def test_bundled__pictures_are_there_some_oblong_some_turned() -> None:
    scenes = json.loads((BUNDLED / "scenes.json").read_text())["scenes"]
    pictures = [Image.open(BUNDLED / scene["image"]) for scene in scenes]
    assert sum(picture.width != picture.height for picture in pictures) > 100
    turned = [p.getexif().get(0x0112, 1) for p in pictures]
    assert {3, 6, 8} <= set(turned)


def _center(row: dict) -> tuple[float, float]:
    if "polygon" in row:
        ring = np.array(row["polygon"][0])
        return tuple((ring.min(axis=0) + ring.max(axis=0)) / 2)
    x, y, w, h = row["box"]
    return x + w / 2, y + h / 2
