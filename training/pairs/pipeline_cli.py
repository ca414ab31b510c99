"""``alphaclip pairs captions``, ``grit`` and ``classes``: the paper's two pipelines."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError
from alphaclip.training.pairs.cli_options import add_writing_options, progress_bar, settings_of
from alphaclip.training.pairs.pipeline_options import (
    FETCHED,
    NONE,
    SAM,
    add_fetching_options,
    add_model_options,
    folder_of,
    open_encoder,
    open_grounder,
    open_sam,
    open_store,
)

if TYPE_CHECKING:
    from alphaclip.training.pairs.format.reports import PairsReport, Tally
    from alphaclip.training.pairs.sources.fetching import PictureStore


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Adds ``captions``, ``grit`` and ``classes``."""
    _add_captions(commands)
    _add_grit(commands)
    _add_classes(commands)


def _add_captions(commands: argparse._SubParsersAction) -> None:
    text = "boxes for the phrases of captions, written in GRIT's format (then: pairs grit)"
    parser = commands.add_parser("captions", help=text, description=text)
    parser.add_argument("table", type=Path, help=".csv, .tsv or .parquet, or img2dataset's shards")
    parser.add_argument("folder", type=Path, help="of the GRIT files; run again to go on")
    parser.add_argument("--place-column", help="of addresses or paths (default: url and the like)")
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
    add_model_options(parser, "auto")
    add_fetching_options(parser)
    parser.set_defaults(run=_captions)


def _captions(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.captions.captions_file import Columns, read_captions
    from alphaclip.training.pairs.captions.grounded_captions import (
        CaptionPipeline,
        ground_captions,
        read_caption_shards,
    )
    from alphaclip.training.pairs.captions.noun_chunks import load_chunker

    chunker, language = load_chunker(args.language)
    if args.table.is_dir() or args.table.suffix == ".tar":
        rows, left_out = read_caption_shards(args.table)
        rows = rows[: args.limit]
    else:
        columns = Columns(args.place_column, args.caption_column)
        rows, left_out = read_captions(args.table, columns, args.limit)
    store = open_store(args, args.table)
    pipeline = CaptionPipeline(store, chunker, open_grounder(args), language)
    with progress_bar("captions") as progress:
        report = ground_captions(rows, pipeline, args.folder, args.per_file, progress)
    for skipped in left_out:
        report.skipped.add(skipped)
    print(f"{args.folder}: {len(report.paths)} files ({report.done_before} were there before)")
    _print_tally(report.skipped)
    return 0


def _add_grit(commands: argparse._SubParsersAction) -> None:
    text = "pairs from GRIT, as published or as `pairs captions` wrote it: SAM's mask of each box"
    parser = commands.add_parser("grit", help=text, description=text)
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
    add_model_options(parser, NONE)
    add_fetching_options(parser)
    parser.set_defaults(run=_grit)


def _grit(args: argparse.Namespace) -> int:
    from alphaclip.training.pairs.format.writing import write_pairs
    from alphaclip.training.pairs.sources.grit import GritMaker, GritSettings, read_phrases
    from alphaclip.training.pairs.sources.grit_rows import open_grit

    settings = GritSettings(args.phrases, args.least_score)
    opened, left_out = open_grit(args.data)
    entries = opened if args.limit is None else opened[: args.limit]
    store = open_store(args, args.pictures or args.data, folder_of(args.data) / FETCHED)
    sam = open_sam(args) if args.masks == "sam" else None
    encoder = open_encoder(args)
    made = {
        "grit": asdict(settings),
        "sam": sam and sam.name,
        "encoder": encoder and encoder.fingerprint,
    }
    wanted = (entry.place for entry in entries if read_phrases(entry.content, settings)[0])
    _fetch(store, (place for place in wanted if "://" in place), len(entries))
    with progress_bar("pictures") as progress:
        report = write_pairs(
            entries,
            GritMaker(store, sam, settings, encoder),
            args.folder,
            replace(settings_of(args), made=made),
            progress,
        )
    return _print_report(report, left_out)


def _add_classes(commands: argparse._SubParsersAction) -> None:
    text = "pairs from pictures with one class each: foregrounds on white, the best of each class"
    parser = commands.add_parser("classes", help=text, description=text)
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
    add_model_options(parser, "auto")
    parser.set_defaults(run=_classes)


def _classes(args: argparse.Namespace) -> int:
    from alphaclip.sam.masks import AUTOMATIC_LIMITS
    from alphaclip.training.pairs.classes.class_crops import CropSettings
    from alphaclip.training.pairs.classes.class_lists import read_classes, read_names
    from alphaclip.training.pairs.classes.class_scores import ClassScorer, ScoreSettings
    from alphaclip.training.pairs.classes.classes import (
        ChoiceSettings,
        ForegroundMaker,
        choose_foregrounds,
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
    _print_tally(scores.skipped)
    chosen = choose_foregrounds(scores.paths, choice, args.masked_share)
    captions = _captions_of(chosen, root, crops, args)
    made = {"choice": asdict(choice), "crops": asdict(crops), "captioner": args.captioner}
    with progress_bar("foregrounds") as progress:
        report = write_pairs(
            chosen,
            ForegroundMaker(root, captions, crops),
            args.folder,
            replace(settings_of(args), made=made),
            progress,
        )
    return _print_report(report, left_out)


def _captions_of(chosen: Any, root: Path, crops: Any, args: argparse.Namespace) -> dict[str, str]:
    from alphaclip.training.pairs.captions.captioners import load_captioner
    from alphaclip.training.pairs.classes.classes import caption_foregrounds
    from alphaclip.training.pairs.format.parts import PartJob

    if args.captioner is None:
        return {}
    settings = {"captioner": args.captioner, "crops": asdict(crops)}
    job = PartJob(args.folder / "captions", "captions", "jsonl", 200, settings)
    captioner = load_captioner(args.captioner, args.device)
    with progress_bar("captions") as progress:
        return caption_foregrounds(chosen, root, captioner, job, crops, progress)


def _fetch(store: PictureStore, places: Iterable[str], total: int) -> None:
    """Fetches what is not there yet, so that the masks need not wait for servers."""
    with progress_bar("fetched") as progress:
        for number, _ in enumerate(store.open_all(places), 1):
            progress(number, total)


def _print_report(report: PairsReport, left_out: Iterable[Any]) -> int:
    from alphaclip.training.pairs.cli_options import print_reports
    from alphaclip.training.pairs.format.reports import Tally

    tally = Tally()
    for skipped in left_out:
        tally.add(skipped)
    _print_tally(tally)
    return print_reports([report])


def _print_tally(tally: Tally) -> None:
    if tally.total:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(tally.counts.items()))
        print(f"left out: {reasons}")
