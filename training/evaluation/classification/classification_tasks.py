"""The tasks ``imagenet-s`` and ``regions`` of ``alphaclip eval``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from alphaclip.encoder.prompts import PHOTO
from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.evaluation.classification.class_names import imagenet_names
from alphaclip.training.evaluation.classification.classification import classify
from alphaclip.training.evaluation.classification.protocols import (
    ALPHAS,
    SHOWS,
    Protocol,
    imagenet_s_protocol,
    region_protocol,
)
from alphaclip.training.evaluation.outcomes import Means, Outcome
from alphaclip.training.evaluation.task_options import (
    add_dataset_options,
    data_folder,
    read_dataset,
)
from alphaclip.training.evaluation.tasks import Task


@dataclass(frozen=True)
class Entry:
    """A set in a setting.

    Attributes:
        task: the task's name
        regions: the set
        protocol: the setting
        words: what the classes are called; None as they are
    """

    task: str
    regions: RegionSet
    protocol: Protocol
    words: Sequence[str] | None = None


def _run(encoder: str, entry: Entry, means: Means) -> Outcome:
    return classify(encoder, entry.regions, entry.protocol, entry.words, means, entry.task)


def _regions(entry: Entry) -> RegionSet:
    return entry.regions


def _add_imagenet_s(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--classes",
        type=int,
        choices=(50, 300, 919),
        default=919,
        help="which ImageNet-S (default: %(default)s)",
    )
    parser.add_argument(
        "--alpha",
        nargs="+",
        choices=ALPHAS,
        default=["mask"],
        help="what the alpha map shows: the mask, the box round it, or all ones (default: mask)",
    )
    parser.add_argument(
        "--names",
        nargs="+",
        choices=("paper", "openai"),
        default=["paper"],
        help="the paper's class names and template, or CLIP's names and 80 templates",
    )


def _load_imagenet_s(args: argparse.Namespace) -> list[Entry]:
    from alphaclip.training.datasets.imagenet_s import read_imagenet_s_folder, read_imagenet_s_json

    data = data_folder(args, "ImageNet-S")
    if args.classes == 919 and (data / "imagenet_919.json").is_file():
        regions = read_imagenet_s_json(data, args.limit)
    else:
        regions = read_imagenet_s_folder(data, args.classes, limit=args.limit)
    return [
        Entry(
            "imagenet-s",
            regions,
            imagenet_s_protocol(alpha, names),
            imagenet_names(regions.classes, names),
        )
        for names in args.names
        for alpha in args.alpha
    ]


def _add_regions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("coco", "lvis"), default="coco", help="of the folder given as --data"
    )
    parser.add_argument("--split", help="of it (default: val2017 of COCO, val of LVIS)")
    add_dataset_options(parser)
    parser.add_argument(
        "--truth",
        default="label",
        metavar="ATTRIBUTE",
        help="attribute of its labels with the right class; those without it stand by their label",
    )
    _add_protocol(parser)


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--show",
        nargs="+",
        choices=SHOWS,
        help="the encoder's own view (default for a FiftyOne dataset), the whole picture, a 1.5x "
        "crop (default for COCO and LVIS), or that crop masked",
    )
    parser.add_argument(
        "--alpha",
        nargs="+",
        choices=ALPHAS,
        default=["mask"],
        help="what the alpha map shows, unless the view is the encoder's own (default: mask)",
    )
    parser.add_argument(
        "--template",
        nargs="+",
        default=list(PHOTO),
        metavar="TEXT",
        help="what the class names are put into, at {}; several are averaged "
        "(default: a photo of a {}.)",
    )
    parser.add_argument("--no-crowd", action="store_true", help="leave out groups of objects")


def _load_regions(args: argparse.Namespace) -> list[Entry]:
    regions = _read_regions(args)
    shows = args.show or (["own"] if args.dataset else ["crop"])
    protocols = [
        region_protocol(show, alpha, not args.no_crowd, tuple(args.template))
        for show in shows
        for alpha in (args.alpha[:1] if show == "own" else args.alpha)
    ]
    return [Entry("regions", regions, protocol) for protocol in protocols]


def _read_regions(args: argparse.Namespace) -> RegionSet:
    from alphaclip.training.datasets.coco import read_coco
    from alphaclip.training.datasets.lvis import read_lvis

    if args.dataset is not None:
        return read_dataset(args, truth=args.truth)
    data = data_folder(args, args.format.upper())
    if args.format == "lvis":
        return read_lvis(data, args.split or "val", limit=args.limit)
    return read_coco(data, args.split or "val2017", limit=args.limit)


IMAGENET_S = Task(
    name="imagenet-s",
    help="name the object of each picture of ImageNet-S",
    add_arguments=_add_imagenet_s,
    load=_load_imagenet_s,
    run=_run,
    regions=_regions,
)

REGIONS = Task(
    name="regions",
    help="name the regions of COCO, LVIS or a FiftyOne dataset",
    add_arguments=_add_regions,
    load=_load_regions,
    run=_run,
    regions=_regions,
)
