"""Ways from pictures and alpha maps to vectors: the plain model, or regions of shared tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d
from torchvision.ops import roi_align

from alphaclip.catalog.methods import REGIONS
from alphaclip.network.region_queries import RegionQueries, region_queries
from alphaclip.network.split_towers import Tower, find_tower
from alphaclip.weights.alpha_channel import ALPHA_MEAN, ALPHA_STD, join_alpha

if TYPE_CHECKING:
    from alphaclip.network.model import AlphaCLIP
    from alphaclip.views.view import View

_FOREGROUND = 0.5
"""From this share on a pixel belongs to the region, where it must or must not."""

_AT_ONCE = 64
"""Regions of a picture that are pooled at a time, so that memory stays bounded."""

_CPU_PIXELS = 8 * 224**2
"""That a CPU encodes in a pass. Of more, what a layer makes is larger than the caches, and than the
32 MB from where on the C library has new memory from the system each time: half of the speed."""


class Way(Protocol):
    """A way to encode regions; `pooling` names it, None where the model does it by itself."""

    pooling: str | None

    def encode(self, images: Tensor, maps: Tensor, whole: Sequence[bool]) -> Tensor:
        """Encodes regions, each with its own picture.

        Args:
            images: float (N, 3, R, R), normalised
            maps: float (N, 1, R, R), in [0, 1]
            whole: for each, whether it is a whole-image region

        Returns:
            (N, dim), before normalisation
        """


class Sharing(Way, Protocol):
    """A way whose regions share a part that is run once for a picture, where it `runs_once`."""

    runs_once: bool

    def trunk(self, images: Tensor) -> Tensor:
        """What all regions of a picture share: float (P, 3, R, R), normalised, to (P, ...)."""

    def pool(self, shared: Tensor, maps: Tensor, whole: Sequence[bool]) -> Tensor:
        """The vectors of one picture's regions, as `Way.encode`, of its row of the trunk's."""


class Plain:
    """The model itself: one pass for each region, its alpha map beside the picture."""

    pooling: str | None = None

    def __init__(self, model: AlphaCLIP) -> None:
        self._model = model

    def encode(self, images: Tensor, maps: Tensor, whole: Sequence[bool]) -> Tensor:
        return _in_passes(self._model.encode_image, images, (maps - ALPHA_MEAN) / ALPHA_STD)


class WholePicture(Plain):
    """The model itself where every region is shown as the whole picture: one pass for all."""

    runs_once = True

    def trunk(self, images: Tensor) -> Tensor:
        return _in_passes(self._model.encode_image, images, _all_ones(images))

    def pool(self, vector: Tensor, maps: Tensor, whole: Sequence[bool]) -> Tensor:
        return vector.expand(len(maps), -1)


def _in_passes(run: Callable[..., Tensor], *batch: Tensor) -> Tensor:
    """What a tower makes of a batch, (P, C, R, R) each: on a CPU of a few pictures at a time."""
    some = len(batch[0])
    if batch[0].device.type == "cpu":
        some = max(1, _CPU_PIXELS // batch[0].shape[-1] ** 2)
    return torch.cat([run(*part) for part in zip(*(b.split(some) for b in batch), strict=True)])


class Pooled:
    """Regions of a picture's tokens: the trunk is run once for the picture, see `split_towers`.

    The trunk sees all-ones alpha, so that a model with an alpha channel looks at the whole
    picture, and any open_clip model does as it always did. A whole-image region has exactly the
    vector that the model gives the picture.

    Args:
        model: a vision transformer
        pooling: ``maskattn``, ``maskpool``, ``roialign``, or ``regions``: the region queries that
            the model was trained with, or else untrained ones in its last block or attention pool

    Raises:
        AlphaClipError: the model is of a kind that cannot be pooled; says which can
    """

    def __init__(self, model: AlphaCLIP, pooling: str) -> None:
        self.pooling: str | None = pooling
        visual, name = model.clip.visual, f"{model.config.name}+{pooling}"
        queries = region_queries(visual) if pooling == REGIONS else None
        self._tower = find_tower(visual, name, len(queries.scale) if queries else 1)
        queries = queries or RegionQueries(self._tower)
        self._pool = POOLINGS.get(pooling, queries.attend_one)
        self.runs_once = not queries.sees_alpha

    def encode(self, images: Tensor, maps: Tensor, whole: Sequence[bool]) -> Tensor:
        alpha = _all_ones(images) if self.runs_once else (maps - ALPHA_MEAN) / ALPHA_STD
        tokens = _in_passes(self._tower.trunk, join_alpha(images, alpha))
        rows = [self.pool(t, maps[i : i + 1], whole[i : i + 1]) for i, t in enumerate(tokens)]
        return torch.cat(rows)

    def trunk(self, images: Tensor) -> Tensor:
        return _in_passes(self._tower.trunk, join_alpha(images, _all_ones(images)))

    def pool(self, tokens: Tensor, maps: Tensor, whole: Sequence[bool]) -> Tensor:
        if all(whole):
            return self._tower.whole(tokens[None]).expand(len(maps), -1)
        parts = [self._pool(self._tower, tokens, some) for some in maps.split(_AT_ONCE)]
        vectors = torch.cat(parts)
        if any(whole):
            vectors = vectors.clone()
            vectors[torch.tensor(whole)] = self._tower.whole(tokens[None]).to(vectors.dtype)
        return vectors


def own_way(model: AlphaCLIP, view: View) -> Way:
    """How a model encodes regions where no method is named."""
    if view.is_shared and view.alpha == "ones":
        return WholePicture(model)
    if region_queries(model.clip.visual) is not None and view.kind != "native":
        return Pooled(model, REGIONS)
    return Plain(model)


class SharedTrunk:
    """Runs a sharing way over a stream of batches, each picture's trunk once for all its regions.

    Regions with the same tensor of pixels show the same picture. What the trunk made of the last
    picture is kept, since its next regions may be in the next batch.
    ``prepare`` makes the model's input, float (P, 3, R, R), of uint8 (P, 3, R, R).
    """

    def __init__(self, way: Sharing, prepare: Callable[[Tensor], Tensor]) -> None:
        self._way = way
        self._prepare = prepare
        self._last: tuple[Tensor, Tensor] | None = None

    def encode(self, pictures: Sequence[Tensor], maps: Tensor, whole: Sequence[bool]) -> Tensor:
        """Encodes a batch of regions, as `Way.encode`, but of uint8 (3, R, R) pictures: the same
        tensor where regions share a picture."""
        shared = self._shared(pictures)
        starts = [i for i, p in enumerate(pictures) if not i or p is not pictures[i - 1]]
        vectors = [
            self._way.pool(shared[id(pictures[start])], maps[start:end], whole[start:end])
            for start, end in zip(starts, [*starts[1:], len(pictures)], strict=True)
        ]
        return torch.cat(vectors)

    def _shared(self, pictures: Sequence[Tensor]) -> dict[int, Tensor]:
        """What each picture in a batch shares, by the identity of its pixels."""
        shared = {} if self._last is None else {id(self._last[0]): self._last[1]}
        new = {id(p): p for p in pictures if id(p) not in shared}
        if new:
            shared |= zip(
                new, self._way.trunk(self._prepare(torch.stack(list(new.values())))), strict=True
            )
        # A copy: a row of the batch's trunk would keep the whole batch in memory.
        self._last = pictures[-1], shared[id(pictures[-1])].clone()
        return shared


def mask_attention(tower: Tower, tokens: Tensor, maps: Tensor) -> Tensor:
    """The last attention gathers from the region's patches only.

    That is MaskCLIP* of Alpha-CLIP's tables (arXiv 2312.03818, table 2): training-free, in the
    last layer alone, with the mask max-pooled to the patches. The class token still sees itself,
    so that a region of all patches has the model's own vector.

    Args:
        tower: of the model
        tokens: (L, W), of one picture
        maps: float (M, 1, R, R), in [0, 1]

    Returns:
        (M, dim)
    """
    hidden = ~foreground(maps, tower.grid)
    bias = torch.zeros(hidden.shape, device=tokens.device).masked_fill_(hidden, float("-inf"))
    return tower.attend(tokens[None], [bias[None, None]])[0]


def mask_mean(tower: Tower, tokens: Tensor, maps: Tensor) -> Tensor:
    """The mean of the patches' own vectors, each weighed by how much of it the region covers.

    Args and return value as for `mask_attention`; the patches' vectors are MaskCLIP's dense
    features, see `Tower.patches`.
    """
    patches = tower.patches(tokens)
    covered = adaptive_avg_pool2d(maps, tower.grid).flatten(1)
    covered = torch.where(covered.any(dim=1, keepdim=True), covered, torch.ones_like(covered))
    return (covered / covered.sum(dim=1, keepdim=True)).to(patches.dtype) @ patches


def mask_box(tower: Tower, tokens: Tensor, maps: Tensor) -> Tensor:
    """RoIAlign (He et al. 2017) of the patches' own vectors over the region's box.

    Args and return value as for `mask_attention`. As in CLIPSelf (Wu et al. 2024): one bin,
    samples by the box's size, half a pixel of offset.
    """
    patches = tower.patches(tokens)
    field = patches.float().t().unflatten(1, tower.grid)[None]
    boxes = [_bounds(shape[0]) for shape in maps.cpu()]
    corners = torch.tensor(boxes, dtype=torch.float32, device=field.device)
    scale = tower.grid[1] / maps.shape[-1]
    return roi_align(field, [corners], 1, scale, -1, aligned=True).flatten(1)


POOLINGS: dict[str, Callable[[Tower, Tensor, Tensor], Tensor]] = {
    "maskattn": mask_attention,
    "maskpool": mask_mean,
    "roialign": mask_box,
}


def foreground(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Which patches a region touches: (M, 1, R, R) maps in [0, 1] to bool (M, patches).

    A region smaller than a patch keeps the one it is in; where the map is 0 everywhere, all are.
    """
    most = adaptive_max_pool2d(maps, grid).flatten(1)
    needed = most.amax(dim=1, keepdim=True).clamp(max=_FOREGROUND)
    return most >= needed


def _all_ones(images: Tensor) -> Tensor:
    """The normalised alpha map of everything, for each picture."""
    shape = (len(images), 1, *images.shape[2:])
    return (images.new_ones(shape) - ALPHA_MEAN) / ALPHA_STD


def _bounds(shape: Tensor) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a region; the whole map where it is 0 everywhere."""
    inside = shape >= min(_FOREGROUND, float(shape.max()))
    rows, columns = (inside.any(dim=d).nonzero()[:, 0] for d in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
