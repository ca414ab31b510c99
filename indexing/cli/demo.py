"""``alphaclip demo``: the main job on the bundled scenes, from pictures to the App."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from alphaclip.encoder.load import load as load_encoder
from alphaclip.indexing.dataset.labels import count_samples
from alphaclip.indexing.dataset.samples import OBJECTS, OUTLINES, load_sample
from alphaclip.indexing.explore.contact_sheet import draw_contact_sheet
from alphaclip.indexing.explore.several_indexes import search
from alphaclip.indexing.region_index import build
from alphaclip.indexing.retrieval.hit_listing import list_hits

if TYPE_CHECKING:
    import fiftyone as fo

MODEL = "alphaclip-nano"
QUERIES = ("a drawing of a red apple", "a drawing of a penguin", "a drawing of a violin")
HITS = 8

PLUGIN = "@alphaclip/regions"


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
    indexes = [
        build(dataset, field, encoder, key=field, overwrite=True) for field in (OBJECTS, OUTLINES)
    ]
    count = sum(len(index) for index in indexes)
    print(f"{count} regions of {count_samples(dataset)} pictures are indexed")
    hits_of = {query: list_hits(search(indexes, query, HITS)) for query in QUERIES}
    for query, hits in hits_of.items():
        print(f'\n"{query}"', *hits, sep="\n")
    draw_contact_sheet(hits_of, sheet)
    print(f"\ncontact sheet: {sheet}")
    if app:
        open_app(dataset)


def open_app(dataset: fo.Dataset) -> None:
    """Opens the App with the pictures on the left and *Region search* on the right, until Ctrl-C.

    Without the plugin it has the pictures only, and says how to get it.
    """
    import fiftyone as fo
    import fiftyone.plugins as fop

    spaces = None
    if any(plugin.name == PLUGIN for plugin in fop.list_plugins()):
        sides = [fo.Panel(type="Samples", pinned=True), fo.Panel(type="region_search")]
        # Without an active child the App shows a tab and nothing in it.
        children = [fo.Space(children=[side], active_child=side.component_id) for side in sides]
        spaces = fo.Space(children=children, orientation="horizontal")
    else:
        print(f"the plugin {PLUGIN} is not installed: README says how; the App has no search panel")
    remote = not (sys.platform == "darwin" or os.environ.get("DISPLAY"))
    session = fo.launch_app(dataset, spaces=spaces, remote=remote, address="127.0.0.1")
    print(f"\nthe App is at {session.url}; Ctrl-C here ends it", flush=True)
    try:
        session.wait(-1)
    except KeyboardInterrupt:
        session.close()
