"""What papers report, to print beside our own figures where the protocol is the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alphaclip.catalog.released import BASELINES, RELEASED
from alphaclip.training.evaluation.outcomes import Outcome

PAPER = "Alpha-CLIP, arXiv 2312.03818"
ZOO = "Alpha-CLIP's model zoo"


@dataclass(frozen=True)
class Published:
    """A published figure.

    Attributes:
        task: as in :class:`~alphaclip.training.evaluation.tasks.Task`
        set: as in outcomes
        metric: as in outcomes, in percent unless it is a caption score
        value: as printed
        system: what it is of, as the source writes it
        source: paper and table
        encoder: the same system here; empty where it is none of ours
        setting: the same setting here, or its end where what comes before makes no difference;
            None where nothing of it does
    """

    task: str
    set: str
    metric: str
    value: float
    system: str
    source: str
    encoder: str = ""
    setting: str | None = None

    def is_beside(self, outcome: Outcome) -> bool:
        """Whether an outcome is of the same system in the same protocol on the whole set."""
        return (
            (self.task, self.set) == (outcome.task, outcome.set)
            and bool(self.encoder)
            and self.encoder == " ".join(outcome.encoder.split())
            and outcome.setting.endswith(self.setting or "")
            and outcome.settings.get("limit") is None
        )


def find_published(outcome: Outcome, metric: str) -> Published | None:
    """The published figure of an outcome's own system in the same protocol, if there is one."""
    fitting = (
        figure for figure in PUBLISHED if figure.metric == metric and figure.is_beside(outcome)
    )
    return next(fitting, None)


def published_on(task: str, set_name: str) -> list[Published]:
    """Every published figure of a task on a set, in the order of the sources."""
    return [figure for figure in PUBLISHED if (figure.task, figure.set) == (task, set_name)]


def _openclip(architecture: str, method: str = "") -> str:
    return f"openclip:{architecture}/openai{method}"


_B16, _L14, _L14_336 = BASELINES


def _imagenet_s() -> Iterator[Published]:
    """Model zoo; tables 2, 3 and 10 of the paper; OVO for what is beyond it."""
    mask, box, ones = (f"{alpha} alpha, {_NAMES}" for alpha in ("mask", "box", "ones"))
    for architecture, base in BASELINES.items():
        source = f"{PAPER}, table 2" if architecture != _L14_336 else ZOO
        encoder = _openclip(architecture)
        yield from _top(base.imagenet_s, f"CLIP {base.label}", source, encoder, _NAMES)
    for released in RELEASED:
        system = f"Alpha-CLIP {released.baseline.label}, {released.data}"
        yield from _top(released.imagenet_s, system, ZOO, released.name, mask)
    for system, method, figures in _BASELINES_S:
        for architecture, pair in zip((_B16, _L14), figures, strict=True):
            encoder = _openclip(architecture, method) if method else ""
            label = f"{system} {BASELINES[architecture].label}"
            table = 10 if "relative" in system else 2
            setting = mask if method == "+maskattn" else _NAMES
            yield from _top(pair, label, f"{PAPER}, table {table}", encoder, setting)
    for setting, pair in ((ones, (73.37, 91.75)), (box, (75.62, 93.34))):
        system = f"Alpha-CLIP ViT-L/14, {setting.partition(',')[0]}"
        source = f"{PAPER}, table 3"
        yield from _top(pair, system, source, "alphaclip-vit-l14-grit20m", setting)
    for system, pair in _OVO:
        yield from _top(pair, system, "OVO, as an independent check")


_NAMES = "paper names"
_BASELINES_S = (
    ("MaskAdaptedCLIP", "", ((57.86, 79.12), (63.50, 86.34))),
    ("Red Circle", "+circle", ((65.37, 88.68), (73.37, 92.09))),
    ("MaskCLIP*", "+maskattn", ((67.86, 89.40), (77.04, 93.39))),
    ("MaskCLIP, relative mask attention", "", ((53.61, 76.47), (65.28, 87.25))),
)
_OVO = (
    ("Alpha-CLIP L/14@336", (77.6, 94.1)),
    ("SigLIP-SO400M, whole picture", (82.5, 95.7)),
    ("SigLIP-SO400M, masked crop", (80.3, 93.4)),
    ("OVO's learned merge", (84.8, 96.6)),
)


