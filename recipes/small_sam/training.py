"""Trains the small SAM that the tests use, on drawn shapes whose masks are known.

    python -m recipes.small_sam.training tests/sam_vit_nano.safetensors [--steps N]

A few minutes on a quiet CPU; what it draws depends on the seed alone. Stopped, it goes on from the
weights that it saved last (not from the optimizer's state, so the result is another one, as good).
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, interpolate, pad
from torch.utils.data import DataLoader, Dataset

from alphaclip.sam.networks import build_sam, read_sam
from alphaclip.sam.sam import SamModel, masks_for_boxes
from alphaclip.weights.checkpoints import read_metadata, write_checkpoint
from recipes.small_sam.scenes import ShapeScene, draw_scene

logger = logging.getLogger(__name__)

SEED = 7
PICTURES = 8
"""Of a step."""

BACKGROUND_POINTS = 2
"""Of a picture, where nothing is: their masks are no good, which the predicted IoU has to say."""

PEAK, WARM_UP = 1.5e-3, 100
"""Highest rate, and the steps in which it rises; anew after a stop, as AdamW starts anew."""

SAVE_EVERY = 100
SHARPNESS = 4.0
"""The loss sees logits divided by this, which makes them steeper: the pictures are small, and SAM's
measure of stability moves the threshold by a fixed step."""

HELD_OUT = 10**6
"""Training's seeds are ``[SEED, step, number]``; tests and validation begin here."""


def main() -> None:
    """Trains, says what held-out scenes give, and writes float16 weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(SEED)
    model, first = resume(arguments.out)
    train(model.train(), first, arguments.steps, arguments.out)
    logger.info("mean IoU of box prompts, held-out: %.3f", held_out_overlap(model.eval(), 100))


def resume(out: Path) -> tuple[nn.Module, int]:
    """The model as it was saved last, and how many steps it has had; else a random one, and 0."""
    if not out.exists():
        return build_sam("vit_nano"), 0
    return read_sam(out)[1], int(read_metadata(out)["steps"])


def train(model: nn.Module, first: int, steps: int, out: Path) -> None:
    """Minimises cross-entropy, Dice and the error of the predicted IoU; saves now and then."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=0.02)
    batches = DataLoader(_Batches(first, steps), batch_size=None, shuffle=False, num_workers=1)
    started = time.monotonic()
    for step, batch in enumerate(batches, start=first):
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, steps) * min(1.0, (step - first + 1) / WARM_UP)
        loss, overlap = batch_loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            logger.info(
                "step %d loss %.3f IoU %.3f, %.0f s",
                step, loss.item(), overlap, time.monotonic() - started,
            )  # fmt: skip
        if step % SAVE_EVERY == SAVE_EVERY - 1 or step == steps - 1:
            save(model, out, step + 1)


class _Batches(Dataset):
    """Batches of scenes with at least one object, and the chance to go on with."""

    def __init__(self, first: int, steps: int) -> None:
        self.first, self.steps = first, steps

    def __len__(self) -> int:
        return self.steps - self.first

    def __getitem__(self, index: int) -> list[tuple[ShapeScene, np.random.Generator]]:
        step = self.first + index
        chances = [np.random.default_rng([SEED, step, number]) for number in range(PICTURES)]
        drawn = [(draw_scene(chance), chance) for chance in chances]
        return [(scene, chance) for scene, chance in drawn if scene.shapes]


def batch_loss(
    model: Any, batch: list[tuple[ShapeScene, np.random.Generator]]
) -> tuple[Tensor, float]:
    """The loss of some scenes, and the mean IoU of their box prompts."""
    frames = [_frame(model, scene) for scene, _ in batch]
    pictures = torch.stack([model.preprocess(picture) for picture, _ in frames])
    embeddings = model.image_encoder(pictures)
    losses, overlaps = [], []
    for embedding, (_, masks), (_, rng) in zip(embeddings, frames, batch, strict=True):
        loss, overlap = _picture_loss(model, embedding, masks, rng)
        losses.append(loss)
        overlaps.append(overlap)
    return torch.stack(losses).mean(), float(np.mean(overlaps))


def save(model: nn.Module, out: Path, steps: int) -> None:
    """Writes the weights as float16, with what they are."""
    tensors = {name: value.detach().half() for name, value in model.state_dict().items()}
    metadata = {
        "name": "sam-vit-nano",
        "architecture": "vit_nano",
        "licence": "Apache-2.0",
        "steps": str(steps),
        "trained_on": f"{steps * PICTURES} drawn shape scenes, seed {SEED}; for tests only",
    }
    write_checkpoint(tensors, out, metadata)


