"""``alphaclip demo``: the main job on the bundled scenes, from pictures to the App."""

from __future__ import annotations

import heapq
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.indexing.building import build
from alphaclip.indexing.contact_sheet import draw_contact_sheet
from alphaclip.indexing.listing import ListedHit, list_hits
from alphaclip.indexing.region_index import RegionIndex, load
from alphaclip.indexing.samples import OBJECTS, OUTLINES, load_sample

from alphaclip.encoder import Encoder
from alphaclip.loading import load as load_encoder

if TYPE_CHECKING:
    import fiftyone as fo

MODEL = "alphaclip-nano"
QUERIES = ("a drawing of a red apple", "a drawing of a penguin", "a drawing of a violin")
SHOWN = 8


def run_demo(sample: Path, sheet: Path, app: bool) -> None:
    """Embeds the sample's regions, answers three queries, draws them and opens the App.

    Args:
        sample: folder of the sample dataset
        sheet: the PNG to write
        app: whether to open the App, and stay until it is closed

    Raises:
        AlphaClipError: if the sample or the model is missing
    """
    dataset = load_sample(sample)
    encoder = load_encoder(MODEL)
    indexes = [_index(dataset, field, encoder) for field in (OBJECTS, OUTLINES)]
    count = sum(len(index) for index in indexes)
    print(f"{count} regions of {len(dataset)} pictures are indexed")
    found = {query: _search(indexes, query) for query in QUERIES}
    for query, hits in found.items():
        print(f'\n"{query}"', *hits, sep="\n")
    draw_contact_sheet(found, sheet)
    print(f"\ncontact sheet: {sheet}")
    if app:
        _open_app(dataset)


def _index(dataset: fo.Dataset, field: str, encoder: Encoder) -> RegionIndex:
    """The index of an earlier run if the model is still the same, else a new one."""
    if dataset.has_brain_run(field):
        index = load(dataset, field)
        if index.info()["fingerprint"] == encoder.fingerprint:
            return RegionIndex(dataset, field, encoder)
    return build(dataset, field, encoder, key=field, overwrite=True)


def _search(indexes: list[RegionIndex], query: str) -> list[ListedHit]:
    """The best of all indexes; they share an encoder, so their scores are on one scale."""
    listed = [hit for index in indexes for hit in list_hits(index.search(query, SHOWN))]
    best = heapq.nlargest(SHOWN, listed, key=lambda hit: hit.score)
    return [replace(hit, rank=rank) for rank, hit in enumerate(best, start=1)]


def _open_app(dataset: fo.Dataset) -> None:
    import fiftyone as fo

    remote = not (sys.platform == "darwin" or os.environ.get("DISPLAY"))
    session = fo.launch_app(dataset, remote=remote, address="127.0.0.1")
    print(
        f"\nthe App is at {session.url}\n"
        "press ` there and type 'Search regions'; Ctrl-C here ends the demo",
        flush=True,
    )
    try:
        session.wait(-1)
    except KeyboardInterrupt:
        session.close()
