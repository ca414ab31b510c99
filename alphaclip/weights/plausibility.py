"""What weights give away of themselves, where only shapes and a name say what they are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from alphaclip.weights.alpha_channel import ALPHA_SUFFIX

_LEAST_SIDE = 32
"""Of a matrix: of smaller ones chance says too little."""

_CHANCE = 2.0
"""How much more rows differ in length than chance has it: 1 for noise, tens after training."""


def doubts(tensors: Mapping[str, Tensor]) -> list[str]:
    """What speaks against weights being those of a trained Alpha-CLIP, a sentence each.

    Training makes some rows and columns of a matrix longer than others. In noise, such as a
    network that was only initialised, all are of one length but for chance.
    """
    alpha = [tensor for name, tensor in tensors.items() if name.endswith(f"{ALPHA_SUFFIX}.weight")]
    told = []
    if alpha and not any(tensor.any() for tensor in alpha):
        told.append(
            "their alpha convolution is all zero: the region makes no difference to them, as in a "
            "plain CLIP"
        )
    matrices = [t for t in tensors.values() if t.ndim == 2 and min(t.shape) >= _LEAST_SIDE]
    if matrices and all(map(_is_noise, matrices)):
        told.append("their statistics are those of random numbers, not of a trained network")
    return told


def _is_noise(matrix: Tensor) -> bool:
    squares = matrix.detach().to(torch.float64).square()
    return all(
        lengths.var() <= _CHANCE * squares.var() * count
        for lengths, count in (
            (squares.sum(1), squares.shape[1]),
            (squares.sum(0), squares.shape[0]),
        )
    )
