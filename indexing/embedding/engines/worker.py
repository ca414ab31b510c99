"""A worker: embeds one shard of a plan after the other until none is left.

It needs the plan's folder and the pictures, no database, so that it runs on any machine that has
both; as many as one likes work on one plan.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.arguments import checked
from alphaclip.encoder.load import encoder_of
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.embedding.engines.claims import Claim, claiming
from alphaclip.indexing.embedding.label_reader import NO_PICTURE, picture_stamp
from alphaclip.indexing.embedding.plans import Plan, PlanError, read_plan, read_shard
from alphaclip.indexing.embedding.shards import embed_shards
from alphaclip.indexing.progress import Progress, shown
from alphaclip.regions.remote import is_remote

if TYPE_CHECKING:
    from alphaclip.encoder.encoder import Encoder

logger = logging.getLogger(__name__)

MOST_IN_A_ROW = 3
"""Different shards in a row of which nothing came: it is this machine then, and the worker ends
before it has used up all tries of all shards."""


@checked()
def work(
    folder: Path,
    paths: Mapping[str, str] | None = None,
    encoder: Encoder | None = None,
    progress: Progress | bool | None = None,
    goes_on: Callable[[], bool] = lambda: True,
) -> int:
    """Embeds shards of a plan that no other worker embeds, until none is left.

    Args:
        folder: of the plan
        paths (None): folders of pictures, and where this machine has them
        encoder (None): the plan's; None loads it by name
        progress (None): told how many regions of the plan are embedded by this worker
        goes_on: asked before each shard whether there is to be another

    Returns:
        how many regions were embedded

    Raises:
        AlphaClipError: if there is no plan, the encoder is another one here, the plan was replaced,
            or nothing came of several shards in a row; the last says why
    """
    plan = read_plan(folder)
    own, locate, embedded = encoder_of(plan.settings, encoder), path_map(paths or {}), 0
    waiting, failed, in_a_row = deque(plan.shards), set[str](), 0
    # Where locks do not reach, workers that begin at different shards seldom meet
    waiting.rotate(random.randrange(len(waiting) or 1))
    with shown(progress) as show:
        while waiting and goes_on():
            shard = waiting.popleft()
            with claiming(plan, shard) as claim:
                if claim is None:
                    continue
                error = _embed(plan, claim, own, locate)
            if error is None:
                embedded, in_a_row = embedded + shard["count"], 0
                show("regions embedded", embedded, plan.counts["to_embed"])
                continue
            if read_plan(folder).name != plan.name:
                raise PlanError(f"{folder} was planned anew meanwhile: run again")
            waiting.append(shard)
            in_a_row += shard["file"] not in failed
            failed.add(shard["file"])
            if in_a_row == MOST_IN_A_ROW:
                raise PlanError(f"nothing came of {in_a_row} shards in a row: {error}") from error
    return embedded


def work_quietly(folder: Path, paths: Mapping[str, str]) -> int:
    """As :func:`work`, where nobody looks."""
    return work(folder, paths, progress=False)


def _embed(
    plan: Plan, claim: Claim, encoder: Encoder, locate: Callable[[str], str]
) -> Exception | None:
    """Embeds a shard; returns what came in the way."""
    try:
        _check_reachable(plan, claim.shard, locate)
        embed_shards(plan, encoder, [claim.shard], locate=locate)
    except Exception as error:  # Whatever it is, other shards may do: it is noted, and they go on
        logger.warning("%s: %s", claim.shard["file"], error)
        claim.fail(f"{error}" if isinstance(error, AlphaClipError) else repr(error))
        return error
    except BaseException:
        claim.give_back()
        raise
    claim.give_back()
    return None


def _check_reachable(plan: Plan, shard: dict[str, Any], locate: Callable[[str], str]) -> None:
    """Looks whether this machine has any picture of a shard: else its regions would be skipped."""
    rows = read_shard(plan, shard)
    there = dict.fromkeys(r.filepath for r in rows if not r.fingerprint.startswith(NO_PICTURE))
    if there and not any(picture_stamp(locate(path), "stat") for path in there):
        few = ", ".join(map(locate, [*there][:3]))
        raise PlanError(
            f"none of its {len(there)} pictures is on this machine: {few}; say where its folders "
            "are (--map /data=/mnt/data)"
        )


def path_map(paths: Mapping[str, str]) -> Callable[[str], str]:
    """Where a machine has the picture of a path, by the longest folder that it begins with.

    Args:
        paths: folders, and where this machine has them: a folder, or an address, as
            ``s3://bucket/data``

    Raises:
        AlphaClipError: if one of them is neither
    """
    for folder, here in paths.items():
        if not (is_folder(folder) and is_folder(here)):
            raise AlphaClipError(
                f"map is {folder}={here}: expected absolute folders or addresses, /data=/mnt/data"
            )
    folders = sorted((folder.rstrip("/") + "/", here) for folder, here in paths.items())

    def locate(path: str) -> str:
        for folder, here in reversed(folders):
            if path.startswith(folder):
                return f"{here.rstrip('/')}/{path.removeprefix(folder)}"
        return path

    return locate


def is_folder(path: str) -> bool:
    """Whether a path names the same folder wherever it is used: it is absolute, or an address."""
    return is_remote(path) or Path(path).is_absolute()
