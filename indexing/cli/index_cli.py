"""``alphaclip index``: what there is, bringing it up to date, split jobs, and clearing up."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.indexing.dataset.samples import open_dataset

if TYPE_CHECKING:
    from alphaclip.indexing.dataset.decisions import Oddity

SCRIPTS = ("slurm", "kubernetes")
ODD: dict[str, Oddity] = {
    "wrong": "label errors",
    "missing": "missing labels",
    "drawn": "badly drawn",
    "doubled": "doubled",
    "outliers": "outliers",
    "duplicates": "duplicates",
}
COUNTS = ("regions", "added", "edited", "kept", "gone", "unreachable")


def add_index_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds ``index`` and what follows it."""
    index = subparsers.add_parser("index", help="look at indexes, bring them up to date, clear up")
    actions = index.add_subparsers(dest="action", required=True, metavar="ACTION")
    command(actions, "list", "the indexes of a dataset", _list)
    about = "what an index holds, how it is searched, and its measured recall"
    info = _of_index(actions, "info", about, _info)
    info.add_argument("--fresh", action="store_true", help="compare with the labels")
    _of_index(actions, "update", "embed what is new or edited, drop what is gone", _update)
    odd = _of_index(actions, "odd", "what is probably wrong with labels, the surest first", _odd)
    odd.add_argument("--kind", choices=ODD, default="wrong", help="what is looked for")
    odd.add_argument("--count", type=int, default=50, help="how many at most")
    odd.add_argument("--attribute", default="label", help="of the labels, that holds the class")
    odd.add_argument("--json", action="store_true", help="print JSON, one object for each region")
    _of_index(actions, "verify", "check every byte of an index", _verify)
    _of_index(actions, "compact", "write the vectors anew, in few files", _compact)
    export = command(
        actions, "export", "copy an index to another backend of FiftyOne's Brain", _export
    )
    export.add_argument("key", help="of the index")
    export.add_argument("backend", help="as FiftyOne calls it: sklearn, lancedb, qdrant, ...")
    export.add_argument("brain_key", help="what the copy is called")
    about = "move what a copy in another engine lacks of its index's newest version"
    sync = command(actions, "sync", about, _sync)
    sync.add_argument("key", help="of the index")
    sync.add_argument("brain_key", help="what the copy is called")
    plan = command(actions, "plan", "write the shards of a build, to be embedded elsewhere", _plan)
    add_build_options(plan)
    plan.add_argument("--workers", type=int, default=1, help="that are to embed it")
    plan.add_argument("--shard-regions", type=int, help="in a shard; by default as workers need")
    embed = _of_plan(actions, "embed", "embed a part of a plan's shards; needs no database", _embed)
    which = embed.add_mutually_exclusive_group()
    which.add_argument("--shard", type=_part, default=(1, 1), help="i/n: the i-th of n parts")
    which.add_argument(
        "--any", action="store_true", help="shard after shard that no other worker embeds"
    )
    embed.add_argument(
        "--with-parent", action="store_true", help="end with the process that started this one"
    )
    _add_map(embed)
    run = _of_plan(actions, "run", "embed a plan's shards by workers side by side", _run)
    run.add_argument("--engine", default="local", help="local or ray")
    run.add_argument("--address", help="of Ray's cluster")
    _add_workers(run)
    _of_plan(actions, "status", "how far a plan's shards are, and which failed", _status)
    script = _of_plan(actions, "script", "print a job that embeds a plan's shards", _script)
    script.add_argument("--engine", required=True, choices=SCRIPTS, help="that runs the job")
    script.add_argument("--image", help="of a container that has alphaclip; for kubernetes")
    script.add_argument("--claim", help="a volume claim that holds plan and pictures")
    _add_workers(script)
    _of_index(actions, "merge", "publish an index whose shards are all embedded", _merge)
    collect = actions.add_parser("gc", help="list stores that no dataset names any more")
    collect.add_argument("--delete", action="store_true", help="delete them")
    collect.set_defaults(run=_gc)


