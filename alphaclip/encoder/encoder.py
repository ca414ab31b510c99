"""Pictures and their regions, or words, to unit vectors in one space."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.arguments import COUNT, checked
from alphaclip.encoder.prompts import expand
from alphaclip.encoder.text_memory import recall
from alphaclip.network.fingerprint import fingerprint
from alphaclip.regions.region import Region
from alphaclip.views.prefetch import (
    Failure,
    Item,
    OnError,
    Picture,
    Row,
    cut_ahead,
    report_failures,
)
from alphaclip.views.view import View

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from alphaclip.encoder.pooling import SharedTrunk, Way
    from alphaclip.network.model import AlphaCLIP

__all__ = ["Encoder", "Failure", "OnError"]

logger = logging.getLogger(__name__)

_TEXTS_AT_ONCE = 256
"""Rows of tokens in a pass; all templates of one prompt are in the same."""

_PASSES_SORTED = 4
"""Passes whose prompts are sorted by length together; all their tokens are in memory."""


_BATCHES_AHEAD = 2
"""Batches that are cut while the model runs one, however few regions a picture has."""


@dataclass(frozen=True)
class _Running:
    """A batch that the model was given; on a GPU, the vectors are there when ``arrived`` is."""

    batch: list[Row]
    vectors: Tensor
    arrived: torch.cuda.Event | None = None

    def settle(self) -> None:
        """Waits for the vectors and hands them to their pictures."""
        if self.arrived is not None:
            self.arrived.synchronize()
        for row, vector in zip(self.batch, self.vectors.numpy(), strict=True):
            row.item.vectors[row.number] = vector
            row.item.settled += 1


class Encoder:
    """Encodes regions and text; made by :func:`alphaclip.load`.

    Args:
        model: both towers
        name: resolves to the same model again
        view: what is shown of a region
        device: where the model runs
        dtype: what its matrix products are computed in; int8 where the image encoder's are, see
            `alphaclip.network.int8`, and the text encoder's in float32
        way (None): how the model is used; None is its own way, see `own_way`
    """

    def __init__(
        self,
        model: AlphaCLIP,
        name: str,
        view: View,
        device: torch.device,
        dtype: torch.dtype,
        way: Way | None = None,
    ) -> None:
        from alphaclip.encoder.pooling import own_way

        self.name = name
        self.view = view
        self.device = device
        self.dtype = dtype
        self._model = model.to(device).eval().requires_grad_(False)
        self._way = way or own_way(self._model, view)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._model.dim

    @property
    def image_size(self) -> int:
        """Side of the square that a region's view is scaled to, in pixels."""
        return self._model.image_size

    @cached_property
    def fingerprint(self) -> str:
        """Equal for encoders whose vectors may be compared; device and precision do not count.

        Raises MissingWeightsError where the text tower's weights cannot be had, see `fingerprint`.
        """
        return fingerprint(self._model, self.view, self._way.pooling)

    @cached_property
    def text_fingerprint(self) -> str:
        """Equal for encoders that encode words alike, whatever they are shown of a region."""
        return fingerprint(self._model, None)

    def encode_regions(self, image: Picture, regions: Sequence[Region]) -> np.ndarray:
        """Encodes regions of one picture.

        Args:
            image: a path, a PIL image, or uint8 (H, W, 3)
            regions: of this picture

        Returns:
            float32 (n, dim) of unit length, rows in the order of ``regions``

        Raises:
            ImageError: if the picture cannot be opened
            RegionError: if a region does not fit it; names the picture and the region's number
            EmptyRegionError: if a region has no area inside it
        """
        return next(self.encode_many([(image, regions)]))

    @checked(batch_size=COUNT)
    def encode_many(
        self,
        items: Iterable[tuple[Picture, Sequence[Region]]],
        on_error: OnError | None = None,
        batch_size: int | None = None,
        apart: Container[int] = (),
    ) -> Iterator[np.ndarray]:
        """Encodes a stream of pictures; regions of different pictures share batches.

        Each picture is opened once, or never if it has no regions. Pictures are opened and cut in
        threads while the model runs, at least two batches ahead of it, and let go of when cut.

        Args:
            items: pictures and their regions
            on_error (None): called with each :class:`Failure`, whose rows are then NaN; without
                it the first failure is raised
            batch_size (None): regions in a batch; None takes what fits the device
            apart (()): numbers of items that begin a batch, so that the last bits of what comes of
                them do not depend on what came before; items may be added as the stream goes

        Yields:
            for each item, in order, float32 (n, dim) of unit length
        """
        from alphaclip.encoder.pooling import Pooled, SharedTrunk, WholePicture

        batch_size = batch_size or (256 if self.device.type == "cuda" else 32)
        way, keep_tiny = self._way, self._way.pooling is not None
        shared = None
        if isinstance(way, (Pooled, WholePicture)) and way.runs_once:
            shared = SharedTrunk(way, self._normalise)
        waiting: deque[Item] = deque()
        running: deque[_Running] = deque()
        batch: list[Row] = []
        ahead = _BATCHES_AHEAD * batch_size
        for chunk in cut_ahead(items, self.view, self.image_size, keep_tiny, ahead):
            report_failures(chunk, on_error)
            chunk.item.settled += chunk.lost
            if not waiting or waiting[-1] is not chunk.item:
                if batch and chunk.item.number in apart:
                    running.append(self._run(batch, shared))
                    batch = []
                waiting.append(chunk.item)
            batch.extend(chunk.rows)
            while len(batch) >= batch_size:
                running.append(self._run(batch[:batch_size], shared))
                del batch[:batch_size]
            # While a GPU computes the last one, the vectors of those before are taken.
            while len(running) > (self.device.type == "cuda"):
                running.popleft().settle()
            while waiting and waiting[0].is_done:
                yield self._collect(waiting.popleft())
        if batch:
            running.append(self._run(batch, shared))
        for one in running:
            one.settle()
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
        from torch.nn.functional import normalize

        wordings = expand(prompts, templates)
        rows = np.empty((len(wordings), self.dim), np.float32)
        for numbers, tokens in self._passes(wordings):
            with torch.inference_mode(), self._autocast():
                vectors = normalize(self._model.encode_text(tokens.to(self.device)).float(), dim=-1)
                means = vectors.unflatten(0, (len(numbers), -1)).mean(dim=1)
                rows[numbers] = normalize(means, dim=-1).cpu().numpy()
        return rows

    def recall_text(
        self,
        prompts: Sequence[str],
        templates: Sequence[str] | None = None,
        show: Callable[[str, int, int], None] | None = None,
    ) -> np.ndarray:
        """As `encode_text`, of which each text is asked once: its vector is remembered, in this
        process and in the models folder, see `alphaclip.encoder.text_memory`.

        A vector may differ in its last bits from one that is encoded beside other texts.

        Args:
            prompts, templates: see there
            show (None): told how many of those that are not remembered are encoded
        """
        # Precision does not count for the fingerprint, but who asks for float32 is to get it.
        alike = f"{self.fingerprint} {self.dtype}"
        return recall(alike, lambda new: self.encode_text(new, templates), prompts, templates, show)

    def _passes(self, wordings: list[list[str]]) -> Iterator[tuple[Tensor, Tensor]]:
        """The numbers of some prompts, and the tokens of all their wordings: those that are about
        as long go together, since a pass is as long as its longest."""
        at_once = max(1, _TEXTS_AT_ONCE // len(wordings[0]))
        for start in range(0, len(wordings), _PASSES_SORTED * at_once):
            some = wordings[start : start + _PASSES_SORTED * at_once]
            tokens = self._tokenize([text for group in some for text in group])
            grouped = tokens.unflatten(0, (len(some), -1))
            order = grouped.count_nonzero(dim=-1).amax(dim=-1).argsort(stable=True)
            for numbers in order.split(at_once):
                yield start + numbers, grouped[numbers].flatten(0, 1)

    def _tokenize(self, texts: list[str]) -> Tensor:
        """Says which texts are cut; two of a model's tokens are for start and end."""
        tokens: Tensor = self._model.tokenizer(texts)
        encode = getattr(self._model.tokenizer, "encode", None)
        # What was cut fills its row to the end.
        for text in itertools.compress(texts, tokens[:, -1]):
            if encode is not None and len(encode(text)) > tokens.shape[1] - 2:
                logger.warning("cut to %d tokens: %.60s...", tokens.shape[1] - 2, text)
        return tokens

    def encode_views(
        self, pixels: Tensor, maps: Tensor, whole: Sequence[bool] | None = None
    ) -> np.ndarray:
        """Encodes what is shown of regions, cut and scaled already, see `make_views`.

        Args:
            pixels: uint8 or float (n, 3, R, R), 0 to 255
            maps: uint8 (n, 1, R, R), alpha maps, 0 to 255
            whole (None): for each, whether it is a whole-image region; None if none is

        Returns:
            float32 (n, dim) of unit length
        """
        import torch
        from torch.nn.functional import normalize

        with torch.inference_mode(), self._autocast():
            shares = maps.to(self.device).float() / 255.0
            flags = whole or [False] * len(maps)
            encoded = self._way.encode(self._normalise(pixels), shares, flags)
            return np.asarray(normalize(encoded.float(), dim=-1).cpu().numpy())

    def _run(self, batch: list[Row], shared: SharedTrunk | None) -> _Running:
        import torch
        from torch.nn.functional import normalize

        with torch.inference_mode(), self._autocast():
            # Views at the region's own aspect have several shapes.
            shapes = [row.pixels.shape for row in batch]
            order, parts = [], []
            for shape in dict.fromkeys(shapes):
                numbers = [number for number, one in enumerate(shapes) if one == shape]
                parts.append(self._encode([batch[number] for number in numbers], shared))
                order += numbers
            encoded = torch.cat(parts)[np.argsort(order)] if len(parts) > 1 else parts[0]
            vectors = normalize(encoded.float(), dim=-1).to("cpu", non_blocking=True)
        if self.device.type != "cuda":
            return _Running(batch, vectors)
        arrived = torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(self.device))
        return _Running(batch, vectors, arrived)

    def _encode(self, rows: list[Row], shared: SharedTrunk | None) -> Tensor:
        """Regions that are shown in one shape, before normalisation."""
        import torch

        maps = self._on_device(torch.stack([row.alpha for row in rows])).float() / 255.0
        pictures, whole = [row.pixels for row in rows], [row.is_whole_image for row in rows]
        if shared is not None:
            return shared.encode(pictures, maps, whole)
        return self._way.encode(self._normalise(torch.stack(pictures)), maps, whole)

    def _normalise(self, pixels: Tensor) -> Tensor:
        mean, std = self._mean_and_std
        return (self._on_device(pixels).float() / 255.0 - mean) / std

    @cached_property
    def _mean_and_std(self) -> list[Tensor]:
        import torch

        of_channels = self._model.mean, self._model.std
        return [torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in of_channels]

    def _on_device(self, pixels: Tensor) -> Tensor:
        """Copies to a GPU from pinned memory, without waiting for it."""
        if self.device.type != "cuda" or pixels.is_cuda:
            return pixels.to(self.device)
        return pixels.pin_memory().to(self.device, non_blocking=True)

    def _collect(self, item: Item) -> np.ndarray:
        rows = np.full((len(item.regions), self.dim), np.nan, np.float32)
        for number, vector in item.vectors.items():
            rows[number] = vector
        return rows

    def _autocast(self) -> torch.autocast:
        import torch

        is_half = self.dtype in (torch.bfloat16, torch.float16)
        dtype = self.dtype if is_half else None
        return torch.autocast(self.device.type, dtype=dtype, enabled=is_half)
