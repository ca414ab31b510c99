"""Pictures and their regions, or words, to unit vectors in one space."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.cutting import Failure, Item, OnError, Picture, Row, cut_ahead, report_failures
from alphaclip.fingerprint import fingerprint
from alphaclip.prompts import expand
from alphaclip.regions import Region
from alphaclip.views import View

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from alphaclip.model import AlphaCLIP

__all__ = ["Encoder", "Failure", "OnError"]

logger = logging.getLogger(__name__)


class Encoder:
    """Encodes regions and text; made by :func:`alphaclip.load`.

    Args:
        model: both towers
        name: resolves to the same model again
        view: what is shown of a region
        device: where the model runs
        dtype: what its matrix products are computed in
    """

    def __init__(
        self, model: AlphaCLIP, name: str, view: View, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.name = name
        self.view = view
        self.device = device
        self.dtype = dtype
        self._model = model.to(device).eval().requires_grad_(False)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._model.dim

    @cached_property
    def fingerprint(self) -> str:
        """Equal for encoders whose vectors may be compared; device and precision do not count."""
        return fingerprint(self._model, self.view)

    def encode_regions(self, image: Picture, regions: Sequence[Region]) -> np.ndarray:
        """Encodes regions of one picture.

        Args:
            image: a path, a PIL image, or uint8 (H, W, 3)
            regions: of this picture

        Returns:
            float32 (n, dim) of unit length, rows in the order of ``regions``

        Raises:
            ImageError: if the picture cannot be opened
            RegionError: if a region does not fit it; names the picture and the region's place
            EmptyRegionError: if a region has no area inside it
        """
        return next(self.encode_many([(image, regions)]))

    def encode_many(
        self,
        items: Iterable[tuple[Picture, Sequence[Region]]],
        on_error: OnError | None = None,
        batch_size: int | None = None,
    ) -> Iterator[np.ndarray]:
        """Encodes a stream of pictures; regions of different pictures share batches.

        Each picture is opened once, or never if it has no regions. Pictures are opened and cut in
        threads while the model runs, a bounded number ahead of it, and let go of when cut.

        Args:
            items: pictures and their regions
            on_error (None): called with each :class:`Failure`, whose rows are then NaN; without
                it the first failure is raised
            batch_size (None): regions in a batch; None takes what fits the device

        Yields:
            for each item, in order, float32 (n, dim) of unit length
        """
        batch_size = batch_size or (256 if self.device.type == "cuda" else 32)
        waiting: deque[Item] = deque()
        batch: list[Row] = []
        for chunk in cut_ahead(items, self.view, self._model.image_size):
            report_failures(chunk, on_error)
            chunk.item.settled += chunk.lost
            if not waiting or waiting[-1] is not chunk.item:
                waiting.append(chunk.item)
            batch.extend(chunk.rows)
            while len(batch) >= batch_size:
                self._run(batch[:batch_size])
                del batch[:batch_size]
            while waiting and waiting[0].is_done:
                yield self._collect(waiting.popleft())
        self._run(batch)
        while waiting:
            yield self._collect(waiting.popleft())

    def encode_text(
        self, prompts: Sequence[str], templates: Sequence[str] | None = None
    ) -> np.ndarray:
        """Encodes text.

        Args:
            prompts: what to encode; what exceeds the model's context is cut, with a warning
            templates (None): each with one ``{}``; a prompt's vector is then the mean over them

        Returns:
            float32 (m, dim) of unit length

        Raises:
            AlphaClipError: if there is no prompt or one is empty
            MissingWeightsError: if the model has no text weights
        """
        import torch

        wordings = expand(prompts, templates)
        rows = []
        for group in wordings:
            with torch.inference_mode(), self._autocast():
                tokens = self._tokenize(group).to(self.device)
                vectors = _unit(self._model.encode_text(tokens).float())
            rows.append(_unit(vectors.mean(dim=0, keepdim=True)))
        return torch.cat(rows).cpu().numpy()

    def _tokenize(self, texts: list[str]) -> Tensor:
        tokens: Tensor = self._model.tokenizer(texts)
        encode = getattr(self._model.tokenizer, "encode", None)
        for text in texts:
            if encode is not None and len(encode(text)) > tokens.shape[1] - 2:
                logger.warning("cut to %d tokens: %.60s...", tokens.shape[1] - 2, text)
        return tokens

    def _run(self, batch: list[Row]) -> None:
        import torch

        if not batch:
            return
        mean, std = (
            torch.tensor(v, device=self.device).view(1, 3, 1, 1)
            for v in (self._model.mean, self._model.std)
        )
        with torch.inference_mode(), self._autocast():
            pixels = torch.stack([row.pixels for row in batch]).to(self.device)
            alpha = torch.stack([row.alpha for row in batch]).to(self.device)
            image = (pixels.float() / 255.0 - mean) / std
            encoded = self._model.encode_image(image, (alpha.float() / 255.0 - 0.5) / 0.26)
            vectors = _unit(encoded.float()).cpu().numpy()
        for row, vector in zip(batch, vectors, strict=True):
            row.item.vectors[row.place] = vector
            row.item.settled += 1

    def _collect(self, item: Item) -> np.ndarray:
        rows = np.full((len(item.regions), self.dim), np.nan, np.float32)
        for place, vector in item.vectors.items():
            rows[place] = vector
        return rows

    def _autocast(self) -> torch.autocast:
        import torch

        enabled = self.dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled)


def _unit(vectors: Tensor) -> Tensor:
    from torch.nn.functional import normalize

    return normalize(vectors, dim=-1)
