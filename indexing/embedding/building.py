"""Embeds the labelled regions of a dataset, keeps them up to date, and says whether they are.

The module is not called ``build``: importing it would hide the function of that name.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.arguments import checked
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import encoder_of, encoder_settings
from alphaclip.encoder.load import load as load_encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import (
    active_images,
    active_slice,
    check_field,
    count_samples,
    is_of_frames,
)
from alphaclip.indexing.dataset.locations import check_key, has_run, own_folder
from alphaclip.indexing.dataset.stages import check_stages
from alphaclip.indexing.embedding.engines.worker import path_map
from alphaclip.indexing.embedding.inventory import Inventory
from alphaclip.indexing.embedding.label_reader import (
    EVERY,
    Identify,
    labelled_pictures,
    samples_of,
)
from alphaclip.indexing.embedding.merging import (
    UNFINISHED,
    MergeReport,
    held_rows,
    merge,
    publish_part,
)
from alphaclip.indexing.embedding.plans import (
    SHARD_REGIONS,
    Plan,
    PlanError,
    make_plan,
    read_plan,
)
from alphaclip.indexing.embedding.shards import embed_shards, shards_of
from alphaclip.indexing.embedding.unmodified import Unmodified
from alphaclip.indexing.progress import Progress, shown
from alphaclip.indexing.store.ids import Lookup
from alphaclip.indexing.store.manifests import check_settings, has_store
from alphaclip.indexing.store.store import StoreError, StoreVersion, StoreWriter, writing

if TYPE_CHECKING:
    import fiftyone as fo


SHARDS_A_WORKER, SMALLEST_SHARD = 8, 64
"""At least so many shards for each worker, so that the last one to end holds nobody up for more
than an eighth of its work; but none so small that its files cost more than its vectors."""

PUBLISH_SECONDS, PUBLISH_SHARE = 30.0, 20
"""How often what is embedded so far is published: so many seconds apart at least, and so many times
as long as it took, so that it costs a twentieth at most."""


@dataclass(frozen=True)
class Freshness:
    """How an index compares with its dataset.

    Attributes:
        held: regions whose vectors hold
        edited: regions whose picture, box or mask has changed
        missing: regions without a vector
        gone: vectors of regions that are no longer there
        unreachable: of those held, those whose picture cannot be reached at the moment
    """

    held: int
    edited: int
    missing: int
    gone: int
    unreachable: int

    @property
    def is_fresh(self) -> bool:
        """Whether an update would change nothing."""
        return not (self.edited or self.missing or self.gone)


@checked(identify=Identify)
def plan(
    samples: fo.SampleCollection,
    field: str,
    encoder: str | Path | Encoder = "auto",
    key: str = "regions",
    overwrite: bool = False,
    progress: Progress | None = None,
    identify: Identify = "stat",
    workers: int = 1,
    shard_regions: int | None = None,
    every: int = 1,
) -> Plan:
    """Writes the shards of a build, to be embedded elsewhere; see :func:`alphaclip.indexing.build`.

    Then :func:`alphaclip.indexing.run` or :func:`embed_part` embeds them, on any machines that see
    the folder and the pictures, and :func:`alphaclip.indexing.merge_plan` publishes the index.

    Args:
        workers (1): that are to embed it; a small dataset gets smaller shards for many
        shard_regions (None): regions in a shard, about; None follows the number of workers
        every (1): n for every nth frame of each video

    Returns:
        the plan; its ``folder`` is what the embedding needs

    Raises:
        AlphaClipError: if there are to be no workers, or no regions in a shard
    """
    for name, count in {"workers": workers, "shard_regions": shard_regions}.items():
        if count is not None and count < 1:
            raise AlphaClipError(f"{name} is {count}: expected 1 or more")
    folder = folder_for(samples, field, key, overwrite, every)
    # Only its fingerprint is needed: no other precision is tried here, and no GPU taken
    loaded = load_encoder(encoder, device="cpu", precision="fp32")
    settings = settings_of(samples, field, loaded, identify, every)
    reading: dict[str, Any] = {}
    with writing(folder, mend=True) as writer, shown(progress) as show:
        pictures = labelled_pictures(active_slice(samples), settings, reading, show)
        held, work = held_rows(writer.base, settings), writer.folder / "work"
        size = shard_regions or _shard_size(samples, field, workers)
        return make_plan(work, pictures, settings, reading, held, size, to_files=True)


def _shard_size(samples: fo.SampleCollection, field: str, workers: int) -> int:
    """So many regions that each worker gets several shards, and all end at about the same time."""
    flat = active_slice(samples)
    count = flat.count(flat._get_label_field_path(field, "id")[1])
    return int(min(max(count // (workers * SHARDS_A_WORKER), SMALLEST_SHARD), SHARD_REGIONS))


@checked()
def embed_part(
    folder: Path,
    part: tuple[int, int] = (1, 1),
    encoder: Encoder | None = None,
    progress: Progress | None = None,
    paths: Mapping[str, str] | None = None,
) -> int:
    """Embeds the i-th of n parts of a plan; needs the plan's files and the pictures, no database.

    Args:
        folder: of the plan
        part: ``(i, n)``, i from 1
        encoder (None): the plan's; None loads it by name
        progress (None): told how far it is; None shows a bar in the terminal
        paths (None): folders of pictures, and where this machine has them

    Returns:
        how many regions were embedded now; those of shards that were done are not counted
    """
    planned = read_plan(folder)
    loaded = encoder_of(planned.settings, encoder)
    with shown(progress) as show:
        shards, locate = shards_of(planned, part), path_map(paths or {})
        return embed_shards(planned, loaded, shards, show, locate=locate)


def embed(
    writer: StoreWriter,
    samples: fo.SampleCollection,
    settings: dict[str, Any],
    encoder: Encoder,
    show: Progress,
    anew: bool = True,
) -> MergeReport:
    """Plans, embeds and publishes, in this process; looks at all labels anew, or only at those of
    pictures that FiftyOne has written since.

    All labels are read before the first region is embedded: what is to be done is then known, and
    no cursor of the database stays open for the hours that it may take.
    """
    started = time.monotonic()
    planned = _planned(writer, samples, settings, show, anew)
    _embed_in_sight(writer, planned, encoder, show)
    return merge(writer, planned, round(time.monotonic() - started, 1))


def _planned(
    writer: StoreWriter,
    samples: fo.SampleCollection,
    settings: dict[str, Any],
    show: Progress,
    anew: bool,
) -> Plan:
    reading: dict[str, Any] = {}
    # Of its own, so that the ids in it are not in memory while regions are embedded and merged
    base = replace(writer.base) if writer.base is not None else None
    pictures = labelled_pictures(
        active_slice(samples),
        settings,
        reading,
        show,
        None if anew else Unmodified.of(base, settings),
    )
    held = held_rows(base, settings)
    return make_plan(writer.folder / "work", pictures, settings, reading, held)


def _embed_in_sight(writer: StoreWriter, planned: Plan, encoder: Encoder, show: Progress) -> None:
    """Embeds what is planned; what is done can be searched meanwhile, and where it is stopped."""
    wait, at = PUBLISH_SECONDS, time.monotonic()

    def publish_now_and_then() -> None:
        nonlocal wait, at
        began = time.monotonic()
        if began - at >= wait:
            publish_part(writer, planned)
            at = time.monotonic()
            wait = max(PUBLISH_SECONDS, PUBLISH_SHARE * (at - began))

    try:
        embed_shards(planned, encoder, progress=show, after_shard=publish_now_and_then)
    except (Exception, KeyboardInterrupt):
        with suppress(StoreError):
            publish_part(writer, planned)
        raise


def folder_for(
    samples: fo.SampleCollection, field: str, key: str, overwrite: bool, every: int
) -> Path:
    """Checks what is to be built, and says where."""
    active_images(samples, field)
    if every < 1 or (every > 1 and not is_of_frames(field)):
        raise AlphaClipError(
            f"every is {every} for field {field!r}: expected 1 or more, and more for frames of "
            "videos only, as 'frames.detections'"
        )
    dataset = samples._dataset
    check_key(dataset, key)
    folder = own_folder(dataset, key)
    # A store that the Brain does not list is a build that ended before it was registered.
    if has_store(folder) and has_run(dataset, key) and not overwrite:
        raise AlphaClipError(
            f"dataset {dataset.name!r} has an index {key!r}: choose another key, bring it up to "
            "date with index.update(), or pass overwrite=True to replace it"
        )
    check_field(samples, field)
    if not count_samples(active_slice(samples)):
        raise AlphaClipError(f"{dataset.name!r} has no samples here: there is nothing to embed")
    return folder


def settings_of(
    samples: fo.SampleCollection, field: str, encoder: Encoder, identify: Identify, every: int
) -> dict[str, Any]:
    from bson import json_util

    flat = active_slice(samples)
    stages = flat._serialize(include_uuids=False) if flat is not flat._dataset else []
    return {
        "kind": "regions",
        "metric": "cosine",
        "field": field,
        "identify": identify,
        "stages": check_stages(json.loads(json_util.dumps(stages))),
        **encoder_settings(encoder),
        **({EVERY: every} if every > 1 else {}),
    }


def settings_in(writer: StoreWriter) -> dict[str, Any]:
    info = writer.base.info if writer.base is not None else {}
    if info and info.get("kind") != "regions" and "fingerprint" not in info:
        raise AlphaClipError("the vectors of this index are from elsewhere: add them anew instead")
    try:
        said = info or read_plan(writer.folder / "work").settings
    except PlanError as error:
        raise StoreError(
            f"{writer.folder} holds nothing that could be brought up to date: build the index"
        ) from error
    check_settings(said, writer.folder)
    left = {name: value for name, value in said.items() if name not in ("report", UNFINISHED)}
    return {**left, "kind": "regions"}


def freshness(
    dataset: fo.Dataset, version: StoreVersion, progress: Progress | None = None
) -> Freshness:
    """Compares an index with its dataset: looks at all pictures, but opens none, and reads the
    labels of those that FiftyOne has written since.

    Args:
        dataset: of the index
        version: of its store
        progress (None): told how far it is; None shows a bar in the terminal
    """
    settings: dict[str, Any] = version.info
    check_settings(settings, version.folder)
    lookup = Lookup(version.ids)
    inventory = Inventory(settings["field"], [version.ids], listing=False)
    seen = np.zeros(len(version), bool)
    held = edited = missing = 0
    with shown(progress) as show:
        samples, same = samples_of(dataset, settings), Unmodified.of(version, settings)
        pictures = labelled_pictures(samples, settings, {}, show, same)
        for _, ids, lacking in inventory.add_all(pictures):
            rows = lookup.find(ids)
            seen[rows[rows >= 0]] = True
            held += int((~lacking).sum())
            edited += int((lacking & (rows >= 0)).sum())
            missing += int((lacking & (rows < 0)).sum())
    return Freshness(held, edited, missing, int((~seen).sum()), inventory.unreachable)
