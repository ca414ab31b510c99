"""Changes a drawing's shape, colour, line and shading, so that no one artist's hand is learned."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """How often, and how far, a drawing is changed; each chance is in [0, 1].

    Attributes:
        filled: chance that what is drawn in black ink alone is coloured in
        rotation: largest turn either way, in degrees
        turned: chance of any angle at all
        stretch: largest log ratio between the two axes
        elastic: chance of a smooth warp
        color: chance of a change of hue, saturation and contrast
        gray: chance of losing colour
        comic: chance of few flat colours, inner lines and a contour, as comics are inked
        outline: chance of a dark or light contour round the drawing
        lines: chance of inner edges drawn as dark lines
        shading: chance of light falling from one side
        blur: chance of softness or of coarse pixels
    """

    filled: float = 0.6
    rotation: float = 25.0
    turned: float = 0.05
    stretch: float = 0.25
    elastic: float = 0.3
    color: float = 0.7
    gray: float = 0.08
    comic: float = 0.2
    outline: float = 0.3
    lines: float = 0.3
    shading: float = 0.4
    blur: float = 0.15


STRONG = Augmentation()
"""For training."""

PLAIN = Augmentation(
    filled=0.0, rotation=20.0, turned=0.0, stretch=0.1, elastic=0.0, color=0.0, gray=0.0, comic=0.0,
    outline=0.0, lines=0.0, shading=0.0, blur=0.0,
)  # fmt: skip
"""For held-out scenes: the drawing as its artist made it, turned a little."""


def augment(
    sprite: np.ndarray, side: float, rng: np.random.Generator, augmentation: Augmentation
) -> np.ndarray:
    """One drawing, changed at random and scaled.

    Args:
        sprite: uint8 (S, S, 4) RGBA
        side: the longer side it should have, in pixels, before the turn
        rng: the source of chance
        augmentation: what may happen to it

    Returns:
        float32 (H, W, 4): RGB in [0, 255], alpha in [0, 1], cut to where alpha is not zero
    """
    is_ink = not sprite[..., :3].any()
    if is_ink and rng.random() < augmentation.filled:
        sprite = _fill(sprite, rng)
    pixels = _warp(sprite, side, rng, augmentation)
    color, alpha = pixels[..., :3], pixels[..., 3:] / 255.0
    color = np.divide(color, alpha, out=np.zeros_like(color), where=alpha > 1 / 255).clip(0, 255)
    comic = rng.random() < augmentation.comic
    if comic:
        color = _flatten(color, rng)
    if comic or rng.random() < augmentation.lines:
        color = _draw_lines(color, rng)
    if rng.random() < augmentation.color:
        color = _recolor(color, rng)
    if rng.random() < augmentation.gray:
        color = np.repeat(color @ _LUMA, 3, axis=2)
    if rng.random() < augmentation.shading:
        color = _shade(color, rng)
    if comic or rng.random() < augmentation.outline:
        color, alpha = _outline(color, alpha, rng)
    if rng.random() < augmentation.blur:
        sigma = rng.uniform(0.4, 0.02 * side + 0.5)
        color, alpha = cv2.GaussianBlur(color, (0, 0), sigma), _blur_plane(alpha, sigma)
    return _trim(np.concatenate([color.clip(0, 255), alpha], axis=2, dtype=np.float32))


def _fill(sprite: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flat colours between the lines, of which three make up a drawing; none outside."""
    ink = sprite[..., 3]
    count, parts = cv2.connectedComponents((ink < 128).astype(np.uint8), connectivity=4)
    edges = parts[[0, -1]].ravel(), parts[:, [0, -1]].ravel()
    inside = (~np.isin(parts, np.concatenate(edges)) & (ink < 128)).astype(np.uint8)
    # Lines are soft at their edges: the colour reaches under them.
    reach = np.ones((3, 3), np.uint8)
    covered = cv2.dilate(inside, reach)
    parts = cv2.dilate((parts * inside).astype(np.uint16), reach)
    colors = rng.uniform(30, 255, (3, 3))[rng.integers(3, size=count)][parts]
    rgb = colors * (1 - ink[..., None] / 255.0) * covered[..., None]
    return np.dstack([rgb, np.maximum(ink, 255 * covered)]).astype(np.uint8)


_LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)


