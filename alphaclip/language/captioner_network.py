"""A small decoder that writes about a region from its vector and its box alone.

What it reads stands in this order: the prompt, the region (a few tokens made of the vector, one of
the box), then what it writes. Prompts are padded in front, and positions count from the region, so
that a prompt means the same in any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

PAD, UNKNOWN, END = 0, 1, 2
"""Tokens that are no words: what a prompt is padded with, what was never learnt, and the end of a
text."""

_OCTAVES = 4
"""Of the waves that a box is told by."""


@dataclass(frozen=True)
class CaptionerConfig:
    """The size of a captioner.

    Attributes:
        dim: of vectors
        words: how many tokens there are
        width: of each token's state
        layers, heads: of the decoder
        prefix: tokens that a vector becomes
        prompt: most tokens of a prompt
        text: most tokens of what is written, with the end
    """

    dim: int
    words: int
    width: int = 192
    layers: int = 4
    heads: int = 6
    prefix: int = 4
    prompt: int = 32
    text: int = 32


class Cache:
    """Keys and values of what was read, with room for what follows.

    Args:
        keys, values: (layers, n, heads, length, width of a head)
        seen: bool (n, length), False where a prompt is padded
        length: how much is read
        shift: the position of what was read first
    """

    def __init__(self, keys: Tensor, values: Tensor, seen: Tensor, length: int, shift: int) -> None:
        self.keys, self.values, self.seen = keys, values, seen
        self.length, self.shift = length, shift

    def of(self, rows: Tensor) -> Cache:
        """A copy of some rows."""
        keys, values = self.keys[:, rows], self.values[:, rows]
        return Cache(keys, values, self.seen[rows], self.length, self.shift)

    def put(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Adds what a layer makes of the next tokens; returns what it has of all."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class CaptionerNetwork(nn.Module):
    """See the module.

    Args:
        config: its size
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config = config
        width, positions = config.width, config.prompt + config.prefix + 1 + config.text
        self.words = nn.Embedding(config.words, width)
        self.positions = nn.Parameter(torch.empty(positions, width))
        self.vector = nn.Linear(config.dim, config.prefix * width)
        self.box = nn.Sequential(
            nn.Linear(4 + 8 * _OCTAVES, width), nn.GELU(), nn.Linear(width, width)
        )
        self.resblocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)

    def forward(self, vectors: Tensor, boxes: Tensor, prompts: Tensor, texts: Tensor) -> Tensor:
        """What is expected in the place of each token of a text: (n, w, words).

        Args:
            vectors: (n, dim), of unit length; zero where nothing is known of the region
            boxes: (n, 4), relative ``[x, y, w, h]``; zero likewise
            prompts: int64 (n, p), padded in front
            texts: int64 (n, w)
        """
        read = self._beginning(vectors, boxes, prompts)
        states = torch.cat([read, self.words(texts[:, :-1])], dim=1)
        seen = _seen(prompts, states.shape[1])
        states = self._run(states, seen, self.config.prompt - prompts.shape[1])
        return self._expected(states[:, read.shape[1] - 1 :])

    def read(
        self, vectors: Tensor, boxes: Tensor, prompts: Tensor, room: int
    ) -> tuple[Cache, Tensor]:
        """Reads prompts and regions; see `forward`.

        Args:
            vectors, boxes, prompts: see `forward`
            room: how many tokens may follow

        Returns:
            what was read, and what is expected next: (n, 1, words)
        """
        config, states = self.config, self._beginning(vectors, boxes, prompts)
        length = states.shape[1] + room
        shape = (config.layers, len(states), config.heads, length, config.width // config.heads)
        seen, shift = _seen(prompts, length), config.prompt - prompts.shape[1]
        cache = Cache(states.new_empty(shape), states.new_empty(shape), seen, 0, shift)
        return cache, self._expected(self._read_on(cache, states)[:, -1:])

    def read_on(self, cache: Cache, ids: Tensor) -> Tensor:
        """Reads int64 (n, w) into the cache; what is expected behind each: (n, w, words)."""
        return self._expected(self._read_on(cache, self.words(ids)))

    def _read_on(self, cache: Cache, states: Tensor) -> Tensor:
        end = cache.length + states.shape[1]
        states = self._run(states, cache.seen[:, :end], cache.shift + cache.length, cache)
        cache.length = end
        return states

    def _beginning(self, vectors: Tensor, boxes: Tensor, prompts: Tensor) -> Tensor:
        tokens = self.vector(vectors).unflatten(1, (self.config.prefix, self.config.width))
        return torch.cat([self.words(prompts), tokens, self.box(_waves(boxes))[:, None]], dim=1)

    def _run(
        self, states: Tensor, seen: Tensor, position: int, cache: Cache | None = None
    ) -> Tensor:
        new, all_ = states.shape[1], seen.shape[1]
        states = states + self.positions[position : position + new]
        # Each sees what is before it and itself; what is padded would else see nothing, not a
        # number of it
        own = torch.ones(new, all_, dtype=torch.bool, device=seen.device).tril(all_ - new)
        itself = torch.eye(all_, dtype=torch.bool, device=seen.device)[-new:]
        mask = ((own & seen[:, None]) | itself)[:, None]
        for number, block in enumerate(self.resblocks):
            states = block(states, mask, number, cache)
        return states

    def _expected(self, states: Tensor) -> Tensor:
        return self.norm(states) @ self.words.weight.T


class _Block(nn.Module):
    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.joined = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, states: Tensor, mask: Tensor, layer: int, cache: Cache | None) -> Tensor:
        several = self.attention(self.norm_1(states)).unflatten(2, (3, self.heads, -1))
        queries, keys, values = several.permute(2, 0, 3, 1, 4)
        if cache is not None:
            keys, values = cache.put(layer, keys, values)
        found = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        states = states + self.joined(found.transpose(1, 2).flatten(2))
        return states + self.mlp(self.norm_2(states))


