"""What lies behind the drawings: photographs that scikit-image bundles, and procedural pictures."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

PHOTOGRAPHS = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "hubble_deep_field",
    "brick",
    "grass",
    "gravel",
)
"""Names in :mod:`skimage.data`; each is in the public domain or CC0 and inside the wheel."""


def background(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A float32 (height, width, 3) picture with values in [0, 255]."""
    kind = rng.random()
    if kind < 0.45:
        return _photograph(height, width, rng)
    if kind < 0.65:
        return _clouds(height, width, rng)
    if kind < 0.8:
        return _gradient(height, width, rng)
    if kind < 0.9:
        return _stripes(height, width, rng)
    return np.broadcast_to(_color(rng), (height, width, 3)).astype(np.float32)


@cache
def _photographs() -> tuple[np.ndarray, ...]:
    import skimage.data

    pictures = (getattr(skimage.data, name)() for name in PHOTOGRAPHS)
    return tuple(_shrink(np.dstack([p] * 3) if p.ndim == 2 else p[..., :3]) for p in pictures)


def _shrink(picture: np.ndarray, side: int = 512) -> np.ndarray:
    scale = side / max(picture.shape[:2])
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _photograph(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    photographs = _photographs()
    picture = photographs[rng.integers(len(photographs))]
    share = rng.uniform(0.3, 1.0)
    crop_height = int(min(picture.shape[0], picture.shape[1] * height / width) * share)
    crop_width = max(1, int(crop_height * width / height))
    top = rng.integers(picture.shape[0] - crop_height + 1)
    left = rng.integers(max(1, picture.shape[1] - crop_width + 1))
    crop = picture[top : top + crop_height, left : left + crop_width]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    resized = cv2.resize(np.ascontiguousarray(crop), (width, height), interpolation=cv2.INTER_AREA)
    gain = rng.uniform(0.7, 1.2, 3) if rng.random() < 0.5 else np.ones(3)
    return (resized * gain.astype(np.float32)).clip(0, 255)


def _clouds(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    cells = int(rng.integers(2, 24))
    noise = rng.random((cells, cells, 3)).astype(np.float32)
    smooth = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high = _color(rng), _color(rng)
    return (low + (high - low) * smooth).clip(0, 255).astype(np.float32)


def _gradient(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    direction = rng.normal(size=2)
    ramp = np.add.outer(
        np.linspace(0, direction[0], height, dtype=np.float32),
        np.linspace(0, direction[1], width, dtype=np.float32),
    )
    ramp = (ramp - ramp.min()) / (np.ptp(ramp) + 1e-6)
    low, high = _color(rng), _color(rng)
    return (low + (high - low) * ramp[..., None]).astype(np.float32)


def _stripes(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.05, 0.4) * width
    rows, columns = np.mgrid[:height, :width]
    wave = np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi / period)
    if rng.random() < 0.5:
        wave = wave * np.sin((rows * np.cos(angle) - columns * np.sin(angle)) * 2 * np.pi / period)
    low, high = _color(rng), _color(rng)
    return (low + (high - low) * (wave[..., None] > 0)).astype(np.float32)


def _color(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, 255, 3).astype(np.float32)
