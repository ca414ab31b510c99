"""Declares fields of labels while others may load the dataset anew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.dataset.labels import FieldError

if TYPE_CHECKING:
    import fiftyone as fo

_TRIES = 5
"""Each event of the App may load the dataset anew once; so often in a row it is no chance any more,
and the error is told."""


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
    root = path.partition(".")[0]
    for attempt in range(_TRIES):
        try:
            dataset.add_sample_field(path, kind)
            return
        except ValueError:
            if dataset.has_field(root) or attempt == _TRIES - 1:
                raise
            dataset.reload()


def check_name(name: Any) -> None:
    """Checks a name for a new field.

    Raises:
        FieldError: if it is anything but letters, digits and underscores after a letter
    """
    if not isinstance(name, str) or not re.fullmatch(r"[^\W\d_]\w{0,99}", name):
        raise FieldError(
            f"field name is {name!r:.120}: expected at most 100 letters, digits and underscores, a "
            "letter first"
        )
