"""Makes a new version of a store of what a plan asked for and its shards became."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphaclip.indexing.dataset.skipped import TWICE, Skipped
from alphaclip.indexing.embedding.inventory import matching
from alphaclip.indexing.embedding.plans import Plan, PlanError
from alphaclip.indexing.embedding.shards import Outcome, outcome_of
from alphaclip.indexing.store.files import StoreError
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.segments import RowIds, Segment, as_text, read_ids, read_segment
from alphaclip.indexing.store.store import StoreVersion, StoreWriter

logger = logging.getLogger(__name__)


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


def usable_pieces(folder: Path, entries: Sequence[dict[str, Any]]) -> list[Segment]:
    """The pieces of earlier jobs that are whole."""
    pieces = []
    for entry in entries:
        try:
            pieces.append(read_segment(folder, entry))
        except StoreError as error:
            logger.warning("%d finished vectors are lost: %s", entry["count"], error)
    return pieces


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
    outcomes = _outcomes(plan)
    embedded = [outcome.entry for outcome in outcomes if outcome.entry]
    base = usable_base(writer.base, plan.settings)
    wanted = read_ids(plan.folder, plan.wanted)
    lookup = Lookup(wanted)
    old = list(base.segments) if base else []
    new = [writer.adopt(plan.folder, entry) for entry in [*plan.taken_over, *embedded]]
    segments, without = _picked(wanted, lookup, [*old, *new])
    _check_found(without, plan, outcomes)
    skipped = _skipped(plan, outcomes, wanted.take(lookup.repeated))
    report = _report(writer.base, segments, len(old), plan, skipped)
    dims = [segment.vectors.shape[1] for segment in segments if len(segment.rows)]
    dim = dims[0] if dims else writer.base.dim if writer.base is not None else 0
    told = {**plan.reading, **asdict(report), "seconds": seconds}
    info = {**plan.settings, "report": told}
    writer.publish(segments, dim, np.dtype(np.float16), info)
    shutil.rmtree(plan.folder, ignore_errors=True)
    return report


def _report(
    base: StoreVersion | None,
    segments: Sequence[Segment],
    old: int,
    plan: Plan,
    skipped: list[Skipped],
) -> MergeReport:
    """Counts what comes of a version, the first ``old`` pieces of which are its own."""
    count = sum(len(segment.rows) for segment in segments)
    if not count and (base is None or plan.counts["wanted"]):
        first = f", the first because {skipped[0].reason}" if skipped else ""
        field = plan.settings["field"]
        raise PlanError(
            f"no region of {field!r} could be embedded: {len(skipped)} were skipped{first}"
        )
    kept = sum(len(segment.rows) for segment in segments[:old])
    edited = _known_before(base, segments[old:])
    return MergeReport(
        regions=count,
        added=count - kept - edited,
        edited=edited,
        kept=kept,
        gone=(len(base) if base is not None else 0) - kept - edited,
        unreachable=plan.counts["unreachable"],
        skipped=skipped,
    )


def _outcomes(plan: Plan) -> list[Outcome]:
    found = [outcome_of(plan, shard) for shard in plan.shards]
    missing = sum(outcome is None for outcome in found)
    if missing:
        raise PlanError(
            f"{missing} of {len(found)} shards of {plan.folder} are not embedded: run "
            "alphaclip index embed on it, then merge again"
        )
    return [outcome for outcome in found if outcome is not None]


def _picked(
    wanted: RowIds, lookup: Lookup, segments: Sequence[Segment]
) -> tuple[list[Segment], int]:
    """The pieces, each without the rows that are not wanted or come from an earlier piece; and how
    many wanted ids are in none.
    """
    taken = np.zeros(len(wanted), bool)
    picked = [s.keeping(_kept_mask(wanted, s, taken, lookup)) for s in segments]
    return picked, len(wanted) - len(lookup.repeated) - int(taken.sum())


def _check_found(without: int, plan: Plan, outcomes: Sequence[Outcome]) -> None:
    """Looks whether the vectors that the plan took for granted are still there."""
    embedded = sum(outcome.entry["count"] for outcome in outcomes if outcome.entry)
    twice = sum(skipped.reason == TWICE for outcome in outcomes for skipped in outcome.skipped)
    lost = without - (plan.counts["to_embed"] - embedded - twice)
    if lost > 0:
        raise PlanError(
            f"{lost} vectors are gone that {plan.folder} was planned with: plan again "
            "(alphaclip index update)"
        )


def _skipped(plan: Plan, outcomes: Sequence[Outcome], repeated: RowIds) -> list[Skipped]:
    """What was left out while the labels were read, while they were embedded, and here."""
    found = [Skipped(**skipped) for skipped in plan.reading.get("skipped", [])]
    found += [skipped for outcome in outcomes for skipped in outcome.skipped]
    known = {skipped.label_id for skipped in found if skipped.reason == TWICE}
    rows = zip(as_text(repeated.sample_ids), as_text(repeated.label_ids), strict=True)
    return found + [
        Skipped(f"sample {sample_id}", str(label_id), TWICE)
        for sample_id, label_id in rows
        if label_id not in known
    ]


def _known_before(base: StoreVersion | None, segments: Sequence[Segment]) -> int:
    """How many rows of some new pieces had a vector in the version before."""
    if base is None:
        return 0
    lookup = Lookup(base.ids)
    return sum(int((lookup.find(s.ids.keys[s.rows]) >= 0).sum()) for s in segments)


def _kept_mask(wanted: RowIds, segment: Segment, taken: np.ndarray, lookup: Lookup) -> np.ndarray:
    """Rows that an earlier version dropped do not count: their vectors are not wanted twice."""
    ids = segment.ids if segment.kept is None else segment.ids.take(segment.kept)
    found = matching(wanted, ids, taken, lookup)
    mask = np.zeros(len(segment), bool)
    mask[segment.rows[found]] = True
    return mask