def _top(
    pair: tuple[float, float],
    system: str,
    source: str,
    encoder: str = "",
    setting: str | None = None,
) -> Iterator[Published]:
    for metric, value in zip(("top-1", "top-5"), pair, strict=True):
        yield Published(
            "imagenet-s", "imagenet-s-919", metric, value, system, source, encoder, setting
        )


def _coco() -> Iterator[Published]:
    """Table 11 of the paper; the model zoo's "COCO crop" is the masked setting, B/16 two above."""
    crop, masked = "1.5x crop, mask alpha", "1.5x crop, masked, mask alpha"
    source = f"{PAPER}, table 11"
    for system, encoders, with_crop, with_mask in _TABLE_11:
        for number, encoder in enumerate(encoders):
            label = f"{system} {('ViT-B/16', 'ViT-L/14')[number]}"
            for setting, values in ((crop, with_crop), (masked, with_mask)):
                yield _object(values[number], label, source, encoder, setting)
    for encoder, value in (("b16", 55.39), ("l14", 58.83)):
        name = f"alphaclip-vit-{encoder}-grit1m-mim"
        yield _object(value, f"{name}, COCO crop", ZOO, "", masked)


def _object(value: float, system: str, source: str, encoder: str, setting: str) -> Published:
    return Published("regions", "coco-val2017", "top-1", value, system, source, encoder, setting)


_TABLE_11 = (
    ("CLIP", (_openclip(_B16), _openclip(_L14)), (64.21, 67.65), (49.42, 54.43)),
    (
        "Alpha-CLIP, GRIT-1M",
        ("alphaclip-vit-b16-grit1m", "alphaclip-vit-l14-grit1m"),
        (61.57, 67.44),
        (49.27, 56.45),
    ),
    (
        "Alpha-CLIP, GRIT-1M and MaskImageNet",
        ("alphaclip-vit-b16-grit1m-mim", "alphaclip-vit-l14-grit1m-mim"),
        (71.08, 77.56),
        (53.39, 58.84),
    ),
)

_SPLITS = (
    "refcoco-val", "refcoco-testA", "refcoco-testB", "refcoco+-val", "refcoco+-testA",
    "refcoco+-testB", "refcocog-val", "refcocog-test",
)  # fmt: skip
_MASKS = "parse, masks by sam-vit-h"
_FULL_BLUR = f"detector boxes, full+blur, {_MASKS}"


def _both(data: str) -> str:
    return f"alphaclip-vit-b16-{data} & alphaclip-vit-l14-{data}"


_REFERRING = (
    ("CPT", "table 4", "", "", (32.2, 36.1, 30.3, 31.9, 35.2, 28.8, 36.7, 36.5)),
    ("ReCLIP", "table 4", "", "", (45.8, 46.1, 47.1, 47.9, 50.1, 45.1, 59.3, 59.0)),
    ("Red Circle", "table 4", "", "", (49.8, 58.6, 39.9, 55.3, 63.9, 45.4, 59.4, 58.9)),
    ("Alpha-CLIP, GRIT-1M and MaskImageNet", "table 4", _both("grit1m-mim"), _FULL_BLUR,
     (55.7, 61.1, 50.3, 55.6, 62.7, 46.4, 61.2, 62.0)),
    ("Alpha-CLIP, GRIT-1M", "table 12", _both("grit1m"), _FULL_BLUR,
     (56.1, 63.4, 48.9, 55.1, 62.6, 45.1, 60.3, 60.6)),
    ("Alpha-CLIP, GRIT-20M, B", "table 13", _both("grit20m"), _FULL_BLUR,
     (56.8, 63.7, 49.4, 56.2, 63.6, 45.9, 59.9, 61.7)),
    ("Alpha-CLIP, GRIT-20M, B+C", "table 13", _both("grit20m"),
     f"detector boxes, full+blur+crop, {_MASKS}", (57.0, 62.8, 50.6, 57.1, 63.7, 48.0, 64.0, 64.1)),
    ("Alpha-CLIP, GRIT-20M, B+C+G", "table 13", _both("grit20m"),
     f"detector boxes, full+blur+crop+gray, {_MASKS}",
     (57.0, 63.0, 51.0, 56.9, 64.0, 48.5, 63.6, 64.3)),
)  # fmt: skip


