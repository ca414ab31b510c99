"""
The searches that are kept with the dataset, to be run again.
"""

import time

import fiftyone.operators.types as types

from ..common.forms import shorten
from ..common.panels import dataset_id
from .asking import PICTURES, parts
from .results import describe, search
from .state import guarded

SHOWN = 10


class HistoryEvents:
    """Events of the history."""

    @guarded
    def on_again(self, ctx):
        from alphaclip.indexing.explore.saved_searches import recent

        asked = {
            **_asked(recent(ctx.dataset, SHOWN)[ctx.params["row"]]),
            "dataset": dataset_id(ctx),
        }
        ctx.panel.state.set(
            {
                "words.query": asked["words"],
                "words.avoid": asked["avoid"],
                "where.mode": asked["mode"],
                "where.keys": asked["keys"],
                "where.k": asked["k"],
                "where.min_score": asked["min_score"],
                "where.inside": False,
                "like": asked["like"],
                "unlike": asked["unlike"],
                "token": None,
            }
        )
        search(ctx, asked)


def remember(dataset, asked):
    """Keeps a search by words or examples; one by a picture is not kept.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        asked: see :mod:`asking`
    """
    from alphaclip.indexing.explore import saved_searches as searches

    if asked["picture"]:
        return

    words = parts(asked["words"]) if asked["mode"] == PICTURES else [asked["words"]]
    found = searches.Search(
        texts=[text for text in words if text],
        examples=asked["like"],
        negative_texts=parts(asked["avoid"]),
        negative_examples=asked["unlike"],
        keys=asked["keys"],
        k=asked["k"],
        min_score=asked["min_score"],
        mode=asked["mode"],
    )
    searches.remember(dataset, found)


def add_history(ctx, root, panel):
    """Lays the history out.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        root: the :class:`fiftyone.operators.types.Object` to add to
        panel: whose events
    """
    from alphaclip.indexing.explore.saved_searches import recent

    rows = [_row(found) for found in recent(ctx.dataset, SHOWN)]
    if not rows:
        return

    table = types.TableView(componentsProps={"table": {"sx": {"minWidth": 0}}})
    table.add_column("what", label="Searched before")
    table.add_column("mode", label="Found")
    table.add_column("where", label="In")
    table.add_row_action("again", on_click=panel.on_again, label="Search again")
    section = types.Object()
    shown = types.ObjectView(label="History", collapsible=True)
    root.define_property("history", section, view=shown)
    section.list("table", types.Object(), view=table, default=rows)


def _row(found):
    asked = _asked(found)
    row = {"what": shorten(describe(asked), 80), "mode": asked["mode"]}
    return {**row, "where": ", ".join(asked["keys"])}


def _asked(found):
    return {
        "mode": found.mode,
        "words": ", ".join(found.texts),
        "avoid": ", ".join(found.negative_texts),
        "like": list(found.examples),
        "unlike": list(found.negative_examples),
        "picture": None,
        "keys": list(found.keys),
        "k": found.k,
        "min_score": found.min_score,
        "stages": None,
        "right": [],
        "wrong": [],
        "at": time.time(),
    }
