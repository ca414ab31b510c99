"""Detectors of words by name: those of transformers, and of FiftyOne's zoo SAM 3 in its concept
mode, YOLOE and YOLO-World.

SAM 3 and YOLOE draw what they find; the others give boxes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.detectors import phrase_detectors
from alphaclip.detectors.boxes import FoundBox, Grounder, GroundingSettings, keep_boxes
from alphaclip.errors import AlphaClipError, MissingWeightsError, ModelNotFoundError
from alphaclip.indexing.dataset.labels import regions_of

if TYPE_CHECKING:
    import fiftyone as fo

SAM_3 = "segment-anything-3"
"""How the names of SAM 3 in FiftyOne's zoo begin. Words are for its concept mode, in which a box is
an example of what to find; boxes to be filled are for its visual mode."""

OF_ZOO = re.compile(rf"({SAM_3}|yolo).*-torch")
TAKES_WORDS = re.compile(rf"{SAM_3}-image-torch|yoloe.*-seg-torch|yolo.*-world-torch")
DRAWS = re.compile(rf"{SAM_3}-.*-torch|yoloe.*-torch")
GET_SAM_3 = (
    "its weights are given to those who accept Meta's terms at huggingface.co/facebook/sam3: then "
    "`hf download facebook/sam3 sam3.pt --local-dir {folder}`, and "
    "`pip install git+https://github.com/facebookresearch/sam3.git`"
)


def open_detector(
    name: str | Path = "auto",
    device: str | None = None,
    settings: GroundingSettings | None = None,
) -> Grounder:
    """Loads a detector of words.

    Args:
        name: what :func:`alphaclip.detectors.phrase_detectors.load_detector` takes, or the name of
            SAM 3, a YOLOE or a YOLO-World of FiftyOne's zoo, as ``yoloe11s-seg-torch``, which is
            not downloaded here; "auto" takes :func:`installed_detector`
        device (None): a torch device; None takes a GPU if there is one
        settings (None): which boxes are kept

    Raises:
        AlphaClipError: if it cannot be had; says what to do
    """
    name = installed_detector() if name == "auto" else str(name)
    if OF_ZOO.fullmatch(name):
        return ZooDetector(name, device, settings)
    return phrase_detectors.load_detector(name, device, settings)


def installed_detector() -> str:
    """The name of the detector that is taken where none is named: one of transformers before those
    of FiftyOne's zoo.

    Raises:
        MissingWeightsError: if none is on this machine; says how to get one
    """
    try:
        return phrase_detectors.installed_detector()
    except MissingWeightsError:
        import fiftyone.zoo as foz

        of_zoo = filter(TAKES_WORDS.fullmatch, sorted(foz.list_downloaded_zoo_models()))
        name = next(of_zoo, None)
        if name is None:
            raise
        return name


def draws_masks(name: str | Path) -> bool:
    """Whether a model of this name takes words and draws what it finds."""
    return DRAWS.fullmatch(str(name)) is not None


class ZooDetector:
    """Finds phrases by a model of FiftyOne's zoo; see :class:`alphaclip.detectors.boxes.Grounder`.

    The model is loaded for the phrases that it is first asked for, and YOLO again for others.
    """

    def __init__(self, name: str, device: str | None, settings: GroundingSettings | None) -> None:
        if not TAKES_WORDS.fullmatch(name):
            raise AlphaClipError(
                f"{name} looks for no words in pictures, but for classes of its own or in videos: "
                "take segment-anything-3-image-torch, a yoloe...-seg-torch without -pf, or "
                "yolov8s-world-torch"
            )
        check_zoo_model(name)
        self._zoo_name, self._settings = name, settings or GroundingSettings()
        self.name = f"{name}, {self._settings}"
        self._device: dict[str, str] = {"device": device} if device else {}
        self._model: Any = None
        self._phrases: Sequence[str] = ()

    def ground(self, image: np.ndarray, phrases: Sequence[str]) -> list[list[FoundBox]]:
        """See :meth:`alphaclip.detectors.boxes.Grounder.ground`."""
        if not phrases:
            return []
        found: dict[str, list[FoundBox]] = {phrase: [] for phrase in phrases}
        for label, region in regions_of(self._predict(image, phrases)):
            x, y, w, h = label.bounding_box
            outline = None if label.mask is None else region
            box = FoundBox((x, y, x + w, y + h), float(label.confidence), outline)
            found.setdefault(label.label, []).append(box)
        return [keep_boxes(found[phrase], self._settings) for phrase in phrases]

    def _predict(self, image: np.ndarray, phrases: Sequence[str]) -> fo.Detections:
        is_sam = self._zoo_name.startswith(SAM_3)
        if self._model is None or (not is_sam and self._phrases != list(phrases)):
            self._model = self._load_sam() if is_sam else self._load_yolo(phrases)
            self._phrases = list(phrases)
        with self._model:
            detections: fo.Detections = self._model.predict_all(
                [_sam_item(image, phrases) if is_sam else image]
            )[0]
        return detections

    def _load_sam(self) -> Any:
        model = load_zoo_model(self._zoo_name, operation_mode="concept", **self._device)
        # What is less sure is gone before `confidence_thresh` is looked at, and as an option of
        # the zoo's the same number also cuts the masks.
        model._concept_output_processor.mask_thresh = self._settings.least_score
        return model

    def _load_yolo(self, phrases: Sequence[str]) -> Any:
        options = {"classes": list(phrases), "confidence_thresh": self._settings.least_score}
        return load_zoo_model(self._zoo_name, **options, **self._device)


def _sam_item(image: np.ndarray, phrases: Sequence[str]) -> dict[str, Any]:
    """What the zoo's SAM 3 makes of a sample; it takes no bare pictures."""
    from PIL import Image

    return {
        "id": "",
        "image": Image.fromarray(image),
        "original_size": image.shape[:2],
        "prompt_type": "auto",
        "operation_mode": "concept",
        "text_prompts": list(phrases),
    }


def check_zoo_model(name: str) -> None:
    """Raises an error if the user has not downloaded a zoo model; FiftyOne would do it unasked.

    Raises:
        ModelNotFoundError: if the zoo has no such model
        MissingWeightsError: if it is not downloaded; says how to get it
    """
    import fiftyone as fo
    import fiftyone.zoo as foz

    try:
        is_here = foz.is_zoo_model_downloaded(name)
    except ValueError as error:
        raise ModelNotFoundError(f"FiftyOne's zoo has no model {name!r}: {error}") from error
    if not is_here:
        how = f"fiftyone.zoo.download_zoo_model({name!r}) downloads it"
        if name.startswith(SAM_3):
            how = GET_SAM_3.format(folder=fo.config.model_zoo_dir)
        raise MissingWeightsError(f"{name} is not downloaded: {how}")


def load_zoo_model(name: str, **options: Any) -> Any:
    """Loads a zoo model that the user has downloaded.

    Raises:
        AlphaClipError: see :func:`check_zoo_model`; or it cannot be loaded
    """
    import fiftyone.zoo as foz

    check_zoo_model(name)
    try:
        return foz.load_zoo_model(name, **options)
    except Exception as error:
        raise AlphaClipError(f"FiftyOne's zoo cannot load {name!r}: {error}") from error
