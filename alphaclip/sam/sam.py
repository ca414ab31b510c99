"""Masks through Segment Anything (SAM): for boxes, or for everything in a picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from alphaclip.errors import AlphaClipError, MissingWeightsError, RegionError
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region
from alphaclip.regions.rle import decode_rle
from alphaclip.sam.checkpoints import (
    HOW_TO_INSTALL_OWN,
    RELEASED_SAMS,
    how_to_install_sam,
    installed_sams,
    require_installed,
)
from alphaclip.sam.masks import AUTOMATIC_LIMITS, MaskLimits, SamMask, crop_mask
from alphaclip.sam.networks import import_segment_anything, read_sam

if TYPE_CHECKING:
    from torch import nn

    from alphaclip.views.prefetch import Picture

logger = logging.getLogger(__name__)

WORKING_SIDE = 1024
"""Longer pictures are made this long before SAM sees them, as it would itself: masks of the whole
picture would else take gigabytes."""

MOST_POINTS = 40
"""Points a side, of automatic masks; beyond, segment-anything 1.0 can fail on CUDA devices."""

_BOXES, _POINTS = 32, 64
"""Prompts at a time: masks of the whole picture are made for each, so that memory bounds them."""


@dataclass(frozen=True)
class SamModel:
    """A SAM that is ready to use.

    Attributes:
        name: of the installed checkpoint, or the path of the file
        network: a ``segment_anything.modeling.Sam`` on its device, in evaluation mode
    """

    name: str
    network: nn.Module


def load_sam(name: str | Path | SamModel = "auto", device: str | None = None) -> SamModel:
    """Loads a SAM; nothing is downloaded, see :func:`alphaclip.sam.checkpoints.install_sam`.

    Args:
        name: ``auto`` (the largest released one that is installed, else the first of the user's
            own), ``sam-vit-b``, ``sam-vit-l``, ``sam-vit-h``, a name that the user has installed
            one under, the path of a ``.safetensors`` or ``.pth`` file (the latter is read with
            ``weights_only=True``), or a model, which is returned as it is
        device (None): a torch device; None takes a GPU if there is one

    Raises:
        ModelNotFoundError: if no SAM has this name
        MissingWeightsError: if its weights are not here; says how to get them
        CheckpointError: if they cannot be read, or are not SAM's
        AlphaClipError: if the device cannot be used, or segment-anything is not installed
    """
    from alphaclip.devices import find_device

    if isinstance(name, SamModel):
        return name
    if not isinstance(name, (str, Path)):
        raise AlphaClipError(f"model is {name!r:.80}: expected a name, a path or a SamModel")
    chosen_device = find_device(device)
    chosen = str(name)
    if chosen == "auto":
        installed = installed_sams()
        if not installed:
            raise MissingWeightsError(
                f"no SAM is installed: {how_to_install_sam(RELEASED_SAMS[0])}; {HOW_TO_INSTALL_OWN}"
            )
        chosen = installed[0]
    path = Path(chosen).expanduser()
    if path.suffix or path.is_file():
        chosen, path = str(path.resolve()), path.resolve()
    else:
        path = require_installed(chosen)
    architecture, network = read_sam(path)
    logger.info("SAM %s from %s on %s", architecture, path, chosen_device)
    return SamModel(chosen, network.to(chosen_device))


def masks_for_boxes(
    model: SamModel, image: Picture, boxes: Sequence[Sequence[float]]
) -> list[SamMask]:
    """The mask of what is in each box; the picture is encoded once.

    Args:
        model: see :func:`load_sam`
        image: a path, a PIL image, or uint8 (H, W, 3)
        boxes: relative ``[x, y, w, h]``; clipped to the picture

    Raises:
        ImageError: if the picture cannot be opened
        RegionError: if a box is malformed or outside the picture; says which
    """
    import torch

    if not len(boxes):
        return []
    pixels = _working_picture(model, image)
    corners = np.array([_corners(i, box, pixels) for i, box in enumerate(boxes)])
    predictor = import_segment_anything().SamPredictor(model.network)
    predictor.set_image(pixels)
    masks = []
    for start in range(0, len(corners), _BOXES):
        scaled = predictor.transform.apply_boxes(
            corners[start : start + _BOXES], predictor.original_size
        )
        predicted, quality, _ = predictor.predict_torch(
            point_coords=None,
            point_labels=None,
            boxes=torch.as_tensor(scaled, dtype=torch.float32, device=predictor.device),
            multimask_output=False,
        )
        for mask, iou in zip(predicted[:, 0], quality[:, 0], strict=True):
            masks.append(crop_mask(mask.cpu().numpy(), float(iou)))
    return masks


def automatic_masks(
    model: SamModel,
    image: Picture,
    limits: MaskLimits = AUTOMATIC_LIMITS,
    points_per_side: int = 32,
) -> list[SamMask]:
    """Masks of everything that SAM finds in a picture, prompted with a grid of points.

    Args:
        model: see :func:`load_sam`
        image: a path, a PIL image, or uint8 (H, W, 3)
        limits (AUTOMATIC_LIMITS): of quality and stability; those of area and overlap are applied
            by :func:`alphaclip.sam.masks.judge`
        points_per_side (32): of the grid, 1 to 40

    Returns:
        the masks, best first; SAM's own removal of duplicates is by their boxes

    Raises:
        ImageError: if the picture cannot be opened
        AlphaClipError: if points_per_side is out of range
    """
    if not 1 <= points_per_side <= MOST_POINTS:
        raise AlphaClipError(f"points_per_side is {points_per_side}: expected 1 to {MOST_POINTS}")
    pixels = _working_picture(model, image)
    generator = import_segment_anything().SamAutomaticMaskGenerator(
        model.network,
        points_per_side=points_per_side,
        points_per_batch=_POINTS,
        pred_iou_thresh=limits.min_quality,
        stability_score_thresh=limits.min_stability,
        box_nms_thresh=limits.max_overlap,
        output_mode="uncompressed_rle",
    )
    masks = [
        crop_mask(decode_rle(record["segmentation"]).astype(bool), float(record["predicted_iou"]))
        for record in generator.generate(pixels)
    ]
    return sorted(masks, key=lambda mask: -mask.quality)


def _working_picture(model: SamModel, image: Any) -> np.ndarray:
    pixels = open_image(image)
    height, width = pixels.shape[:2]
    encoder: Any = model.network.image_encoder
    scale = max(WORKING_SIDE, encoder.img_size) / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def _corners(i: int, box: Sequence[float], pixels: np.ndarray) -> list[float]:
    """The corners of a box in pixels, inside the picture, not rounded."""
    height, width = pixels.shape[:2]
    try:
        region = Region.from_box(box)
        region.bounds(height, width)
        x, y, w, h = region.box or (0, 0, 0, 0)
    except RegionError as error:
        raise type(error)(f"boxes[{i}]: {error}") from error
    left, right = np.clip([x * width, (x + w) * width], 0, width)
    top, bottom = np.clip([y * height, (y + h) * height], 0, height)
    return [float(left), float(top), float(right), float(bottom)]
