"""Detectors of phrases from transformers: OWL-ViT, OWLv2, Grounding DINO and LLMDet.

All phrases are looked for in one pass over a picture. OWL scores each by itself. Grounding DINO and
its kin read them as one sentence, ``a dog. a cat.``, and score its tokens: the score of a phrase is
that of its likeliest token, as in the authors' own evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.catalog.candidates import DETECTORS, allows_commerce
from alphaclip.catalog.choices import Choice
from alphaclip.detectors.boxes import FoundBox, GroundingSettings, keep_boxes
from alphaclip.devices import find_device
from alphaclip.errors import AlphaClipError, MissingWeightsError
from alphaclip.weights.hub import find_hub_folder, hub_folder

if TYPE_CHECKING:
    import torch

OWLS, DINOS = ("owlvit", "owlv2"), ("grounding-dino", "mm-grounding-dino")
"""The types of model, as transformers calls them; LLMDet is of the last."""

MOST_CHARACTERS = 400
"""Of a sentence for Grounding DINO, which reads 256 tokens of mostly more than two characters."""

Detect = Callable[[np.ndarray, Sequence[str]], tuple[np.ndarray, np.ndarray]]
"""Called with a picture and phrases; returns boxes, left, top, right and bottom relative to the
picture, float (b, 4), and how likely each is of each phrase, float (b, p)."""


class PhraseDetector:
    """Finds phrases in pictures.

    Args:
        detect: see :data:`Detect`
        name: of the model
        settings: which boxes are kept
    """

    def __init__(
        self, detect: Detect, name: str, settings: GroundingSettings | None = None
    ) -> None:
        self._settings = settings or GroundingSettings()
        self.name = f"{name}, {self._settings}"
        self._detect = detect

    def ground(self, image: np.ndarray, phrases: Sequence[str]) -> list[list[FoundBox]]:
        """See :meth:`alphaclip.detectors.boxes.Grounder.ground`."""
        if not phrases:
            return []
        boxes, scores = self._detect(image, phrases)
        corners, found = [tuple(box) for box in boxes.tolist()], []
        for column in scores.T.tolist():
            every = [FoundBox(box, score) for box, score in zip(corners, column, strict=True)]
            found.append(keep_boxes(every, self._settings))
        return found


def installed_detector() -> str:
    """The name of the detector that is taken where none is named.

    Raises:
        MissingWeightsError: if none is on this machine; says how to get one
    """
    for detector in DETECTORS:
        if find_hub_folder(detector.name) is not None:
            return detector.name
    usual, other = DETECTORS[0], DETECTORS[-1]
    raise MissingWeightsError(
        f"no detector of words is named, and none is on this machine: `alphaclip models "
        f"{usual.name} --install` gets one ({usual.gigabytes:.1f} GB, {usual.licence}); or name "
        f"another, such as {other.name}, which is downloaded then"
    )


def detector_choices() -> list[Choice]:
    """The detectors that are offered."""
    return [
        Choice(
            name=one.name,
            summary=f"a detector of words: {one.summary}",
            licence=one.licence,
            commercial=allows_commerce(one.licence),
            installed=find_hub_folder(one.name) is not None,
            bytes=int(one.gigabytes * 1e9),
        )
        for one in DETECTORS
    ]


def load_detector(
    name: str, device: str | None = None, settings: GroundingSettings | None = None
) -> PhraseDetector:
    """Loads a zero-shot detector of transformers.

    Args:
        name: of a model on the Hugging Face Hub, such as ``IDEA-Research/grounding-dino-tiny`` or
            ``google/owlv2-base-patch16-ensemble``, downloaded if need be; or a folder. Its weights
            have to be safetensors, and no code of its own is run. "auto" takes the first of
            `alphaclip.catalog.candidates.DETECTORS` that is on this machine
        device (None): a torch device; None takes a GPU if there is one
        settings (None): which boxes are kept

    Raises:
        AlphaClipError: if it cannot be had or is no such model; says what to do
    """
    chosen = find_device(device)
    name = installed_detector() if name == "auto" else name
    try:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        folder = name if Path(name).is_dir() else hub_folder(name)
        here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        processor: Any = AutoProcessor.from_pretrained(folder, **here)
        model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(
            folder, use_safetensors=True, **here
        )
        kind = model.config.model_type
        if kind not in (*OWLS, *DINOS):
            raise ValueError(f"models of the type {kind} are not known here")
    except ImportError as error:
        raise AlphaClipError(
            f"detectors of phrases need transformers ({error}): run `pip install transformers`"
        ) from error
    except MissingWeightsError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise AlphaClipError(
            f"{name} cannot be loaded as a zero-shot detector ({str(error)[:300]}): give a model "
            "with safetensors weights, such as IDEA-Research/grounding-dino-tiny, by its name on "
            "the Hugging Face Hub or its folder"
        ) from error
    parts = (processor, model.to(chosen).eval())
    return PhraseDetector(Owl(*parts) if kind in OWLS else Dino(*parts), name, settings)


@dataclass(frozen=True)
class Owl:
    """OWL-ViT or OWLv2, see :data:`Detect`."""

    processor: Any
    model: Any

    def __call__(self, image: np.ndarray, phrases: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See :data:`Detect`."""
        inputs = self.processor(
            text=[list(phrases)], images=[image], truncation=True, return_tensors="pt"
        )
        outputs = _run(self.model, inputs)
        boxes, (height, width) = _corners(outputs.pred_boxes[0]), image.shape[:2]
        if self.model.config.model_type == "owlv2":  # which pads pictures to a square
            boxes *= max(height, width) / np.array([width, height, width, height])
        return boxes, outputs.logits[0].sigmoid().float().cpu().numpy()


