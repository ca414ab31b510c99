"""Published figures stand beside ours only where system, set and protocol are the same."""

from __future__ import annotations

import pytest

from alphaclip.catalog.released import RELEASED
from alphaclip.training.evaluation.classification.protocols import (
    imagenet_s_protocol,
    region_protocol,
)
from alphaclip.training.evaluation.outcomes import Outcome
from alphaclip.training.evaluation.report.published import PUBLISHED, find_published, published_on


def outcome(task: str, set_name: str, encoder: str, setting: str, **settings: object) -> Outcome:
    return Outcome(task, set_name, encoder, {}, settings={"setting": setting, **settings})


def value(found: Outcome, metric: str) -> float | None:
    published = find_published(found, metric)
    return None if published is None else published.value


@pytest.mark.parametrize(
    ("encoder", "alpha", "top1", "top5"),
    [
        ("alphaclip-vit-l14-grit20m", "mask", 77.41, 94.45),
        ("alphaclip-vit-l14-grit20m", "box", 75.62, 93.34),
        ("alphaclip-vit-l14-grit20m", "ones", 73.37, 91.75),
        ("alphaclip-vit-b16-grit1m-mim", "mask", 69.40, 90.74),
        ("alphaclip-vit-b16-grit1m-mim", "box", None, None),
        ("openclip:ViT-B-16-quickgelu/openai", "mask", 66.48, 88.90),
        ("openclip:ViT-L-14-336-quickgelu/openai", "ones", 74.29, 91.97),
        ("openclip:ViT-L-14-quickgelu/openai+maskattn", "mask", 77.04, 93.39),
        ("openclip:ViT-L-14-quickgelu/openai+maskattn", "ones", None, None),
        ("openclip:ViT-B-16-quickgelu/openai+circle", "mask", 65.37, 88.68),
        ("openclip:ViT-B-16/openai", "mask", None, None),
        ("alphaclip-nano", "mask", None, None),
    ],
)
def test_find_published__imagenet_s(encoder: str, alpha, top1, top5) -> None:
    setting = imagenet_s_protocol(alpha).setting
    ours = outcome("imagenet-s", "imagenet-s-919", encoder, setting)
    assert (value(ours, "top-1"), value(ours, "top-5")) == (top1, top5)


@pytest.mark.parametrize(
    ("encoder", "show", "top1"),
    [
        ("alphaclip-vit-l14-grit1m-mim", "crop", 77.56),
        ("alphaclip-vit-l14-grit1m-mim", "masked", 58.84),
        ("alphaclip-vit-b16-grit1m", "crop", 61.57),
        ("openclip:ViT-B-16-quickgelu/openai", "crop", 64.21),
        ("openclip:ViT-L-14-quickgelu/openai", "masked", 54.43),
        ("openclip:ViT-L-14-quickgelu/openai", "whole", None),
        ("openclip:ViT-L-14-quickgelu/openai", "own", None),
    ],
)
def test_find_published__coco(encoder: str, show, top1) -> None:
    setting = region_protocol(show).setting
    assert value(outcome("regions", "coco-val2017", encoder, setting), "top-1") == top1


def test_find_published__not_for_a_part_other_names_templates_or_sets() -> None:
    encoder, setting = "alphaclip-vit-l14-grit20m", imagenet_s_protocol("mask").setting
    curated = imagenet_s_protocol("mask", "openai").setting
    for ours in (
        outcome("imagenet-s", "imagenet-s-919", encoder, setting, limit=100),
        outcome("imagenet-s", "imagenet-s-50", encoder, setting),
        outcome("imagenet-s", "imagenet-s-919", encoder, curated),
        outcome("imagenet-s", "imagenet-s-919", "openclip:ViT-B-16-quickgelu/openai", curated),
        outcome("regions", "coco-val2017", "alphaclip-vit-l14-grit1m-mim",
                region_protocol("crop", crowd=False).setting),
        outcome("regions", "coco-val2017", "alphaclip-vit-l14-grit1m-mim",
                region_protocol("crop", templates=("{}",)).setting),
    ):  # fmt: skip
        assert find_published(ours, "top-1") is None


def test_find_published__referring_needs_masks_of_the_boxes() -> None:
    encoder = "alphaclip-vit-b16-grit1m-mim & alphaclip-vit-l14-grit1m-mim"
    setting = "detector boxes, full+blur, parse"
    masks, boxes = f"{setting}, masks by sam-vit-h", f"{setting}, boxes as masks"
    with_masks = outcome("referring", "refcoco+-testB", encoder, masks)
    without = outcome("referring", "refcoco+-testB", encoder, boxes)
    assert value(with_masks, "accuracy") == 46.4
    assert value(without, "accuracy") is None


def test_published__means_of_the_eight_splits() -> None:
    means = [found.value for found in published_on("referring", "mean of 8 splits")]
    assert means[1:] == [50.05, 53.90, 56.88, 56.51, 57.15, 58.41, 58.54]


def test_published__every_released_checkpoint_and_every_figure_has_a_source() -> None:
    encoders = {found.encoder for found in PUBLISHED}
    assert {released.name for released in RELEASED} <= encoders
    assert all(found.source and found.system for found in PUBLISHED)
    keys = [(f.task, f.set, f.metric, f.encoder, f.setting) for f in PUBLISHED if f.encoder]
    assert len(keys) == len(set(keys))
