"""Sprites where ``load_sprites`` keeps them, so that nothing is fetched."""

from pathlib import Path

import numpy as np
import pytest

from recipes.nano.drawings import concepts
from recipes.nano.scenes import training_sets


@pytest.fixture(scope="session")
def disc_drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each artist and concept an opaque disc of one colour."""
    folder = tmp_path_factory.mktemp("drawings")
    rows, columns = np.mgrid[:96, :96]
    disc = (rows - 48) ** 2 + (columns - 48) ** 2 < 40**2
    sprites = {}
    for place, concept in enumerate(concepts()):
        sprite = np.zeros((96, 96, 4), np.uint8)
        sprite[disc] = (place % 251, 40, 200, 255)
        sprites[concept.code_point] = sprite
    for drawing_set in training_sets():
        np.savez(folder / f"{drawing_set.name}-96.npz", allow_pickle=False, **sprites)
    return folder
