"""``alphaclip pairs``: makes sets of region-text pairs, checks them and shows them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs.cli_options import (
    NONE,
    SAM,
    add_command,
    add_models,
    add_writing_options,
    count,
    folder_of,
    open_encoder,
    open_grounder,
    open_sam,
    print_left_out,
    print_reports,
    progress_bar,
    settings_of,
)
from alphaclip.training.pairs.format.texts import PLAIN

if TYPE_CHECKING:
    from alphaclip.training.pairs.classes.foregrounds import CropSettings, Foreground
    from alphaclip.training.pairs.sources.importers import ImportedSet


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``pairs``; its own commands are made when it is used."""
    pairs = subparsers.add_parser("pairs", help="make region-text pairs for training, check them")
    pairs.add_later(add_commands)


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Adds the commands of ``alphaclip pairs``."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_dataset(commands)
    _add_published(
        commands, "coco", "pairs from COCO's objects and their classes", _coco, "train2017"
    )
    _add_published(
        commands, "refcoco", "pairs from RefCOCO, RefCOCO+ or RefCOCOg", _refcoco, "train"
    )
    _add_published(
        commands,
        "visual-genome",
        "pairs from Visual Genome's region descriptions",
        _visual_genome,
    )
    _add_captions(commands)
    _add_grit(commands)
    _add_classes(commands)
    _add_check(commands)
    _add_show(commands)


def _add_dataset(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands, "dataset", "pairs from a field of a FiftyOne dataset, split by picture", _dataset
    )
    parser.add_argument("dataset", help="name of a FiftyOne dataset")
    parser.add_argument("field", help="a field of Detections, Detection, Polylines or Polyline")
    add_writing_options(parser)
    parser.add_argument(
        "--text",
        nargs="+",
        default=["label"],
        metavar="ATTRIBUTE",
        help="attributes of a label that hold its texts (default: label)",
    )
    _add_templates(parser)
    parser.add_argument("--caption-field", help="of the samples: the caption of the whole picture")
    parser.add_argument("--tag", nargs="+", help="take samples with one of these tags only")
    parser.add_argument(
        "--only-reviewed",
        metavar="NAME",
        help="take labels only that have this tag, or this attribute set to what is true",
    )
    parser.add_argument(
        "--reviews",
        metavar="INTO",
        help="take regions only that people reviewed after `alphaclip label`, and as texts what "
        "they said: the field or attribute that was labelled into, such as auto",
    )
    parser.add_argument(
        "--validation", type=float, default=0.1, help="share of the pictures (default: %(default)s)"
    )


def _dataset(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.sources.fiftyone_pairs import pairs_from_dataset

    with progress_bar("samples") as progress:
        reports = pairs_from_dataset(
            args.dataset,
            args.field,
            args.folder,
            settings_of(args),
            args.text,
            args.caption_field,
            args.tag,
            args.template,
            args.only_reviewed,
            args.validation,
            progress,
            args.reviews,
        )
    return print_reports(reports.values())


def _add_published(
    commands: argparse._SubParsersAction,
    name: str,
    text: str,
    import_set: Callable[[argparse.Namespace], ImportedSet],
    split: str | None = None,
) -> None:
    """Adds the command of a published data set, with the options that it has."""

    def run(args: argparse.Namespace) -> int:
        from alphaclip.training.pairs.sources.importers import write_imported

        imported = import_set(args)
        with progress_bar("pictures") as progress:
            report = write_imported(imported, args.folder, settings_of(args), progress)
        return print_reports([report])

    parser = add_command(commands, name, text, run)
    parser.add_argument("data", type=Path, help="folder of the data set as it is published")
    add_writing_options(parser)
    parser.add_argument("--limit", type=count, help="take the first pictures only")
    if split is not None:
        parser.add_argument("--split", default=split, help="(default: %(default)s)")
        parser.add_argument(
            "--shape",
            choices=("mask", "box"),
            default="mask",
            help="what the regions are (default: %(default)s)",
        )
    if name == "coco":
        _add_templates(parser)
    if name == "refcoco":
        parser.add_argument(
            "--dataset", choices=("refcoco", "refcoco+", "refcocog"), default="refcocog"
        )
        parser.add_argument("--split-by", help="whose split, of refs(*).p (default: the usual one)")
        parser.add_argument(
            "--format",
            choices=("refs", "jsonl"),
            default="refs",
            help="refs(*).p as refer has them, or ReCLIP's jsonl, which has boxes only",
        )


def _coco(args: argparse.Namespace) -> ImportedSet:
    from alphaclip.training.pairs.sources.importers import import_coco

    return import_coco(args.data, args.split, args.shape, args.limit, args.template)


def _refcoco(args: argparse.Namespace) -> ImportedSet:
    from alphaclip.training.pairs.sources.importers import import_reclip, import_refcoco

    if args.format == "jsonl":
        return import_reclip(args.data, args.dataset, args.split, args.limit)
    return import_refcoco(
        args.data, args.dataset, args.split, args.split_by, args.shape, args.limit
    )


def _visual_genome(args: argparse.Namespace) -> ImportedSet:
    from alphaclip.training.pairs.sources.importers import import_visual_genome

    return import_visual_genome(args.data, args.limit)


def _add_templates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--template",
        nargs="+",
        default=list(PLAIN),
        metavar="TEXT",
        help="what class names are put into, at {}; a region has a text of each "
        '(default: "{}" and "a {}")',
    )


