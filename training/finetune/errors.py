"""What can go wrong in a fine-tuning run, each with a message that says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError

if TYPE_CHECKING:
    from alphaclip.training.finetune.types import PairBatch


class FinetuneError(AlphaClipError):
    """A fine-tuning run cannot start or go on as it was asked for."""


class ConfigError(FinetuneError):
    """A configuration's field is unknown, missing, of another type or out of range."""


class OutOfMemoryError(FinetuneError):
    """A step needs more memory than there is; the message says which setting to lower."""


class NotFiniteError(FinetuneError):
    """A step's loss or gradient is infinite or not a number; the weights are as before it.

    Attributes:
        batch: this process's share of the step's batch
    """

    def __init__(self, message: str, batch: PairBatch) -> None:
        super().__init__(message)
        self.batch = batch
