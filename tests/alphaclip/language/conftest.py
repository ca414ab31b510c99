"""The small models, each written and loaded once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from alphaclip import Region, language
from alphaclip.language.transformers_model import TransformersModel

from .tiny_models import write_model


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind's model."""
    return cache(lambda kind: write_model(kind, tmp_path_factory.mktemp(kind)))


@pytest.fixture(scope="session")
def model_of(folder_of: Callable[[str], Path]) -> Callable[[str], TransformersModel]:
    """A kind's model, loaded as a user does."""
    return cache(lambda kind: language.load(folder_of(kind), device="cpu"))


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.fixture(scope="session")
def regions() -> list[Region]:
    mask = np.zeros((60, 80), bool)
    mask[5:20, 40:70] = True
    box = Region.from_box([0.1, 0.1, 0.3, 0.4])
    return [box, Region.from_mask(mask), Region.from_polygon([[0.1, 0.1], [0.9, 0.2], [0.4, 0.9]])]
