"""Reads one attribute of many labels, in the order of an index's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alphaclip.indexing.dataset.labels import FieldError, check_field, images_of, label_values
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import RowIds

if TYPE_CHECKING:
    import fiftyone as fo


def values_of(dataset: fo.Dataset, field: str, attribute: str, ids: RowIds) -> list[Any]:
    """The value of an attribute of each of some labels; None where it has none, or is gone.

    Args:
        dataset: whose
        field: of Detections, Detection, Polylines or Polyline
        attribute: of its labels, as "label"
        ids: of the labels

    Raises:
        FieldError: if the field holds no regions, or no label has such an attribute
    """
    check_field(dataset, field)
    samples = images_of(dataset)
    _, path = samples._get_label_field_path(field, attribute)
    there, (values,) = label_values(samples, field, attribute)
    declared = samples.get_field(path) is not None
    if not declared and not any(value is not None for value in values):
        stem = path.removesuffix(attribute)
        paths = [name for name in samples.get_field_schema(flat=True) if name.startswith(stem)]
        names = ", ".join(name.removeprefix(stem) for name in paths)
        raise FieldError(f"no label of field {field!r} has {attribute!r}; declared are {names}")
    return [values[row] if row >= 0 else None for row in Lookup(there).find(ids).tolist()]


def names_of(dataset: fo.Dataset, field: str, attribute: str, ids: RowIds) -> list[str | None]:
    """The class of each label: a text, or None where it has none.

    Raises:
        FieldError: see :func:`values_of`; or if the attribute holds something else than text
    """
    names = [value or None for value in values_of(dataset, field, attribute, ids)]
    wrong = next((name for name in names if not isinstance(name, str | None)), None)
    if wrong is not None:
        raise FieldError(
            f"{field}.{attribute} holds {type(wrong).__name__} ({wrong!r:.60}): expected text, the "
            "name of a class"
        )
    return names
