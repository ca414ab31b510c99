"""Declares fields of labels while others may load the dataset anew."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.dataset.labels import FieldError, LabelPath, is_of_frames, own_name

if TYPE_CHECKING:
    import fiftyone as fo

_TRIES = 5
"""Each event of the App may load the dataset anew once; so often in a row it is no chance any more,
and the error is told."""

INFO = "alphaclip"
"""Where a field's own ``info`` keeps the settings that it was made with."""

RESERVED_FIELDS = frozenset({"frame_id", "frame_number", "frames", "groups", "id", "sample_id"})
"""Names of a sample's fields that mean something to FiftyOne beside those of its class Sample."""

RESERVED_ATTRIBUTES = frozenset({
    "detections", "index_version", "instance", "made_from", "made_of", "model", "polylines",
    "quality", "run", "score", "source", "source_digest", "source_id",
})  # fmt: skip
"""Names of a label's attributes that mean something to FiftyOne, beside those of its classes of
labels, or to the labels and masks that are written here."""

MEANT = {"label": "StringField", "confidence": "FloatField", "score": "FloatField"}
"""Reserved attributes that may be written as what they are."""


def mask_settings(dataset: fo.Dataset, name: str) -> dict[str, Any] | None:
    """The settings that a field of masks was made with; None if it was not made here."""
    schema = dataset.get_field(name)
    return (getattr(schema, "info", None) or {}).get(INFO)


def declare(dataset: fo.Dataset, paths: Mapping[str, str]) -> None:
    """Declares attributes of a field's labels.

    All threads of a process share a dataset. Where one of them, such as an event in the App, loads
    it anew at the wrong moment, FiftyOne forgets in this process a field that was just declared,
    though the database has it; it is then loaded once more.

    Args:
        dataset: whose
        paths: as ``auto.detections.score``, to FiftyOne's class of field, as "FloatField"

    Raises:
        ValueError: FiftyOne's, if one cannot be declared
    """
    import fiftyone as fo

    for path, kind in paths.items():
        _declare(dataset, path, getattr(fo, kind))
    if paths and not all(map(dataset.has_field, paths)):
        dataset.reload()


def _declare(dataset: fo.Dataset, path: str, kind: Any) -> None:
    name = own_name(path)
    add = dataset.add_frame_field if is_of_frames(path) else dataset.add_sample_field
    root = path.removesuffix(name) + name.partition(".")[0]
    for attempt in range(_TRIES):
        try:
            add(name, kind)
            return
        except ValueError:
            if dataset.has_field(root) or attempt == _TRIES - 1:
                raise
            dataset.reload()


def undeclare(dataset: fo.Dataset, path: LabelPath, names: Iterable[str]) -> None:
    """Takes attributes out of a field's schema, as far as no label has a value of them."""
    declared = [name for name in names if dataset.has_field(path.declared(name))]
    empty = [path.to(name) for name in declared if not dataset.count(path.declared(name))]
    if empty:  # To delete them, FiftyOne would read every sample again that the process holds
        if path.of_frames:
            dataset.remove_dynamic_frame_fields(empty)
        else:
            dataset.remove_dynamic_sample_fields(empty)


def check_name(name: Any) -> None:
    """Checks a name for a new field.

    Raises:
        FieldError: if it is anything but letters, digits and underscores after a letter, or means
            something to FiftyOne
    """
    import fiftyone as fo

    _check_letters("field", name)
    if name in RESERVED_FIELDS or hasattr(fo.Sample("x"), name):
        raise FieldError(f"field name is {name!r}, which FiftyOne gives a meaning: choose another")


def check_attribute(dataset: fo.Dataset, field: str, name: str, kind: str) -> bool:
    """Checks an attribute that is to be written to a field's labels.

    Args:
        dataset: whose labels
        field: that holds them
        name: of the attribute
        kind: FiftyOne's class of field, as "StringField"

    Returns:
        whether it is declared

    Raises:
        FieldError: if the name cannot be used, is reserved, or is declared as something else
    """
    import fiftyone as fo

    _check_letters("attribute", name)
    is_reserved = name in RESERVED_ATTRIBUTES or any(
        hasattr(label, name) for label in (fo.Detection(), fo.Polyline())
    )
    if is_reserved and MEANT.get(name) != kind:
        raise FieldError(
            f"{field}.{name} has a meaning of its own, for FiftyOne or for what is written here: "
            f"choose another attribute, as '{field}.auto_label'"
        )
    there = dataset.get_field(LabelPath.of(dataset, field).declared(name))
    if there is not None and not isinstance(there, getattr(fo, kind)):
        raise FieldError(
            f"{field}.{name} is a {type(there).__name__}, to be written is a {kind}: choose "
            "another attribute"
        )
    return there is not None


def _check_letters(what: str, name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[^\W\d_]\w{0,99}", name):
        raise FieldError(
            f"{what} name is {name!r:.120}: expected at most 100 letters, digits and underscores, "
            "a letter first"
        )
