"""Measures a model in training on held-out pairs, with the evaluation harness's own tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.files import write_atomically
from alphaclip.network.model import AlphaCLIP
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.evaluation.classification.classification import PRIMARY as TOP_1
from alphaclip.training.evaluation.classification.classification import classify
from alphaclip.training.evaluation.classification.protocols import region_protocol
from alphaclip.training.evaluation.retrieval.retrieval import DIRECTIONS, PRIMARY, retrieve
from alphaclip.training.finetune.config import FinetuneConfig
from alphaclip.training.pairs.format.reading import PairSet, open_pairs
from alphaclip.views.view import View

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Evaluate = Callable[[Encoder], Mapping[str, float]]
"""Measures an encoder: figures by name, the first the one that picks the best checkpoint."""

FIGURES = (PRIMARY, "recall@1", "recall@10")
"""Of retrieval, in percent, in both directions."""


class HeldOut:
    """Measures on sets of pairs that are not trained on.

    For each set, ``SET: mAP``, ``SET: recall@1`` and ``SET: recall@10`` of finding regions by
    their texts, the same ``by region`` of finding texts, see
    `alphaclip.training.evaluation.retrieval.retrieval.retrieve`; and, where regions have labels of
    at least two classes, ``SET: top-1`` of naming them, the mean over classes, see
    :func:`~alphaclip.training.evaluation.classification.classification.classify`. All in percent.

    Args:
        folders: of the sets
        pictures: folder that the sets' pictures are copied to, since they are encoded from files
    """

    def __init__(self, folders: Sequence[Path], pictures: Path) -> None:
        names = [folder.resolve().name for folder in folders]
        if len(set(names)) < len(names):
            names = [
                f"{folder.resolve().parent.name}/{folder.resolve().name}" for folder in folders
            ]
        self._sets = [
            read_held_out(folder, name, pictures)
            for folder, name in zip(folders, names, strict=True)
        ]

    def __call__(self, encoder: Encoder) -> dict[str, float]:
        """Measures an encoder on every set."""
        figures: dict[str, float] = {}
        for regions in self._sets:
            for direction, suffix in zip(DIRECTIONS, ("", " by region"), strict=True):
                metrics = retrieve(encoder, regions, direction).metrics
                for name in FIGURES:
                    figures[f"{regions.name}: {name}{suffix}"] = round(metrics[name], 4)
            if len(regions.classes) > 1:
                top = classify(encoder, regions, region_protocol("own")).metrics[TOP_1]
                figures[f"{regions.name}: {TOP_1}"] = round(top, 4)
        return figures


class Twin:
    """A second copy of the model, to be measured while the first is in training.

    Args:
        model: before it is prepared for training
        name: that encoders of it have
        view: what is shown to it
        device: where it runs
        dtype: what its matrix products are computed in
    """

    def __init__(
        self, model: AlphaCLIP, name: str, view: View, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._model = deepcopy(model)
        self._make = lambda: Encoder(self._model, name, view, device, dtype)

    def encoder(self, weights: Mapping[str, Tensor] | None = None) -> Encoder:
        """An encoder with other weights, of both towers; it is right until the next call.

        Args:
            weights (None): by open_clip's names; None leaves them as they are
        """
        if weights is not None:
            self._model.clip.load_state_dict(weights)
        return self._make()


def evaluation_view(config: FinetuneConfig) -> View:
    """What is shown of a region at test: what the training showed, with the middle context."""
    if config.geometry == "pad":
        return View("image", antialias=config.antialias)
    middle = round(sum(config.context) / 2, 3)
    kind: Any = "cover" if config.method == "regions" else "context"
    return View(kind, context=middle, antialias=config.antialias)


def read_held_out(folder: Path, name: str, pictures: Path) -> RegionSet:
    """Reads a set of pairs for the evaluation tasks.

    Args:
        folder: of the set
        name: of the set, in reports
        pictures: its pictures are copied there, once, into a folder named by its content

    Returns:
        all regions with their texts and labels; areas are those of the alpha maps

    Raises:
        PairError: if there is no pair that can be read
        AlphaClipError: if the pictures cannot be written
    """
    pairs = open_pairs(folder)
    into = pictures / pairs.fingerprint
    examples = tuple(_examples(pairs, into))
    labels = {region.label for example in examples for region in example.regions}
    return RegionSet(name, examples, tuple(sorted(labels - {""})), tuple(pairs.left_out))


def _examples(pairs: PairSet, into: Path) -> Iterator[Example]:
    for picture, (_, entry) in zip(pairs.pictures(), pairs.entries(), strict=True):
        path = into / f"{picture.key}.{picture.suffix}"
        if not path.exists() or path.stat().st_size != len(picture.image):
            write_atomically(path, partial(_write, picture.image))
        width, height = entry["width"], entry["height"]
        regions = []
        for number, pair in enumerate(picture.regions):
            area = float(pair.region.alpha_map(height, width).sum(dtype=np.float64) / 255)
            key = f"{picture.key}/{number}"
            regions.append(LabelledRegion(key, pair.region, area, pair.label or "", pair.texts))
        yield Example(picture.key, path, width, height, tuple(regions))


def _write(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)
