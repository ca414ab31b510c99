"""Scenes drawn with sprites simple enough to check: one flat colour each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recipes.nano.data import BatchPlan, NanoBatches, square_window
from recipes.nano.drawings import DrawingSet
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


def _share_of_its_box(alpha: np.ndarray) -> float:
    rows, columns = np.nonzero(alpha > 127)
    box = alpha[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return float((box > 127).mean())


def test_square_window__in_longer_box_sides() -> None:
    assert square_window((100, 200), (0.25, 0.4, 0.2, 0.2), 2.0) == (30, 10, 80)