def _seen(prompts: Tensor, length: int) -> Tensor:
    """Which of the tokens are there: bool (n, length)."""
    seen = prompts.new_ones((len(prompts), length), dtype=torch.bool)
    seen[:, : prompts.shape[1]] = prompts != PAD
    return seen


def _waves(boxes: Tensor) -> Tensor:
    """Middle and sides of boxes, and waves of them, in which near ones are far apart."""
    sides = boxes[:, 2:]
    numbers = torch.cat([boxes[:, :2] + sides / 2, sides], dim=1)
    octaves = torch.pi * 2.0 ** torch.arange(_OCTAVES, device=boxes.device)
    angles = (numbers[..., None] * octaves).flatten(1)
    return torch.cat([numbers, angles.sin(), angles.cos()], dim=1)


def pad_in_front(rows: Sequence[Sequence[int]]) -> Tensor:
    """Prompts as a batch, int64 (n, p)."""
    longest = max(map(len, rows), default=0)
    return torch.tensor([[PAD] * (longest - len(row)) + [*row] for row in rows], dtype=torch.long)


def write(
    network: CaptionerNetwork, vectors: Tensor, boxes: Tensor, prompts: Tensor, most: int
) -> tuple[list[list[int]], list[float]]:
    """Writes about regions, the likeliest token at a time.

    Args:
        network, vectors, boxes, prompts: see `CaptionerNetwork.forward`
        most: tokens, at least 1

    Returns:
        the tokens of each text, with the end where it came to one; and the mean of their
        log-likelihoods
    """
    cache, expected = network.read(vectors, boxes, prompts, most)
    ids, logliks = [], []
    has_ended = prompts.new_zeros(len(prompts), dtype=torch.bool)
    while True:
        best, likeliest = expected[:, -1].log_softmax(-1).max(-1)
        ids.append(likeliest)
        logliks.append(best.where(~has_ended, 0))
        has_ended = has_ended | (likeliest == END)
        if len(ids) == most or has_ended.all():
            break
        expected = network.read_on(cache, likeliest[:, None])
    texts = [_up_to_end(row) for row in torch.stack(ids, dim=1).tolist()]
    sums = torch.stack(logliks, dim=1).sum(dim=1).tolist()
    return texts, [total / len(text) for total, text in zip(sums, texts, strict=True)]


def _up_to_end(ids: list[int]) -> list[int]:
    return ids[: ids.index(END) + 1] if END in ids else ids