def _add_captions(commands: argparse._SubParsersAction) -> None:
    text = "boxes for the phrases of captions, written in GRIT's format (then: pairs grit)"
    parser = add_command(commands, "captions", text, _captions)
    parser.add_argument("table", type=Path, help="img2dataset's shards, or .csv, .tsv or .parquet")
    parser.add_argument("folder", type=Path, help="of the GRIT files; run again to go on")
    parser.add_argument("--place-column", help="of paths (default: path, file and the like)")
    parser.add_argument("--caption-column", help="(default: caption, text and the like)")
    parser.add_argument("--limit", type=int, help="take the first rows only")
    parser.add_argument("--per-file", type=int, default=1000, help="rows of a file")
    parser.add_argument("--language", default="en_core_web_sm", help="spaCy's model for phrases")
    parser.add_argument(
        "--grounder",
        default=SAM,
        help="what finds the phrases: sam (SAM's masks matched by the encoder), a zero-shot "
        "detector of transformers by name or folder, or zoo:NAME of FiftyOne's zoo "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--least-score", type=float, help="of a box: a detector's score, or the encoder's cosine"
    )
    add_models(parser, "auto")


def _captions(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.captions.captions_file import Columns, read_captions
    from alphaclip.training.pairs.captions.grounded_captions import (
        CaptionPipeline,
        ground_captions,
        read_caption_shards,
    )
    from alphaclip.training.pairs.captions.noun_chunks import load_chunker
    from alphaclip.training.pairs.sources.img2dataset import PictureFolder

    if args.table.is_dir() or args.table.suffix == ".tar":
        rows, left_out = read_caption_shards(args.table)
        rows = rows[: args.limit]
    else:
        columns = Columns(args.place_column, args.caption_column)
        rows, left_out = read_captions(args.table, columns, args.limit)
    chunker, language = load_chunker(args.language)
    pictures = PictureFolder(folder_of(args.table))
    pipeline = CaptionPipeline(pictures, chunker, open_grounder(args), language)
    with progress_bar("captions") as progress:
        report = ground_captions(rows, pipeline, args.folder, args.per_file, progress)
    for skipped in left_out:
        report.skipped.add(skipped)
    print(f"{args.folder}: {len(report.paths)} files ({report.done_before} were there before)")
    if report.skipped.total:
        print(f"left out: {report.skipped}")
    return 0


def _add_grit(commands: argparse._SubParsersAction) -> None:
    text = "pairs from GRIT, as published or as `pairs captions` wrote it: SAM's mask of each box"
    parser = add_command(commands, "grit", text, _grit)
    parser.add_argument("data", type=Path, help="a .parquet, a .tar, or a folder of either")
    add_writing_options(parser)
    parser.add_argument(
        "--pictures",
        type=Path,
        help="folder that paths of pictures are in, as the table's was (default: that of the data)",
    )
    parser.add_argument("--phrases", choices=("both", "expressions", "chunks"), default="both")
    parser.add_argument(
        "--least-score", type=float, default=0.0, help="of a box (GRIT has none below 0.65)"
    )
    parser.add_argument("--masks", choices=("sam", "box"), default="sam")
    parser.add_argument("--limit", type=int, help="take the first rows only")
    add_models(parser, NONE)


def _grit(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.format.writing import write_pairs
    from alphaclip.training.pairs.sources.grit import GritMaker, GritSettings
    from alphaclip.training.pairs.sources.grit_rows import open_grit
    from alphaclip.training.pairs.sources.img2dataset import PictureFolder

    settings = GritSettings(args.phrases, args.least_score)
    entries, left_out = open_grit(args.data)
    sam = open_sam(args) if args.masks == "sam" else None
    encoder = open_encoder(args)
    made = {
        "grit": asdict(settings),
        "sam": sam and sam.name,
        "encoder": encoder and encoder.fingerprint,
    }
    maker = GritMaker(PictureFolder(args.pictures or folder_of(args.data)), sam, settings, encoder)
    with progress_bar("pictures") as progress:
        report = write_pairs(
            entries if args.limit is None else entries[: args.limit],
            maker,
            args.folder,
            replace(settings_of(args), made=made),
            progress,
        )
    print_left_out(left_out)
    return print_reports([report])


def _add_classes(commands: argparse._SubParsersAction) -> None:
    text = "pairs from pictures with one class each: foregrounds on white, the best of each class"
    parser = add_command(commands, "classes", text, _classes)
    parser.add_argument(
        "data", type=Path, help="a folder of a folder for each class, or a .csv of path and class"
    )
    add_writing_options(parser)
    parser.add_argument("--names", type=Path, help="JSON: words for classes that are no words")
    parser.add_argument("--class-column", help="of a table (default: class, label or category)")
    parser.add_argument("--per-class", type=int, default=500, help="foregrounds kept of a class")
    parser.add_argument("--per-picture", type=int, default=1, help="and of a picture")
    parser.add_argument("--least-class-score", type=float, default=0.15, help="a cosine")
    parser.add_argument(
        "--masked-share",
        type=float,
        default=0.5,
        help="of the crops, whose background becomes white (default: %(default)s)",
    )
    parser.add_argument("--points", type=int, default=16, help="of SAM's grid, along a side")
    parser.add_argument("--least-mask-quality", type=float, help="of a mask; default: SAM's own")
    parser.add_argument("--least-stability", type=float, help="of a mask; default: SAM's own")
    parser.add_argument(
        "--captioner",
        help="an image-to-text model of transformers, by name or folder, such as "
        "Salesforce/blip-image-captioning-base; without one, texts are the classes",
    )
    add_models(parser, "auto")


def _classes(args: argparse.Namespace) -> int:
    from alphaclip.sam.masks import AUTOMATIC_LIMITS
    from alphaclip.training.pairs.classes.foregrounds import (
        ChoiceSettings,
        CropSettings,
        ForegroundMaker,
        choose_foregrounds,
    )
    from alphaclip.training.pairs.classes.scores import (
        ClassScorer,
        ScoreSettings,
        read_classes,
        read_names,
    )
    from alphaclip.training.pairs.format.writing import write_pairs

    crops = CropSettings(masked_share=args.masked_share)
    choice = ChoiceSettings(args.per_class, args.per_picture, args.least_class_score, args.seed)
    names = read_names(args.names) if args.names else None
    root, pictures, left_out = read_classes(args.data, names, args.class_column)
    encoder = open_encoder(args)
    if encoder is None:
        raise AlphaClipError("foregrounds are chosen by an encoder: leave --encoder none out")
    least = {"min_quality": args.least_mask_quality, "min_stability": args.least_stability}
    stated = {name: value for name, value in least.items() if value is not None}
    limits = replace(AUTOMATIC_LIMITS, **stated)
    scoring = ScoreSettings(args.points, limits, crops=crops)
    scorer = ClassScorer(root, open_sam(args), encoder, scoring)
    with progress_bar("pictures") as progress:
        scores = scorer.score_all(pictures, args.folder / "scores", progress=progress)
    if scores.skipped.total:
        print(f"left out: {scores.skipped}")
    chosen = choose_foregrounds(scores.paths, choice, args.masked_share)
    captions = _captions_of(chosen, root, crops, args) if args.captioner is not None else {}
    made = {"choice": asdict(choice), "crops": asdict(crops), "captioner": args.captioner}
    with progress_bar("foregrounds") as progress:
        report = write_pairs(
            chosen,
            ForegroundMaker(root, captions, crops),
            args.folder,
            replace(settings_of(args), made=made),
            progress,
        )
    print_left_out(left_out)
    return print_reports([report])


def _captions_of(
    chosen: Sequence[Foreground], root: Path, crops: CropSettings, args: argparse.Namespace
) -> dict[str, str]:
    from alphaclip import language
    from alphaclip.training.pairs.classes.foregrounds import caption_foregrounds
    from alphaclip.training.pairs.format.jobs import PartJob

    settings = {"captioner": args.captioner, "crops": asdict(crops)}
    # Small parts: a caption takes a second on a CPU, and a stop loses the part in work.
    job = PartJob(args.folder / "captions", "captions", "jsonl", 200, settings)
    captioner = language.load(args.captioner, shown="crop", device=args.device)
    with progress_bar("captions") as progress:
        return caption_foregrounds(chosen, root, captioner, job, crops, progress)


def _add_check(commands: argparse._SubParsersAction) -> None:
    text = "verify every shard and every member of sets; exit status 1 if anything is wrong"
    parser = add_command(commands, "check", text, _check)
    parser.add_argument("folders", nargs="+", type=Path, help="of the sets")


def _check(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.format.checking import check_pairs

    status = 0
    for folder in args.folders:
        with progress_bar("shards") as progress:
            problems = check_pairs(folder, progress)
        for problem in problems:
            print(problem, file=sys.stderr)
        print(f"{folder}: {len(problems) or 'no'} problem(s)")
        status |= bool(problems)
    return status


def _add_show(commands: argparse._SubParsersAction) -> None:
    parser = add_command(commands, "show", "say what sets hold, and some of their pairs", _show)
    parser.add_argument("folders", nargs="+", type=Path, help="of the sets")
    parser.add_argument("--pairs", type=count, default=10, help="drawn to be shown")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--sheet", type=Path, help="write the pairs that are shown as a PNG")


def _show(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.format.contact_sheet import draw_contact_sheet, draw_numbers
    from alphaclip.training.pairs.format.reading import open_pairs

    pairs = open_pairs(*args.folders)
    print(f"{len(pairs)} regions in {pairs.picture_count} pictures")
    drawn = [pairs[number] for number in draw_numbers(len(pairs), args.seed, args.pairs)]
    for pair in drawn:
        print(f"{pair.key}: {' | '.join(pair.texts)}")
    if args.sheet is not None and drawn:
        draw_contact_sheet(drawn, args.sheet)
        print(f"written: {args.sheet}")
    return 0
