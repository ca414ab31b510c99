"""Region queries: what a tower has learnt beyond its own weights to see all regions of a picture
in one pass.

In the last blocks each region has a copy of the query that gathers the picture, and what is added
to its attention scores is the log of how much of a patch its mask covers, times a scale of each
head. Of a mask of everything that is 0: the vector is then the model's own of the picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from alphaclip.errors import CheckpointError
from alphaclip.network.split_towers import Tower, find_tower
from alphaclip.weights.alpha_channel import ALPHA_SUFFIX

NAME = "regions"
"""Of the module in an image encoder, and with it of its tensors: ``visual.regions.scale.0``."""

PREFIX = f"visual.{NAME}."
_SCALE = f"{PREFIX}scale."

LEAST = 1e-4
"""The share of a patch that counts as none of it: its logarithm is finite, so a head can learn to
look beyond the region."""


class RegionQueries(nn.Module):
    """What the regions' attention in a tower's last parts is biased by.

    Attributes:
        scale: for each of these parts, of each head: (heads,); 1 to begin with
        gate: for each part but the last, how much of what it makes of an attention pool's query is
            taken: (parts - 1,); 0 to begin with, since the model's own query passes no blocks.
            None in towers with a class token, which does
        edge: patches from a region's edge over which attention falls by a factor of e; 0 is at once
        sees_alpha: whether the alpha map is at the tower's input as well, so that each region needs
            a pass of its own
    """

    edge: Tensor
    sees_alpha: Tensor

    def __init__(self, tower: Tower, edge: float = 0.0, sees_alpha: bool = False) -> None:
        super().__init__()
        self.scale = nn.ParameterList(nn.Parameter(torch.ones(heads)) for heads in tower.heads)
        is_gated = tower.has_pool and tower.depth > 1
        self.gate = nn.Parameter(torch.zeros(tower.depth - 1)) if is_gated else None
        self.register_buffer("edge", torch.tensor(edge))
        self.register_buffer("sees_alpha", torch.tensor(float(sees_alpha)))

    def forward(self, maps: Tensor, grid: tuple[int, int]) -> list[Tensor]:
        """What is added to attention scores, for each part.

        Coverage is relative to the patch that the region covers most, so that a region smaller
        than a patch is seen as well; where a map is 0 everywhere, all patches are.

        Args:
            maps: float (P, S, 1, R, R), in [0, 1]: S regions of each picture
            grid: patches in a column and in a row

        Returns:
            float (P, heads, S, patches) for each
        """
        covered = adaptive_avg_pool2d(maps.flatten(0, 1).float(), grid)
        most = covered.amax(dim=(2, 3), keepdim=True)
        covered = torch.where(most > 0, covered / most, 1.0)
        logs = covered.clamp(min=LEAST).log()
        if self.edge > 0:
            for _ in range(max(grid) - 1):
                logs = torch.maximum(logs, max_pool2d(logs, 3, 1, 1) - 1 / self.edge)
        logs = logs.flatten(1).unflatten(0, maps.shape[:2])[:, None]
        return [scale.to(logs.device)[:, None, None] * logs for scale in self.scale]

    def attend(self, tower: Tower, tokens: Tensor, maps: Tensor) -> Tensor:
        """The vectors of regions: tokens of the tower's trunk (P, L, W), and maps as above, to
        (P, S, dim)."""
        return tower.attend(tokens, self(maps, tower.grid), self.gate)

    def attend_one(self, tower: Tower, tokens: Tensor, maps: Tensor) -> Tensor:
        """The same of one picture: (L, W), (S, 1, R, R) to (S, dim)."""
        return self.attend(tower, tokens[None], maps[None])[0]


def add_regions(visual: nn.Module, tower: Tower, edge: float, sees_alpha: bool) -> None:
    """Gives an image encoder region queries for the last parts of its tower, in place."""
    visual.add_module(NAME, RegionQueries(tower, edge, sees_alpha))


def region_queries(visual: nn.Module) -> RegionQueries | None:
    """Those of an image encoder; None where it has none."""
    queries = getattr(visual, NAME, None)
    return queries if isinstance(queries, RegionQueries) else None


def restore_regions(visual: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Gives an image encoder the region queries that weights are of, if any, in place.

    Args:
        visual: ``model.visual``
        tensors: of a checkpoint, by open_clip's names; their values are loaded elsewhere
        source: of the weights, for messages

    Raises:
        CheckpointError: they are of more blocks than there are
        AlphaClipError: the image encoder is of a kind that has no region queries
    """
    depth = query_depth(tensors)
    if not depth:
        return
    tower = find_tower(visual, source, depth)
    if tower.depth != depth:
        raise CheckpointError(
            f"{source} has region queries in {depth} blocks, its image encoder has {tower.depth}"
        )
    add_regions(visual, tower, 0.0, sees_alpha=False)


def is_added(name: str) -> bool:
    """Whether a tensor is none of open_clip's own: the alpha channel's, or the region queries'."""
    return name.startswith(PREFIX) or name.endswith(f"{ALPHA_SUFFIX}.weight")


def query_depth(names: Iterable[str]) -> int:
    """In how many parts of a tower the weights of these names have region queries."""
    return sum(name.startswith(_SCALE) for name in names)
