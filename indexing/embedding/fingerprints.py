"""What a vector was made of: a hash of the picture, and one of region and encoder.

The two are kept side by side, 16 hexadecimal digits each, so that a vector still counts where the
picture cannot be reached at the moment.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np

from alphaclip.files import file_sha256
from alphaclip.regions.region import Region

Identify = Literal["stat", "content"]
"""How a picture is told from an edited one: by size and time of change, or by its content."""

HALF = 16
"""Digits of each half."""


def picture_stamp(path: str, identify: Identify) -> str | None:
    """A hash of the picture; None if it cannot be reached.

    Args:
        path: of the picture
        identify: "stat" is quick; "content" reads the file, and does not mind copies
    """
    try:
        if identify == "content":
            return file_sha256(Path(path))[:HALF]
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return _hash(f"{found.st_size} {found.st_mtime_ns}")


def region_stamp(region: Region, encoder: str) -> str:
    """A hash of what the encoder does with a picture.

    Args:
        region: where it looks
        encoder: its fingerprint
    """
    return _hash(f"{region.digest()} {encoder}")


def region_half(fingerprints: np.ndarray) -> np.ndarray:
    """The part of fingerprints (bytes, n) that the picture has no share in."""
    full = fingerprints.astype(f"S{2 * HALF}")
    return full.view(f"S{HALF}").reshape(-1, 2)[:, 1]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HALF]