def _referring() -> Iterator[Published]:
    """Tables 4, 12 and 13; the means over the eight splits are computed from them."""
    for system, table, encoder, setting, values in _REFERRING:
        mean = round(sum(values) / len(values), 2)
        for split, value in zip((*_SPLITS, "mean of 8 splits"), (*values, mean), strict=True):
            yield Published(
                "referring", split, "accuracy", value, system, f"{PAPER}, {table}", encoder,
                setting or None,
            )  # fmt: skip


_DETECTION = (
    ("Detic, ImageNet 1.2M", 24.6, 32.4),
    ("Detic, MaskImageNet 460k, CLIP", 27.9, 32.5),
    ("Detic, MaskImageNet 460k, Alpha-CLIP", 28.6, 32.9),
)
_CAPTIONS = (
    ("GRIT", "refcocog", 15.2, 71.6),
    ("Kosmos-2", "refcocog", 14.1, 62.3),
    ("GLaMM", "refcocog", 16.2, 105.0),
    ("Alpha-CLIP + LLaVA-1.5-7B", "refcocog", 16.7, 109.2),
    ("GRIT", "visual-genome", 17.1, 142.0),
    ("GPT4RoI", "visual-genome", 17.4, 145.2),
    ("GLaMM", "visual-genome", 18.6, 157.8),
    ("Alpha-CLIP + LLaVA-1.5-7B", "visual-genome", 18.9, 160.3),
)
_LATER_CAPTIONS = (
    ("Osprey", "refcocog", 16.6, 108.3),
    ("RegionGPT", "refcocog", None, 109.9),
    ("RegionGPT", "visual-genome", None, 145.6),
    ("ControlCap", "refcocog", None, 111.4),
    ("ControlCap", "visual-genome", None, 181.9),
    ("DynRefer", "refcocog", None, 115.7),
    ("DynRefer", "visual-genome", None, 190.9),
)
"""By their own papers, with the same scores."""


def _others() -> Iterator[Published]:
    """Detection and captions: systems that are none of ours as a whole."""
    detection, captions = f"{PAPER}, open-vocabulary detection", f"{PAPER}, region captioning"
    for system, novel, everything in _DETECTION:
        yield Published("detection", "lvis-val", "AP novel", novel, system, detection)
        yield Published("detection", "lvis-val", "AP", everything, system, detection)
    for system, name, meteor, cider in _CAPTIONS:
        yield from _captions(name, meteor, cider, system, captions)
    for system, name, later_meteor, cider in _LATER_CAPTIONS:
        yield from _captions(name, later_meteor, cider, system, f"{system}'s paper")


def _captions(
    name: str, meteor: float | None, cider: float, system: str, source: str
) -> Iterator[Published]:
    """Of captions made elsewhere, whose set has the name that is given to it, and of those that are
    made here: of RefCOCOg's validation set alone, as Visual Genome's 5,000 boxes of these figures
    are not told apart here."""
    sets = [("captions", name), *([("describe", "refcocog-val")] if name == "refcocog" else [])]
    for task, own in sets:
        if meteor is not None:
            yield Published(task, own, "METEOR", meteor, system, source)
        yield Published(task, own, "CIDEr", cider, system, source)


PUBLISHED: Sequence[Published] = (*_imagenet_s(), *_coco(), *_referring(), *_others())
"""Section by section, in the order of the sources."""
