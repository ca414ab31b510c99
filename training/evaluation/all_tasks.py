"""Every task of ``alphaclip eval``."""

from __future__ import annotations

from alphaclip.training.evaluation.captions.captioning_task import CAPTIONS
from alphaclip.training.evaluation.classification.classification_tasks import (
    IMAGENET_S,
    REGIONS,
)
from alphaclip.training.evaluation.detection.detection_task import TASK as DETECTION
from alphaclip.training.evaluation.referring.referring_task import TASK as REFERRING
from alphaclip.training.evaluation.retrieval.retrieval_task import RETRIEVAL
from alphaclip.training.evaluation.tasks import Task


def all_tasks() -> list[Task]:
    """Every task, in the order of the help text."""
    return [IMAGENET_S, REGIONS, RETRIEVAL, REFERRING, DETECTION, CAPTIONS]