def command(
    actions: Any, name: str, about: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Adds a command on a dataset."""
    parser: argparse.ArgumentParser = actions.add_parser(name, help=about)
    parser.add_argument("dataset", help="name of a FiftyOne dataset")
    parser.set_defaults(run=run)
    return parser


def _of_index(
    actions: Any, name: str, about: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser = command(actions, name, about, run)
    parser.add_argument("key", nargs="?", default="regions", help="of the index")
    return parser


def _of_plan(
    actions: Any, name: str, about: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=about)
    parser.add_argument("folder", type=Path, help="of the plan, as `index plan` prints it")
    parser.set_defaults(run=run)
    return parser


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=2, help="side by side")
    parser.add_argument("--gpus-per-worker", type=float, default=0.0, help="or a share of one")
    _add_map(parser)


def _add_map(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--map",
        type=_mapped,
        action="append",
        default=[],
        metavar="FOLDER=HERE",
        help="where a worker has a folder of pictures: /data=/mnt/data",
    )


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """Adds what says which regions are embedded, and by what."""
    parser.add_argument(
        "field",
        help="a field of Detections, Detection, Polylines or Polyline; of videos, frames.<field>",
    )
    parser.add_argument("--key", default="regions", help="what the index is called")
    parser.add_argument("--encoder", default="auto", help="a name that `alphaclip models` lists")
    parser.add_argument("--overwrite", action="store_true", help="replace an index of this name")
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="only each N-th frame of videos"
    )


def build_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The same as :func:`alphaclip.indexing.build` and ``plan`` take it."""
    said = {name: getattr(args, name) for name in ("field", "key", "overwrite", "every")}
    return {"samples": open_dataset(args.dataset), "encoder": chosen_encoder(args), **said}


def chosen_encoder(args: argparse.Namespace) -> str:
    """The encoder to load; where none was named and none is here, asks before a download."""
    from alphaclip.encoder.auto import ask_for_model

    return ask_for_model() if args.encoder == "auto" else str(args.encoder)


def print_report(report: Mapping[str, Any]) -> None:
    """Says what a build or an update did, and what it skipped.

    Args:
        report: a :class:`MergeReport` as a dict
    """
    counts = [f"{report[name]} {name}" for name in COUNTS if report[name]]
    print(", ".join([*counts, f"{len(report['skipped'])} skipped"]))
    if report.get("stray_rings"):
        print(f"{report['stray_rings']} ring(s) of fewer than three points left out of polygons")
    for skipped in report["skipped"]:
        print(f"skipped {skipped['filepath']} {skipped['label_id']}: {skipped['reason']}")


def _list(args: argparse.Namespace) -> int:
    from alphaclip.indexing.dataset.locations import index_keys

    for key in index_keys(open_dataset(args.dataset)):
        print(key)
    return 0


def _info(args: argparse.Namespace) -> int:
    from alphaclip import indexing

    index = indexing.load(open_dataset(args.dataset), args.key)
    info = index.info()
    if args.fresh:
        info["freshness"] = asdict(index.freshness())
    print(json.dumps(info, indent=1, ensure_ascii=False))
    return 0


def _update(args: argparse.Namespace) -> int:
    from alphaclip import indexing
    from alphaclip.indexing.explore.concepts import concepts

    index = indexing.load(open_dataset(args.dataset), args.key)
    print_report(asdict(index.update()))
    for concept in concepts(index.dataset):
        if args.key in concept.search.keys:
            print(f"concept {concept.name}: {concept.waiting} waiting")
            for problem in concept.problems:
                print(f"concept {concept.name} is not scored: {problem}")
    return 0


def _odd(args: argparse.Namespace) -> int:
    from alphaclip import indexing
    from alphaclip.indexing.retrieval.hit_listing import list_hits

    index = indexing.load(open_dataset(args.dataset), args.key)
    finding = indexing.find_odd(index, ODD[args.kind], args.count, args.attribute)
    hits, notes = finding.hits(indexing.load(index.dataset, finding.key))
    for hit in list_hits(hits):
        note = notes[hit.rank - 1]
        if args.json:
            print(json.dumps({**hit.to_dict(), "note": note}, ensure_ascii=False))
        else:
            print(f"{hit}  {note}".rstrip())
    indexing.remember(index.dataset, finding)
    told = "; the history of Region search in the App has them, to decide each" if len(hits) else ""
    print(f"{len(hits)} found{told}", file=sys.stderr)
    return 0


def _verify(args: argparse.Namespace) -> int:
    from alphaclip import indexing
    from alphaclip.indexing.dataset.locations import index_folder
    from alphaclip.indexing.store.store import open_store, verify

    index = indexing.load(open_dataset(args.dataset), args.key)
    version = open_store(index_folder(index.dataset, index.key))
    verify(version)
    print(
        f"{version.folder}: version {version.number}, {len(version)} vectors, every byte is whole"
    )
    return 0


def _compact(args: argparse.Namespace) -> int:
    from alphaclip import indexing

    before, after = indexing.load(open_dataset(args.dataset), args.key).compact()
    print(f"{after} segment files, {before} before")
    return 0


def _export(args: argparse.Namespace) -> int:
    from alphaclip import indexing
    from alphaclip.indexing.brain.exporting import similarity_run
    from alphaclip.indexing.dataset.locations import index_keys

    dataset = open_dataset(args.dataset)
    is_of_regions = args.key in index_keys(dataset)
    index = (indexing.load if is_of_regions else similarity_run)(dataset, args.key)
    copy = indexing.export(index, args.backend, args.brain_key)
    print(f"{copy.total_index_size} vectors are in {args.backend} as {args.brain_key!r}")
    return 0


def _sync(args: argparse.Namespace) -> int:
    from alphaclip import indexing

    index = indexing.load(open_dataset(args.dataset), args.key)
    report = indexing.sync(index, args.brain_key)
    how = "loaded anew" if report.anew else f"{report.dropped} dropped"
    print(f"{args.brain_key}: version {report.version}, {report.moved} vectors moved, {how}")
    return 0


def _plan(args: argparse.Namespace) -> int:
    from alphaclip import indexing

    sizes = {"workers": args.workers, "shard_regions": args.shard_regions}
    plan = indexing.plan(**build_arguments(args), **sizes)
    counts = plan.counts
    print(f"{counts['to_embed']} of {counts['wanted']} regions, {len(plan.shards)} shards in")
    print(plan.folder)
    return 0


def _embed(args: argparse.Namespace) -> int:
    from alphaclip import indexing

    parent = os.getppid()
    if args.any:
        # As Ctrl-C: a scheduler that takes the machine away is no failure of the shard
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        embedded = indexing.work(
            args.folder,
            dict(args.map),
            goes_on=lambda: not args.with_parent or os.getppid() == parent,
        )
        print(f"{embedded} regions embedded")
    else:
        embedded = indexing.embed_part(args.folder, args.shard, paths=dict(args.map))
        print(f"{embedded} regions embedded, part {args.shard[0]} of {args.shard[1]}")
    return 0


def _run(args: argparse.Namespace) -> int:
    from alphaclip import indexing

    where = (args.engine, args.workers, args.address, args.gpus_per_worker)
    report = indexing.run(args.folder, *where, dict(args.map))
    print(f"{report.embedded} regions embedded in {report.seconds} s, {report.left} left")
    for failed in report.failed:
        print(f"failed: {failed}")
    return 1 if report.failed else 0


def _status(args: argparse.Namespace) -> int:
    from alphaclip import indexing

    status = indexing.status(args.folder)
    speed, left = status.regions_per_second, status.seconds_left
    print(f"{status.finished} of {status.shards} shards, ", end="")
    print(f"{status.embedded} of {status.regions} regions embedded", end="")
    print(f", {speed:.1f} a second, about {left / 60:.0f} min left" if left else "")
    for file, one in status.trying.items():
        print(f"tried: {file} by process {one.process} on {one.host}")
    for failed in status.failed:
        print(f"failed: {failed}")
    return 1 if status.failed else 0


def _script(args: argparse.Namespace) -> int:
    from alphaclip.indexing.embedding.engines.job_scripts import job_script

    said = {"image": args.image, "claim": args.claim}
    paths, gpus = dict(args.map), args.gpus_per_worker
    print(job_script(args.folder, args.engine, args.workers, gpus, paths, **said), end="")
    return 0


def _merge(args: argparse.Namespace) -> int:
    from alphaclip import indexing

    index = indexing.merge_plan(open_dataset(args.dataset), args.key)
    print_report(index.info()["report"])
    return 0


def _gc(args: argparse.Namespace) -> int:
    from alphaclip.indexing.dataset.garbage import (
        orphans,
        remove_empty_folders,
        remove_orphan,
    )

    listed = orphans()
    for orphan in listed:
        print(f"{orphan.store_id}  {orphan.bytes / 1e6:.1f} MB  last written {orphan.modified:%F}")
        if args.delete:
            remove_orphan(orphan.store_id)
    if args.delete:
        remove_empty_folders()
    what = "deleted" if args.delete else "named by no dataset; --delete deletes them"
    print(f"{len(listed)} stores {what}")
    return 0


def _mapped(text: str) -> tuple[str, str]:
    folder, is_pair, here = text.partition("=")
    if not is_pair:
        raise argparse.ArgumentTypeError(f"map is {text!r}: expected FOLDER=HERE")
    return folder, here


def _part(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(
            f"shard is {text!r}: expected i/n with i from 1 to n, as 2/8"
        )
    return int(match[1]), int(match[2])
