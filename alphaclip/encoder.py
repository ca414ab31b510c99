"""Pictures and their regions, or words, to unit vectors in one space."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.fingerprint import fingerprint
from alphaclip.images import open_image
from alphaclip.prompts import expand
from alphaclip.regions import Region
from alphaclip.views import View, make_views

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

    from alphaclip.model import AlphaCLIP

    Picture = str | os.PathLike[str] | Image.Image | np.ndarray

logger = logging.getLogger(__name__)

_CHUNK = 64
"""Regions of one picture that are cut at a time, so that memory stays bounded."""

_AHEAD = 8
"""Chunks that are cut before the model asks for them."""


@dataclass(frozen=True)
class Failure:
    """What could not be encoded.

    Attributes:
        item: place of the picture in what :meth:`Encoder.encode_many` was given
        region: place of the region in the picture's list; None if the picture itself failed
        error: why
    """

    item: int
    region: int | None
    error: Exception


OnError = Callable[[Failure], None]


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

    @cached_property
    def dim(self) -> int:
        """Length of a vector."""
        size = self._model.image_size
        image = np.zeros((size, size, 3), np.uint8)
        return self.encode_regions(image, [Region.whole_image()]).shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """Equal for encoders whose vectors may be compared; device and precision do not count."""
        model = self._model
        preprocessing = {
            "view": self.view.to_dict(),
            "size": model.image_size,
            "mean": list(model.mean),
            "std": list(model.std),
        }
        return fingerprint(model, preprocessing)

    def encode_regions(self, image: Picture, regions: Sequence[Region]) -> np.ndarray:
        """Encodes regions of one picture.

        Args:
            image: a path, a PIL image, or uint8 (H, W, 3)
            regions: of this picture

        Returns:
            float32 (n, dim) of unit length, rows in the order of ``regions``

        Raises:
            ImageError: if the picture cannot be opened
            RegionError: if a region does not fit it
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

        Each picture is opened once. Pictures are opened and cut in threads while the model runs,
        a bounded number ahead of it.

        Args:
            items: pictures and their regions
            on_error (None): called with each :class:`Failure`, whose rows are then NaN; without
                it the first failure is raised
            batch_size (None): regions in a batch; None takes what fits the device

        Yields:
            for each item, in order, float32 (n, dim) of unit length
        """
        batch_size = batch_size or (256 if self.device.type == "cuda" else 32)
        waiting: deque[_Item] = deque()
        batch: list[_Row] = []
        for item, rows in self._prepare_ahead(items, on_error):
            if not waiting or waiting[-1] is not item:
                waiting.append(item)
            batch.extend(rows)
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

    def _prepare_ahead(
        self, items: Iterable[tuple[Picture, Sequence[Region]]], on_error: OnError | None
    ) -> Iterator[tuple[_Item, list[_Row]]]:
        pending: deque[tuple[_Item, Future[_Chunk]]] = deque()
        with ThreadPoolExecutor(max_workers=2) as pool:
            for item, start in _chunks(items):
                pending.append((item, pool.submit(self._prepare, item, start)))
                if len(pending) > _AHEAD:
                    yield self._settle(*pending.popleft(), on_error)
            while pending:
                yield self._settle(*pending.popleft(), on_error)

    def _prepare(self, item: _Item, start: int) -> _Chunk:
        """Runs in a thread: opens the picture if need be, and cuts some of its regions."""
        try:
            image = item.open()
        except AlphaClipError as error:
            return _Chunk(start, [], [Failure(item.place, None, error)])
        views: list[tuple[int, Tensor, Tensor]] = []
        failures = []
        for place in range(start, min(start + _CHUNK, len(item.regions))):
            try:
                size = self._model.image_size
                pixels, alpha = make_views(image, [item.regions[place]], self.view, size)
                views.append((place, pixels[0], alpha[0]))
            except AlphaClipError as error:
                failures.append(Failure(item.place, place, error))
        return _Chunk(start, views, failures)

    def _settle(
        self, item: _Item, future: Future[_Chunk], on_error: OnError | None
    ) -> tuple[_Item, list[_Row]]:
        chunk = future.result()
        for failure in chunk.failures:
            if on_error is None:
                raise failure.error
            if failure.region is not None or chunk.start == 0:
                on_error(failure)
        item.settled += min(_CHUNK, len(item.regions) - chunk.start) - len(chunk.views)
        return item, [_Row(item, *view) for view in chunk.views]

    def _run(self, batch: list[_Row]) -> None:
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

    def _collect(self, item: _Item) -> np.ndarray:
        dim = self._model.clip.visual.output_dim
        rows = np.full((len(item.regions), dim), np.nan, np.float32)
        for place, vector in item.vectors.items():
            rows[place] = vector
        return rows

    def _autocast(self) -> torch.autocast:
        import torch

        enabled = self.dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled)


class _Item:
    """One picture on its way through the encoder."""

    def __init__(self, place: int, source: Picture, regions: Sequence[Region]) -> None:
        self.place = place
        self.regions = regions
        self.vectors: dict[int, np.ndarray] = {}
        self.settled = 0
        self._source = source
        self._lock = Lock()
        self._opened: np.ndarray | AlphaClipError | None = None

    @property
    def is_done(self) -> bool:
        return self.settled == len(self.regions)

    def open(self) -> np.ndarray:
        """The picture's pixels; read once, whichever thread asks first."""
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = open_image(self._source)
                except AlphaClipError as error:
                    self._opened = error
        if isinstance(self._opened, AlphaClipError):
            raise self._opened
        return self._opened


@dataclass(frozen=True)
class _Row:
    item: _Item
    place: int
    pixels: Tensor
    alpha: Tensor


@dataclass(frozen=True)
class _Chunk:
    start: int
    views: list[tuple[int, Tensor, Tensor]]
    failures: list[Failure]


def _chunks(
    items: Iterable[tuple[Picture, Sequence[Region]]],
) -> Iterator[tuple[_Item, int]]:
    for place, (source, regions) in enumerate(items):
        item = _Item(place, source, regions)
        for start in range(0, max(1, len(regions)), _CHUNK):
            yield item, start


def _unit(vectors: Tensor) -> Tensor:
    from torch.nn.functional import normalize

    return normalize(vectors, dim=-1)
