"""What captions of crops say of the white that the crops are put on.

Source: Sun et al., "Alpha-CLIP", 2023 (arXiv 2312.03818), sections 3.1 and C.1: the caption of an
object on white, without what it says of the white.
"""

import re

BACKGROUND_PHRASES = (
    "isolated on a plain white background",
    "isolated on a white background",
    "isolated on white background",
    "isolated on a white surface",
    "isolated on white",
    "on a plain white background",
    "on a pure white background",
    "on a solid white background",
    "on a white background",
    "on the white background",
    "on white background",
    "on a plain background",
    "on a white backdrop",
    "on a white surface",
    "on a white canvas",
    "against a plain white background",
    "against a white background",
    "against a white backdrop",
    "against a white wall",
    "in front of a white background",
    "over a white background",
    "in a white background",
    "with a white background",
    "with white background",
    "and a white background",
    "the background is white",
    "a white background",
    "white background",
)
"""What captions say of the white that crops are put on; of those that begin alike the longer one
comes first."""

_BACKGROUND = re.compile(
    rf"[\s,]*\b(?:{'|'.join(map(re.escape, BACKGROUND_PHRASES))})\b", re.IGNORECASE
)


def strip_background(caption: str) -> str:
    """A caption without what it says of a white background; empty if it says nothing else."""
    return " ".join(_BACKGROUND.sub("", caption).split()).strip(" ,.;")
