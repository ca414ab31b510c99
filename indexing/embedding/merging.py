"""Makes a new version of a store of what a plan asked for and its shards became."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from alphaclip.indexing.dataset.labels import Skipped
from alphaclip.indexing.embedding.engines.claims import failed_shards
from alphaclip.indexing.embedding.inventory import matching
from alphaclip.indexing.embedding.label_reader import TWICE
from alphaclip.indexing.embedding.plans import (
    FinishedShard,
    Plan,
    PlanError,
    finished,
)
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import RowIds, Segment, as_text
from alphaclip.indexing.store.store import StoreVersion, StoreWriter

MOST_TOLD = 3
"""Failed shards that an error names: one reason is often that of all."""

UNFINISHED = "unfinished"
"""In what a store says of its vectors: they are those of a build that has not come to its end."""


@dataclass(frozen=True)
class MergeReport:
    """What a version holds, against the one before.

    Attributes:
        regions: in the new version
        added: of these, those that are new
        edited: of these, those that were embedded again: picture, region or encoder has changed
        kept: of these, those whose vectors still hold
        gone: regions of the version before that are no longer held
        unreachable: of those kept, those whose picture cannot be reached at the moment
        skipped: regions and pictures left out, and why
    """

    regions: int
    added: int
    edited: int
    kept: int
    gone: int
    unreachable: int
    skipped: list[Skipped]


def usable_base(version: StoreVersion | None, settings: Mapping[str, Any]) -> StoreVersion | None:
    """A version to go on from, if its vectors are of the encoder that the settings name."""
    same = version is not None and version.info.get("fingerprint") == settings["fingerprint"]
    return version if same else None


def held_rows(version: StoreVersion | None, settings: Mapping[str, Any]) -> list[RowIds]:
    """The rows whose vectors a version has, if they are usable, for :func:`plans.make_plan`."""
    base = usable_base(version, settings)
    return [base.ids] if base is not None else []


def merge(writer: StoreWriter, plan: Plan, seconds: float | None = None) -> MergeReport:
    """Publishes what a plan asked for, and deletes the plan.

    Args:
        writer: of the store
        plan: all shards of which are done
        seconds: the job took so far, for the report

    Returns:
        what came of it

    Raises:
        PlanError: if a shard is not done, vectors are gone that the plan counted on, or nothing
            at all could be embedded; says what to do
    """
    results = _results(plan)
    content = _content(writer, plan, results)
    _check_none_lost(content.without, plan, results)
    report = _publish(writer, plan, results, content, {}, seconds)
    shutil.rmtree(plan.folder, ignore_errors=True)
    return report


def is_unfinished(version: StoreVersion | None) -> bool:
    """Whether a version is what :func:`publish_part` has published."""
    return version is not None and bool(version.info.get(UNFINISHED))


def _finished_version(writer: StoreWriter) -> StoreVersion | None:
    """The version that a report compares with."""
    return None if is_unfinished(writer.base) else writer.base


def publish_part(writer: StoreWriter, plan: Plan) -> None:
    """Publishes what is embedded so far of a first build, so that it can be searched; the plan
    stays, and goes on.

    A version of a finished build stays the current one: it is worth more.
    """
    if writer.base is not None and not is_unfinished(writer.base):
        return
    results = [result for shard in plan.shards if (result := finished(plan, shard)) is not None]
    content = _content(writer, plan, results)
    if any(len(segment.rows) for segment in content.segments):
        _publish(writer, plan, results, content, {UNFINISHED: True}, None)


class _Content(NamedTuple):
    """What a version is made of.

    Attributes:
        segments: first those of the version before, then those of the plan
        kept, edited: how many rows of these were there before, and of those how many have another
            vector now
        without: how many regions of the plan have no vector in them
        repeated: regions of the plan that are in it twice
    """

    segments: list[Segment]
    kept: int
    edited: int
    without: int
    repeated: RowIds


def _content(writer: StoreWriter, plan: Plan, results: Sequence[FinishedShard]) -> _Content:
    base = usable_base(writer.base, plan.settings)
    inventory = plan.inventory()
    lookup, repeated = Lookup(inventory), inventory.take(inventory.repeated)
    taken, before = np.zeros((2, len(inventory)), bool)

    def matched(segment: Segment) -> Segment:
        # What an earlier version dropped does not count, or it would be there twice
        mask = np.zeros(len(segment), bool)
        mask[segment.rows[matching(inventory, segment.kept_ids, taken, lookup)]] = True
        return segment.keeping(mask)

    finished_version = _finished_version(writer)
    for segment in finished_version.segments if finished_version is not None else ():
        rows = lookup.find(segment.kept_ids)
        before[rows[rows >= 0]] = True
    segments = [matched(segment) for segment in (base.segments if base is not None else ())]
    kept = int(taken.sum()) if finished_version is not None else 0
    before &= ~taken
    segments += [matched(writer.adopt(plan.folder, entry)) for entry in plan.taken_over]
    # Each byte of what has just come was looked at, see :func:`plans.finished`
    new = (result.entry for result in results if result.entry)
    segments += [matched(writer.adopt(plan.folder, entry, whole=False)) for entry in new]
    total = int(taken.sum())
    without = len(inventory) - len(repeated) - total
    return _Content(segments, kept, int((taken & before).sum()), without, repeated)


def _publish(
    writer: StoreWriter,
    plan: Plan,
    results: Sequence[FinishedShard],
    content: _Content,
    about: Mapping[str, Any],
    seconds: float | None,
) -> MergeReport:
    segments, skipped = content.segments, _skipped(plan, results, content.repeated)
    report = _report(_finished_version(writer), content, plan, skipped)
    dims = [segment.vectors.shape[1] for segment in segments if len(segment.rows)]
    dim = dims[0] if dims else writer.base.dim if writer.base is not None else 0
    told = {**plan.reading, **asdict(report), "seconds": seconds}
    info = {**plan.settings, "report": told, **about}
    writer.publish(segments, dim, np.dtype(np.float16), info, plan.pictures)
    return report


def _results(plan: Plan) -> list[FinishedShard]:
    results = [finished(plan, shard) for shard in plan.shards]
    missing = sum(result is None for result in results)
    if missing:
        failed = "".join(f"; {one}" for one in failed_shards(plan)[:MOST_TOLD])
        raise PlanError(
            f"{missing} of {len(results)} shards of {plan.folder} are not embedded{failed}: run "
            "alphaclip index run on it, then merge again"
        )
    return [result for result in results if result is not None]


def _check_none_lost(without: int, plan: Plan, results: Sequence[FinishedShard]) -> None:
    """Looks whether the vectors that the plan took for granted are still there."""
    embedded = sum(result.entry["count"] for result in results if result.entry)
    twice = sum(skipped.reason == TWICE for result in results for skipped in result.skipped)
    lost = without - (plan.counts["to_embed"] - embedded - twice)
    if lost > 0:
        raise PlanError(
            f"{lost} vectors are gone that {plan.folder} was planned with: plan again "
            "(alphaclip index update)"
        )


def _skipped(plan: Plan, results: Sequence[FinishedShard], repeated: RowIds) -> list[Skipped]:
    """What was left out while the labels were read, while they were embedded, and here."""
    skipped = [Skipped(**one) for one in plan.reading.get("skipped", [])]
    skipped += [one for result in results for one in result.skipped]
    told = {one.label_id for one in skipped if one.reason == TWICE}
    rows = zip(as_text(repeated.sample_ids), as_text(repeated.label_ids), strict=True)
    return skipped + [
        Skipped(f"sample {sample_id}", str(label_id), TWICE)
        for sample_id, label_id in rows
        if label_id not in told
    ]


def _why_nothing(plan: Plan, skipped: Sequence[Skipped]) -> str:
    field, samples = plan.settings["field"], plan.reading.get("samples")
    if skipped:
        return (
            f"no region of {field!r} could be embedded: {len(skipped)} were skipped, the first "
            f"because {skipped[0].reason}"
        )
    if samples:
        return f"field {field!r} holds no labels in these {samples} samples"
    if plan.settings.get("stages"):
        return (
            "there are no samples in the FiftyOne view that the index is built on: a filter by a "
            "field that is gone matches none"
        )
    return "there are no samples"


def _report(
    base: StoreVersion | None, content: _Content, plan: Plan, skipped: list[Skipped]
) -> MergeReport:
    """Counts what comes of a version.

    Raises:
        PlanError: if nothing does, where there was something or should be
    """
    count = sum(len(segment.rows) for segment in content.segments)
    if not count and (base is None or len(base) or plan.counts["wanted"]):
        why = _why_nothing(plan, skipped)
        if base is not None and len(base):
            why = (
                f"nothing was changed, as the index would lose all its {len(base)} regions: {why}; "
                "where that is meant, index.delete() removes it"
            )
        raise PlanError(why)
    kept, edited = content.kept, content.edited
    return MergeReport(
        regions=count,
        added=count - kept - edited,
        edited=edited,
        kept=kept,
        gone=(len(base) if base is not None else 0) - kept - edited,
        unreachable=plan.counts["unreachable"],
        skipped=skipped,
    )
