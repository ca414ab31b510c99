"""What a job leaves out, and why."""

from __future__ import annotations

from dataclasses import dataclass

TWICE = "its id occurs twice: a region has one vector"
"""Why all regions of a label id but the first are left out."""


@dataclass(frozen=True)
class Skipped:
    """A region or a picture that was left out.

    Attributes:
        filepath: the picture
        label_id: the region, empty if the picture itself could not be used
        reason: why
    """

    filepath: str
    label_id: str
    reason: str