def held_out_overlap(model: nn.Module, scenes: int) -> float:
    """Mean IoU of the masks that the true boxes give, over all shapes of some scenes."""
    sam, overlaps = SamModel("small", model), []
    for number in range(scenes):
        scene = draw_scene(np.random.default_rng(HELD_OUT + number))
        predicted = masks_for_boxes(sam, scene.image, [shape.box for shape in scene.shapes])
        for mask, shape in zip(predicted, scene.shapes, strict=True):
            full, truth = mask.full(*scene.image.shape[:2]), shape.mask
            overlaps.append((full & truth).sum() / (full | truth).sum())
    return float(np.mean(overlaps))


def _rate(step: int, steps: int) -> float:
    return PEAK * 0.5 * (1 + np.cos(np.pi * step / steps))


def _frame(model: Any, scene: ShapeScene) -> tuple[Tensor, Tensor]:
    """A scene as the model takes it, (3, h, w), and its masks, (n, side, side) in [0, 1]."""
    side = model.image_encoder.img_size
    height, width = scene.image.shape[:2]
    scale = side / max(height, width)
    size = (round(height * scale), round(width * scale))
    picture = torch.from_numpy(scene.image).permute(2, 0, 1)[None].float()
    masks = torch.from_numpy(np.stack([shape.mask for shape in scene.shapes]))[None].float()
    picture = interpolate(picture, size, mode="bilinear", antialias=True)[0]
    masks = interpolate(masks, size, mode="bilinear", antialias=True)[0]
    return picture, pad(masks, (0, side - size[1], 0, side - size[0]))


def _picture_loss(
    model: Any, embedding: Tensor, masks: Tensor, rng: np.random.Generator
) -> tuple[Tensor, float]:
    boxes = torch.stack([_box(mask, rng) for mask in masks])
    inside = torch.stack([_point(mask > 0.5, rng) for mask in masks])
    nothing = masks.amax(dim=0) < 0.02
    outside = torch.stack([_point(nothing, rng) for _ in range(BACKGROUND_POINTS)])
    sparse, dense = _prompts(model, boxes, torch.cat([inside, outside]))
    logits, quality = model.mask_decoder.predict_masks(
        image_embeddings=embedding[None],
        image_pe=model.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )
    objects = 2 * len(masks)
    predicted = logits[:objects] / SHARPNESS
    scale = masks.shape[-1] // predicted.shape[-1]
    target = avg_pool2d(masks[:, None], scale).repeat(2, 1, 1, 1).expand_as(predicted)
    truth = torch.zeros_like(quality)
    truth[:objects] = _overlap(predicted.detach() > 0, target > 0.5)
    loss = _mask_loss(predicted, target) + 2 * (quality - truth).square().mean()
    return loss, truth[: len(masks), 0].mean().item()


def _prompts(model: Any, boxes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    labels = torch.ones(len(points), 1)
    encode = model.prompt_encoder
    boxed, dense = encode(points=None, boxes=boxes, masks=None)
    pointed, more = encode(points=(points[:, None], labels), boxes=None, masks=None)
    return torch.cat([boxed, pointed]), torch.cat([dense, more])


def _mask_loss(predicted: Tensor, target: Tensor) -> Tensor:
    cross_entropy = binary_cross_entropy_with_logits(predicted, target, reduction="none")
    chance = predicted.sigmoid()
    shared = (chance * target).sum(dim=(2, 3))
    dice = 1 - (2 * shared + 1) / (chance.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)
    return 5 * cross_entropy.mean() + dice.mean()


def _overlap(predicted: Tensor, truth: Tensor) -> Tensor:
    shared = (predicted & truth).sum(dim=(2, 3))
    return shared / (predicted | truth).sum(dim=(2, 3)).clamp(min=1)


def _box(mask: Tensor, rng: np.random.Generator) -> Tensor:
    rows, columns = torch.nonzero(mask > 0.5, as_tuple=True)
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
    sides = np.tile(box[2:] - box[:2], 2)
    return torch.from_numpy(box + rng.normal(0, 0.02, 4) * sides).float()


def _point(mask: Tensor, rng: np.random.Generator) -> Tensor:
    pixels = torch.nonzero(mask)
    row, column = pixels[int(rng.integers(len(pixels)))].tolist() if len(pixels) else (0, 0)
    return torch.tensor([column + 0.5, row + 0.5])


if __name__ == "__main__":
    main()