def _warp(
    sprite: np.ndarray, side: float, rng: np.random.Generator, augmentation: Augmentation
) -> np.ndarray:
    size = sprite.shape[0]
    reach = 180.0 if rng.random() < augmentation.turned else augmentation.rotation
    angle = np.deg2rad(rng.uniform(-reach, reach))
    stretch = rng.uniform(-augmentation.stretch, augmentation.stretch)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    scale = side / size * np.array([np.exp(stretch / 2) * flip, np.exp(-stretch / 2)])
    shear = rng.uniform(-augmentation.stretch, augmentation.stretch) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag(scale)
    extent = int(np.ceil(np.abs(matrix).sum(axis=1).max() * size)) + 6
    offset = np.full(2, extent / 2) - matrix @ np.full(2, size / 2)
    premultiplied = sprite * np.where(np.arange(4) < 3, sprite[..., 3:] / 255.0, 1.0)
    pixels = premultiplied.astype(np.float32)
    if side < size / 2:
        smaller = max(2, round(2.0 * side))
        pixels = cv2.resize(pixels, (smaller, smaller), interpolation=cv2.INTER_AREA).astype(
            np.float32, copy=False
        )
        matrix = matrix * (size / smaller)
    affine = np.column_stack([matrix, offset]).astype(np.float32)
    warped = cv2.warpAffine(pixels, affine, (extent, extent), flags=cv2.INTER_LINEAR)
    warped = warped.astype(np.float32, copy=False)
    return _elastic(warped, rng) if rng.random() < augmentation.elastic else warped


def _elastic(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape[:2]
    coarse = rng.normal(0, 0.03 * height, (2, 4, 4)).astype(np.float32)
    shift_x, shift_y = (
        cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in coarse
    )
    grid_x, grid_y = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    return cv2.remap(pixels, grid_x + shift_x, grid_y + shift_y, cv2.INTER_LINEAR)


def _flatten(color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A few levels of each channel, after what is small has been smoothed away."""
    step = rng.uniform(50, 110)
    smooth = cv2.medianBlur(color.astype(np.uint8), 3).astype(np.float32)
    return ((smooth // step + 0.5) * step).clip(0, 255).astype(np.float32)


def _draw_lines(color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    luma = cv2.GaussianBlur((color @ _LUMA)[..., 0], (0, 0), 0.7)
    edges = cv2.morphologyEx(luma, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    strength = np.clip((edges - 12.0) / 40.0, 0, 1)[..., None]
    return color * (1 - strength * rng.uniform(0.5, 1.0))


def _recolor(color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    hsv = cv2.cvtColor((color / 255.0).astype(np.float32), cv2.COLOR_RGB2HSV)
    spread = 180.0 if rng.random() < 0.15 else 15.0
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-spread, spread)) % 360.0
    hsv[..., 1] = (hsv[..., 1] * rng.uniform(0.4, 1.5)).clip(0, 1)
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    gamma, contrast = np.exp(rng.uniform(-0.4, 0.4)), rng.uniform(0.6, 1.3)
    balance = rng.uniform(0.85, 1.15, 3).astype(np.float32)
    return ((((rgb**gamma) - 0.5) * contrast + 0.5) * balance * 255.0).astype(np.float32)


def _shade(color: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = color.shape[:2]
    direction = rng.normal(size=2)
    direction /= np.linalg.norm(direction)
    ramp = np.add.outer(
        np.linspace(-1, 1, height) * direction[0], np.linspace(-1, 1, width) * direction[1]
    )
    light = 1.0 + ramp * rng.uniform(0.1, 0.5)
    return (color * light[..., None]).astype(np.float32)


def _outline(
    color: np.ndarray, alpha: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    width = 2 * int(rng.integers(1, 3)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    grown = cv2.dilate(alpha[..., 0], kernel)[..., None]
    ink = (
        np.full(3, 255.0, np.float32)
        if rng.random() < 0.2
        else rng.uniform(0, 60, 3).astype(np.float32)
    )
    mixed = color * alpha + ink * (1 - alpha)
    return mixed.astype(np.float32), grown


def _blur_plane(alpha: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(alpha, (0, 0), sigma)[..., None]


def _trim(pixels: np.ndarray) -> np.ndarray:
    visible = pixels[..., 3] > 0.05
    rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
    if not len(rows):
        return pixels
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
