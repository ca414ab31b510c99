"""From how well descriptions fit each box to who is meant (ReCLIP, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from alphaclip.training.datasets.examples import Box
from alphaclip.training.datasets.phrases import Entity

Probabilities = Mapping[str, np.ndarray]
"""For each description float64 (boxes,), summing to 1."""


def decide(
    expression: str, entity: Entity | None, fits: Probabilities, boxes: Sequence[Box]
) -> np.ndarray:
    """How likely each box is meant: float64 (boxes,), summing to 1; the largest is the answer.

    Args:
        expression: its ``fits`` always count
        entity: what was read from it; None leaves it at the whole expression
        fits: of the expression and of each of the entity's descriptions
        boxes: what is chosen from
    """
    if entity is None or len(boxes) == 1:
        return fits[expression]
    return _narrow(fits[expression], _likely(entity, fits, np.array(boxes, np.float64)))


def relation(name: str, boxes: np.ndarray) -> np.ndarray:
    """How far a relation, one of :data:`~alphaclip.training.datasets.phrases.RELATIONS`, holds.

    By centres, by areas, and for ``inside`` by the share of a box's area that lies in the other.

    Args:
        name: of the relation
        boxes: float64 (n, 4) of ``x, y, w, h`` in pixels

    Returns:
        float64 (n, n) in [0, 1], [i, j] for "i is left of j"
    """
    return _HOLDS[name](boxes)


def _likely(entity: Entity, fits: Probabilities, boxes: np.ndarray) -> np.ndarray:
    likely = fits[entity.text]
    for name, other in entity.relations:
        likely = _narrow(likely, relation(name, boxes) @ _likely(other, fits, boxes))
    for name in entity.superlatives:
        likely = _narrow(likely, relation(name, boxes) @ likely)
    return likely


def _narrow(likely: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """ReCLIP's code divides by zero where a relation holds for no box; here it is passed over."""
    joint = likely * holds
    total = joint.sum()
    return joint / total if total > 0 else likely


def _less(values: np.ndarray) -> np.ndarray:
    return (values[:, None] < values[None]).astype(np.float64)


def _inside(boxes: np.ndarray) -> np.ndarray:
    corners = boxes[:, :2] + boxes[:, 2:]
    start = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    end = np.minimum(corners[:, None], corners[None])
    shared = np.prod((end - start).clip(min=0), axis=-1)
    area = _area(boxes)[:, None]
    return np.divide(shared, area, out=np.zeros_like(shared), where=area > 0)


def _center(axis: int, boxes: np.ndarray) -> np.ndarray:
    return boxes[:, axis] + boxes[:, axis + 2] / 2


def _area(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 2] * boxes[:, 3]


_HOLDS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "left": lambda boxes: _less(_center(0, boxes)),
        "right": lambda boxes: _less(-_center(0, boxes)),
        "above": lambda boxes: _less(_center(1, boxes)),
        "below": lambda boxes: _less(-_center(1, boxes)),
        "bigger": lambda boxes: _less(-_area(boxes)),
        "smaller": lambda boxes: _less(_area(boxes)),
        "inside": _inside,
    }
)
