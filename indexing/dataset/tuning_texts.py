"""Text queries that a large index is tuned and measured on: its own labels, and common words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import fiftyone as fo

MOST = 128
"""Texts at most: each is searched exactly once."""

WORDS = (
    "person", "face", "hand", "car", "truck", "bus", "bicycle", "motorcycle", "train", "boat",
    "airplane",
    "road", "traffic light", "sign", "building", "window", "door", "wall", "roof",
    "fence", "tree", "flower", "grass", "leaf", "sky", "water", "rock", "sand", "dog", "cat",
    "bird", "horse", "cow", "sheep", "fish", "insect",
    "chair", "table", "bed", "lamp", "bottle", "cup",
    "plate", "knife", "food", "fruit", "apple", "bread", "phone", "computer", "book", "clock",
    "bag", "shoe", "hat", "shirt", "tool", "wheel", "pipe", "cable", "screw", "crack", "stain",
    "shadow",
)  # fmt: skip


def probe_texts(dataset: fo.Dataset, field: str) -> list[str]:
    """What somebody may search for in a field: the names of its labels, then common words."""
    _, path = dataset._get_label_field_path(field, "label")
    labels = [label for label in dataset.distinct(path) if label]
    texts = [f"a {label}" for label in labels[: MOST // 2]]
    return texts + [f"a photo of a {word}" for word in WORDS][: MOST - len(texts)]
