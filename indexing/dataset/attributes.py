"""Reads one attribute of many labels, in the order of an index's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.dataset.labels import PATCHABLE, FieldError, check_field, images_of

if TYPE_CHECKING:
    import fiftyone as fo


def values_of(dataset: fo.Dataset, field: str, attribute: str) -> Mapping[str, Any]:
    """Label id to the value of an attribute, of all labels of a field.

    Args:
        dataset: whose
        field: of Detections, Detection, Polylines or Polyline
        attribute: of its labels, as "label"

    Raises:
        FieldError: if the field holds no regions, or no label has such an attribute
    """
    is_list = check_field(dataset, field) in PATCHABLE
    samples = images_of(dataset)
    _, path = samples._get_label_field_path(field, attribute)
    _, ids = samples._get_label_field_path(field, "id")
    keys, values = samples.values([ids, path])
    if is_list:
        keys, values = ([one for some in column for one in some or []] for column in (keys, values))
    declared = samples.get_field(path) is not None
    if not declared and not any(value is not None for value in values):
        stem = path.removesuffix(attribute)
        paths = [name for name in samples.get_field_schema(flat=True) if name.startswith(stem)]
        names = ", ".join(name.removeprefix(stem) for name in paths)
        raise FieldError(f"no label of field {field!r} has {attribute!r}; declared are {names}")
    return {str(key): value for key, value in zip(keys, values, strict=True) if key is not None}


def names_of(
    dataset: fo.Dataset, field: str, attribute: str, label_ids: Sequence[str]
) -> list[str | None]:
    """The class of each label: a text, or None where it has none.

    Raises:
        FieldError: see :func:`values_of`; or if the attribute holds something else than text
    """
    values = values_of(dataset, field, attribute)
    names = [values.get(label_id) or None for label_id in label_ids]
    wrong = next((name for name in names if not isinstance(name, str | None)), None)
    if wrong is not None:
        raise FieldError(
            f"{field}.{attribute} holds {type(wrong).__name__} ({wrong!r:.60}): expected text, the "
            "name of a class"
        )
    return names