@dataclass(frozen=True)
class Dino:
    """Grounding DINO, or LLMDet, see :data:`Detect`."""

    processor: Any
    model: Any

    def __call__(self, image: np.ndarray, phrases: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See :data:`Detect`; the boxes of each sentence, where one does not hold all phrases."""
        boxes, scores = [], []
        for first, sentences in _groups([f"{phrase.lower().rstrip('. ')}." for phrase in phrases]):
            text = " ".join(sentences)
            inputs = self.processor(images=[image], text=text, return_tensors="pt")
            outputs = _run(self.model, inputs)
            boxes.append(_corners(outputs.pred_boxes[0]))
            tokens = outputs.logits[0].sigmoid().float().cpu().numpy()
            likely = np.zeros((len(tokens), len(phrases)), np.float32)
            spans = self._spans(text, sentences)
            for number, span in enumerate(spans, first):
                likely[:, number] = tokens[:, span].max(axis=1, initial=0)
            scores.append(likely)
        return np.concatenate(boxes), np.concatenate(scores)

    def _spans(self, text: str, sentences: Sequence[str]) -> Iterator[list[int]]:
        """The numbers of the tokens of each phrase, without its full stop."""
        offsets = self.processor.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        start = 0
        for sentence in sentences:
            end = start + len(sentence) - 1
            yield [n for n, (a, b) in enumerate(offsets) if start <= a < b <= end]
            start = end + 2


def _groups(sentences: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """As many at a time as are read; with the number of the first."""
    first, some = 0, [sentences[0]]
    for number, sentence in enumerate(sentences[1:], 1):
        if sum(map(len, some)) + len(some) + len(sentence) > MOST_CHARACTERS:
            yield first, some
            first, some = number, []
        some.append(sentence)
    yield first, some


def _run(model: Any, inputs: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(**inputs.to(model.device))


def _corners(boxes: torch.Tensor) -> np.ndarray:
    """Of boxes given by middle and size: float64 (b, 4)."""
    middle, size = boxes.double().cpu().numpy().reshape(-1, 2, 2).transpose(1, 0, 2)
    return np.concatenate([middle - size / 2, middle + size / 2], axis=1)
