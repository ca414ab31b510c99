"""Keeps a batch that a step cannot use, so that it can be looked at."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from alphaclip.files import write_atomically
from alphaclip.training.finetune.types import PairBatch

_TENSORS = ("images", "alpha", "tokens", "negatives", "whole")


def save_bad_batch(batch: PairBatch, folder: Path, rank: int) -> Path:
    """Writes a batch as safetensors.

    Args:
        batch: one process's share; on any device
        folder: of the run
        rank: of the process

    Returns:
        the file: the batch's tensors by name, and in its metadata ``keys``, a JSON list of where
        each sample is from

    Raises:
        AlphaClipError: it cannot be written
    """
    tensors = {name: getattr(batch, name) for name in _TENSORS}
    found = {n: t.detach().cpu().contiguous() for n, t in tensors.items() if t is not None}
    content = save(found, {"keys": json.dumps(list(batch.keys))})
    path = folder / f"bad-batch-{rank}.safetensors"
    write_atomically(path, lambda stream: stream.write(content))
    return path
