"""``alphaclip photos``: from a folder of photographs to the App."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.catalog.choices import Choice
from alphaclip.errors import AlphaClipError, MissingWeightsError

if TYPE_CHECKING:
    import fiftyone as fo

KEY, MASKS = "regions", "masks"
"""The index, and the field with the masks of pictures that have no labels."""

Fetch = Callable[[str], object]


def add_photos_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``photos``."""
    photos = subparsers.add_parser(
        "photos", help="from a folder of photographs to the App: segment, embed, search"
    )
    photos.add_argument("folder", type=Path, help="of pictures, or a COCO, VOC, YOLO... dataset")
    photos.add_argument("--name", default="", help="of the dataset, by default the folder's")
    photos.add_argument("--field", help="whose labels are embedded, where there are several")
    photos.add_argument("--encoder", help="a name that `alphaclip models` lists")
    photos.add_argument("--segmenter", help="sam-vit-b, -l or -h, or one of FiftyOne's zoo")
    photos.add_argument("--yes", action="store_true", help="download what is needed, unasked")
    photos.add_argument("--no-app", action="store_true", help="stop before the App")
    photos.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from alphaclip import indexing
    from alphaclip.indexing.cli.demo import open_app
    from alphaclip.indexing.cli.index_cli import print_report
    from alphaclip.indexing.cli.segment_cli import print_masks
    from alphaclip.indexing.dataset.folders import open_folder
    from alphaclip.indexing.dataset.locations import index_keys
    from alphaclip.indexing.masks.segmenting import segment

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    dataset = open_folder(args.folder, args.name)
    print(f"dataset {dataset.name!r}: {dataset.count():,} pictures")
    index = indexing.load(dataset, KEY) if KEY in index_keys(dataset) else None
    # All questions come before the work, which may take a night.
    field = index.field if index else _field(dataset, args.field)
    encoder = _encoder(args) if index is None else ""
    if field == MASKS:
        segmenter = _segmenter(args, dataset)
        # Where one found nothing, another may be tried.
        again = args.segmenter is not None and not _masks(dataset)
        print_masks(segment(dataset, None, MASKS, segmenter, overwrite=again))
        if not _masks(dataset):
            raise AlphaClipError(
                f"{segmenter} finds nothing in these pictures, so there are no regions to search: "
                "name another with --segmenter, such as sam-vit-h"
            )
    if index is None:
        index = indexing.build(dataset, field, encoder, KEY)
        report = index.info()["report"]
    else:
        report = asdict(index.update())
    print(f"index {KEY!r} by {index.info()['encoder']}: ", end="")
    print_report(report)
    if not args.no_app:
        open_app(dataset)
    return 0


def _field(dataset: fo.Dataset, field: str | None) -> str:
    """The labels to embed: those that are there, or the masks that are made."""
    from alphaclip.indexing.dataset.labels import check_field, region_fields

    if field is not None:
        check_field(dataset, field)
        return field
    labelled = [one for one in region_fields(dataset) if one != MASKS and dataset.count(one)]
    if len(labelled) > 1:
        raise AlphaClipError(f"several fields have labels, {', '.join(labelled)}: say --field")
    return labelled[0] if labelled else MASKS


def _masks(dataset: fo.Dataset) -> int:
    return int(dataset.count(f"{MASKS}.detections")) if dataset.has_sample_field(MASKS) else 0


def _encoder(args: argparse.Namespace) -> str:
    from alphaclip.catalog import zoo
    from alphaclip.catalog.choices import download_encoder, encoder_choices
    from alphaclip.encoder.auto import offer_for_here

    choices = encoder_choices()
    if args.encoder is None and choices[0].name != zoo.NANO:
        return choices[0].name
    offered = [one for one in choices if one.bytes]
    if args.encoder is None:
        first = zoo.cached_name(offer_for_here().model)
        offered.sort(key=lambda one: one.name != first)
    try:
        chosen = _chosen("encoder", args.encoder, offered, args.yes, download_encoder)
    except MissingWeightsError as error:
        raise MissingWeightsError(f"{error}. What works now is --encoder {zoo.NANO}") from error
    if not chosen:
        print(zoo.NANO_WARNING)
    return chosen or zoo.NANO


def _segmenter(args: argparse.Namespace, dataset: fo.Dataset) -> str:
    from alphaclip.indexing.masks.segmenters import segmenter_choices
    from alphaclip.sam.checkpoints import install_sam

    if args.segmenter is None and dataset.has_sample_field(MASKS):  # made before, by this one
        return str(dataset.get_field(MASKS).info["alphaclip"]["model"])
    choices = segmenter_choices()
    if args.segmenter is None and choices[0].installed:
        return choices[0].name
    offered = [one for one in choices if one.bytes]
    chosen = _chosen("segmenter", args.segmenter, offered, args.yes, install_sam)
    if not chosen:
        raise MissingWeightsError("without a segmenter there are no regions to search")
    return chosen


def _chosen(
    kind: str, name: str | None, offered: Sequence[Choice], is_agreed: bool, fetch: Fetch
) -> str:
    """The model to take, downloaded where a user agrees; empty where one was declined."""
    options = [one for one in offered if name in (None, one.name, one.name.partition("+")[0])]
    if name is not None and not options:
        return name  # is here, or what loads it says why not
    if not is_agreed:
        said = "".join(f"\n  {n}  {_described(one)}" for n, one in enumerate(options, 1))
        print(f"No {kind} for photographs is here. These can be downloaded:{said}")
        if not sys.stdin.isatty():
            raise MissingWeightsError(
                f"no {kind} is here, and nobody can be asked: say --yes to download "
                f"{options[0].name}, or --{kind} NAME"
            )
        answer = input(f"Which one [1 to {len(options)}, nothing for none]? ").strip()
        if not answer.isdigit() or not 0 < int(answer) <= len(options):
            return ""
        options = options[int(answer) - 1 :]
    fetch(options[0].name)
    return options[0].name


def _described(one: Choice) -> str:
    use = {True: "commercial use is allowed", False: "no commercial use", None: "see its licence"}
    return f"{one.name} ({one.bytes / 1e9:.1f} GB, {one.licence}: {use[one.commercial]})"
