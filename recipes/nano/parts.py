"""Files of arrays, in which what takes long to draw is kept: a stop loses one of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from alphaclip.files import write_atomically

Arrays = TypeVar("Arrays")
"""A dataclass whose fields are all arrays."""


def write_part(path: Path, part: Arrays) -> None:
    """Writes the fields by their names."""
    write_atomically(path, partial(np.savez, allow_pickle=False, **vars(part)))


def read_part(path: Path, kind: type[Arrays]) -> Arrays:
    """Reads what :func:`write_part` wrote of a dataclass of this kind."""
    with np.load(path, allow_pickle=False) as stored:
        return kind(**stored)


def join_parts(parts: Sequence[Arrays]) -> Arrays:
    """Each field of all parts, in order."""
    columns = {name: [vars(part)[name] for part in parts] for name in vars(parts[0])}
    return type(parts[0])(**{name: np.concatenate(arrays) for name, arrays in columns.items()})
