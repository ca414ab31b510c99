"""Reads one attribute of many labels, in the order of an index's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alphaclip.indexing.dataset.labels import (
    FieldError,
    check_field,
    is_of_frames,
    label_values,
    media_of,
    own_name,
)
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
    samples = media_of(dataset, field)
    if attribute.startswith("$"):  # which to the database is no name
        raise _no_such_attribute(samples, field, attribute)
    _, path = samples._get_label_field_path(field, attribute)
    there, (values,) = label_values(samples, field, attribute)
    declared = samples.get_field(path) is not None
    if not declared and not any(value is not None for value in values):
        raise _no_such_attribute(samples, field, attribute)
    return [values[row] if row >= 0 else None for row in Lookup(there).find(ids).tolist()]


def check_attribute(
    samples: fo.SampleCollection, field: str, attribute: str, or_tag: bool = False
) -> None:
    """Checks that some label of a field has a value in an attribute, in the whole dataset.

    A misspelt one is nowhere, while a right one may be on few labels, and on none of a view.

    Args:
        samples: a dataset or view
        field: of Detections, Detection, Polylines or Polyline
        attribute: of its labels
        or_tag (False): whether a tag of the labels will do as well

    Raises:
        FieldError: if the field holds no regions, or no label has the attribute; names those that
            there are
    """
    root = samples._root_dataset
    images = media_of(root if root.has_field(field) else samples, field)
    check_field(images, field)
    if not attribute or attribute.startswith("$") or "." in attribute:
        raise _no_such_attribute(images, field, attribute)
    _, path = images._get_label_field_path(field, attribute)
    if images.get_field(path) is not None:
        has_values = images.count(path) > 0
    else:
        has_values = any(value is not None for value in images.values(path, unwind=True))
    if or_tag and not has_values:
        has_values = attribute in images.distinct(images._get_label_field_path(field, "tags")[1])
    if not has_values:
        raise _no_such_attribute(images, field, attribute)


def _no_such_attribute(samples: fo.SampleCollection, field: str, attribute: str) -> FieldError:
    stem = f"{own_name(samples._get_label_field_path(field)[1])}."
    if is_of_frames(field):
        paths = {
            **samples.get_frame_field_schema(flat=True),
            **samples.get_dynamic_frame_field_schema(own_name(field)),
        }
    else:
        paths = {**samples.get_field_schema(flat=True), **samples.get_dynamic_field_schema(field)}
    names = [path.removeprefix(stem) for path in paths if path.startswith(stem)]
    own = ", ".join(name for name in names if name and "." not in name)
    return FieldError(f"no label of field {field!r} has {attribute!r}; attributes are: {own}")


def names_of(dataset: fo.Dataset, field: str, attribute: str, ids: RowIds) -> list[str | None]:
    """The text of each label, such as its class; None where it has none.

    Raises:
        FieldError: see :func:`values_of`; or if the attribute holds something else than text
    """
    names = [value or None for value in values_of(dataset, field, attribute, ids)]
    wrong = next((name for name in names if not isinstance(name, str | None)), None)
    if wrong is not None:
        raise FieldError(
            f"{field}.{attribute} holds {type(wrong).__name__} ({wrong!r:.60}): expected text"
        )
    return names
