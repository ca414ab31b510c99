"""The searches that are kept with the dataset, to be run again."""

import dataclasses
import time

import fiftyone.operators.types as types

from ..common.forms import count, shorten
from .asking import search_of

SHOWN = 10


def remember(dataset, asked):
    """Keeps a search by words or examples; one by a picture is not kept.

    Args:
        asked: see :mod:`asking`
    """
    from alphaclip import indexing

    if not asked["picture"]:
        search = dataclasses.replace(search_of(asked), right=(), wrong=())
        indexing.remember(dataset, search)


def describe(asked):
    """Says what was asked, in a few words.

    Args:
        asked: see :mod:`asking`

    Returns:
        a text
    """
    said = ["“%s”" % asked["words"]] if asked["words"] else []
    said += [count(len(asked["like"]), "example")] if asked["like"] else []
    said += ["a picture"] if asked["picture"] else []
    without = ["“%s”" % asked["avoid"]] if asked["avoid"] else []
    without += [count(len(asked["unlike"]), "example")] if asked["unlike"] else []
    text = " and ".join(said) + (", but not " + " and ".join(without) if without else "")
    marked = len(asked["right"]) + len(asked["wrong"])
    return text + (", with %s" % count(marked, "mark") if marked else "")


def as_asked(found):
    """Turns a search of before into a question.

    Args:
        found: an ``alphaclip.indexing.explore.searches.Search``

    Returns:
        what is asked, see :mod:`asking`
    """
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


def add_history(ctx, root, panel):
    """Lays the history out."""
    from alphaclip.indexing.explore.searches import recent

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
    asked = as_asked(found)
    row = {"what": shorten(describe(asked), 80), "mode": asked["mode"]}
    return {**row, "where": ", ".join(asked["keys"])}
