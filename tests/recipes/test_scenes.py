"""Scenes drawn with sprites simple enough to check: one flat colour each."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recipes.nano.augment import PLAIN, augment
from recipes.nano.data import BatchPlan, NanoBatches, PictureBatches, square_window
from recipes.nano.drawings import DrawingSet, concepts, load_sprites
from recipes.nano.scenes import HELD_OUT, SpriteBook, compose, training_sets


@pytest.fixture
def sets() -> tuple[DrawingSet, ...]:
    return training_sets()[:2]


def test_compose__masks_lie_on_their_drawings(
    disc_drawings: Path, sets: tuple[DrawingSet, ...]
) -> None:
    book = SpriteBook(disc_drawings, sets)
    for seed in range(20):
        scene = compose(book, np.random.default_rng(seed), HELD_OUT, target=7)
        assert 7 in {o.concept for o in scene.objects}
        assert len({o.concept for o in scene.objects}) == len(scene.objects)
        for found in scene.objects:
            inside = scene.image[found.mask == 255]
            assert np.abs(np.median(inside, axis=0) - (found.concept % 251, 40, 200)).max() <= 2


def test_compose__no_two_objects_share_a_pixel(
    disc_drawings: Path, sets: tuple[DrawingSet, ...]
) -> None:
    scene = compose(SpriteBook(disc_drawings, sets), np.random.default_rng(3), HELD_OUT)
    total = sum(o.mask.astype(int) for o in scene.objects)
    assert np.max(total) <= 256


def test_compose__what_is_too_thin_to_be_seen_is_no_object(tmp_path: Path) -> None:
    faint = np.zeros((96, 96, 4), np.uint8)
    faint[..., 3] = 100
    ink = DrawingSet("ink", "@somebody/ink", "1.0.0", "somebody", "MIT")
    sprites = {concept.code_point: faint for concept in concepts()}
    np.savez(tmp_path / "ink-96.npz", allow_pickle=False, **sprites)
    scene = compose(SpriteBook(tmp_path, (ink,)), np.random.default_rng(0), HELD_OUT)
    assert scene.objects == ()


def test_compose__same_seed_same_scene(disc_drawings: Path, sets: tuple[DrawingSet, ...]) -> None:
    book = SpriteBook(disc_drawings, sets)
    first, second = (compose(book, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)


def test_batches__depend_on_the_step_alone(disc_drawings: Path) -> None:
    plan = BatchPlan(size=24)
    from_start = NanoBatches(disc_drawings, plan, 32, seed=1, start=0, stop=3)[2]
    resumed = NanoBatches(disc_drawings, plan, 32, seed=1, start=2, stop=3)[0]
    assert from_start.captions == resumed.captions
    assert (from_start.images == resumed.images).all()
    assert len(from_start.captions) == 24
    assert from_start.whole == round(24 * plan.whole)
    assert (from_start.alpha[-from_start.whole :] == 255).all()


def test_batches__boxes_fill_what_the_mask_spans(disc_drawings: Path) -> None:
    plan = BatchPlan(size=12, whole=0.0, plain=1.0, whole_view=0.0)
    masks, boxes = (
        NanoBatches(disc_drawings, replace(plan, boxes=share), 32, seed=1, start=0, stop=1)[0]
        for share in (0.0, 1.0)
    )
    assert all(_share_of_its_box(alpha) > 0.95 for alpha in boxes.alpha.numpy()[:, 0])
    assert any(_share_of_its_box(alpha) < 0.9 for alpha in masks.alpha.numpy()[:, 0])


def test_batches__of_pictures_have_all_regions_of_each(disc_drawings: Path) -> None:
    plan = BatchPlan(size=3, close_up=0.0, plain=1.0)
    batch = PictureBatches(disc_drawings, plan, 64, seed=1, start=0, stop=1)[0]
    most = batch.alpha.shape[1]
    assert batch.images.shape == (3, 3, 64, 64)
    assert batch.rows[-3:].tolist() == [0, most, 2 * most] and batch.whole == 3
    assert len(batch.captions) == len(batch.rows) == len(batch.concepts) + 3
    shown = batch.alpha.flatten(0, 1)[batch.rows]
    assert (shown[-3:] == 255).all()
    assert all(0 < (alpha > 127).float().mean() < 0.6 for alpha in shown[:-3])
    assert not batch.alpha.sum(dim=(2, 3)).flatten().bool().sum() > len(batch.rows)
    # In its own square a disc, and what is left of one, reaches from side to side but for a margin.
    assert batch.squares.shape == (len(batch.concepts), 4, 64, 64)
    masks = batch.squares[:, 3].numpy() > 127
    sides = np.maximum(masks.any(axis=1).sum(axis=1), masks.any(axis=2).sum(axis=1))
    assert np.abs(sides - 64 / 1.2).max() <= 3


def _share_of_its_box(alpha: np.ndarray) -> float:
    rows, columns = np.nonzero(alpha > 127)
    box = alpha[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return float((box > 127).mean())


def test_square_window__in_longer_box_sides() -> None:
    assert square_window((100, 200), (0.25, 0.4, 0.2, 0.2), 2.0) == (30, 10, 80)


def test_augment__ink_is_coloured_in_between_its_lines_only() -> None:
    """A ring of black ink, 8 pixels wide: what it encloses gets a colour, what is outside none."""
    rows, columns = np.mgrid[:96, :96]
    distance = np.hypot(rows - 48, columns - 48)
    ring = np.zeros((96, 96, 4), np.uint8)
    ring[(distance > 32) & (distance < 40), 3] = 255
    only_filled = replace(PLAIN, filled=1.0, rotation=0.0, stretch=0.0)
    filled, plain = (
        augment(ring, 96, np.random.default_rng(0), settings)
        for settings in (only_filled, replace(only_filled, filled=0.0))
    )
    middle = tuple(side // 2 for side in filled.shape[:2])
    assert plain[middle][3] == 0
    assert filled[middle][3] == 1
    assert filled[middle][:3].max() > 20
    assert filled[0, 0, 3] == 0


def test_load_sprites__of_a_package_with_a_picture_for_each_code_point(tmp_path: Path) -> None:
    one, other = concepts()[:2]
    pictures = DrawingSet("pictures", "@somebody/pictures", "1.0.0", "somebody", "MIT")
    with tarfile.open(tmp_path / "somebody-pictures-1.0.0.tgz", "w:gz") as archive:
        stream = io.BytesIO()
        Image.new("RGBA", (20, 20), (200, 0, 0, 255)).save(stream, "WEBP", lossless=True)
        member = tarfile.TarInfo(f"package/assets/{one.code_point}.webp")
        member.size = stream.tell()
        archive.addfile(member, io.BytesIO(stream.getvalue()))
    sprites = load_sprites(tmp_path, pictures, 8)
    assert other.code_point not in sprites
    assert sprites[one.code_point].shape == (8, 8, 4)
    assert (sprites[one.code_point] == (200, 0, 0, 255)).all()
