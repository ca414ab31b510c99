"""What people said of regions, before or beside all reviews, in the classes' own names."""

from __future__ import annotations

from collections.abc import Mapping

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.review.reviewing import SKIPPED, Answer
from alphaclip.indexing.labelling.scoring.classes import ClassSet


def taught(classes: ClassSet, training: Mapping[str, str | None] | None) -> dict[str, Answer]:
    """The regions that are given to learn from, and the examples of the classes.

    Args:
        classes: to tell apart
        training: label id to class, None for "none of these"

    Returns:
        label id to class

    Raises:
        AlphaClipError: if a region is of two classes
    """
    given = {key: class_of(classes, name) for key, name in (training or {}).items()}
    for name, label_id in ((one.name, label_id) for one in classes for label_id in one.examples):
        if given.setdefault(label_id, name) != name:
            raise AlphaClipError(
                f"region {label_id} is an example of {name!r} and of {given[label_id]!r}: take it "
                "out of one of them"
            )
    return given


def class_of(classes: ClassSet, name: Answer) -> Answer:
    """The class that a person named, by its own name; None if it is none of these."""
    if name is None or name == SKIPPED:
        return name
    try:
        return classes.name(classes.place(name))
    except AlphaClipError:
        return None
