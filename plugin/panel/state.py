"""What the panel keeps in the browser, and how it is read.

The state goes back and forth with every click, so it holds ids and numbers only; pictures and plots
are the panel's data, which the browser keeps.
"""

import json
import time

from bson import json_util

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_keys

from ..common.panels import dataset_id, drop_data, errors_shown, events
from . import marks, tabs

REGIONS, UNLABELLED, PICTURES = "regions", "unlabelled", "pictures"
DEFAULT_K = 48
MAX_K = 10_000
MAX_CHARACTERS = 2_000
NUMBERS = ("x", "y", "width", "height")
FORM = {
    "words.query": "",
    "words.avoid": "",
    "where.mode": REGIONS,
    "where.k": DEFAULT_K,
    "where.min_score": None,
    "where.inside": False,
}
RESULT = {
    "asked": None,
    "found": None,
    "tiles": [],
    "page": 0,
    "selected": [],
    "right": [],
    "wrong": [],
    "why": None,
    "pending": None,
}
DATA = ("gallery", "spread", "picture.preview", "why_shown.picture")
EXAMPLES = {"like": [], "unlike": [], "token": None}


def prepare(ctx):
    """Fills in what a panel that was just opened does not have yet."""
    missing = {
        name: value
        for name, value in {**FORM, **RESULT, **EXAMPLES}.items()
        if ctx.panel.get_state(name) is None and value is not None
    }
    if (ctx.panel.get_state("asked") or {}).get("dataset") != dataset_id(ctx):
        missing.update(RESULT)

    if ctx.panel.get_state("looked") is None:
        missing["looked"] = time.time()

    keys = index_keys(ctx.dataset) if ctx.dataset is not None else []
    chosen = [key for key in ctx.panel.get_state("where.keys") or [] if key in keys]
    missing["where.keys"] = chosen or keys[:1]
    ctx.panel.state.set(missing)


def ask(ctx):
    """Reads the form.

    Returns:
        what is asked, see :mod:`asking`

    Raises:
        AlphaClipError: if a value cannot be used
    """
    state = ctx.panel.get_state
    stages = None
    if state("where.inside") and ctx.view is not None:
        stages = json.loads(json_util.dumps(ctx.view._serialize(include_uuids=False)))

    return {
        "dataset": dataset_id(ctx),
        "mode": state("where.mode") or REGIONS,
        "words": _text("Search for", state("words.query")),
        "avoid": _text("But not", state("words.avoid")),
        "like": list(state("like") or []),
        "unlike": list(state("unlike") or []),
        "picture": read_picture(ctx),
        "keys": _keys(ctx),
        "k": _whole_number(state("where.k")),
        "min_score": _cosine(state("where.min_score")),
        "stages": stages or None,
        "right": [],
        "wrong": [],
        "at": time.time(),
    }


def read_picture(ctx):
    """Reads the picture that is part of the query, and its box.

    Returns:
        a dict of ``token`` and ``box``, or None if there is no picture
    """
    token = ctx.panel.get_state("token")
    if not token:
        return None

    numbers = [ctx.panel.get_state("picture.box.%s" % name) for name in NUMBERS]
    given = [number for number in numbers if number is not None]
    if given and len(given) < len(NUMBERS):
        raise AlphaClipError(
            "The box has %d of 4 numbers: give x, y, width and height, or none of them" % len(given)
        )

    return {"token": str(token), "box": [float(number) for number in given] or None}


def shows_pictures(ctx):
    """Says whether what was found are whole pictures."""
    asked = ctx.panel.get_state("asked")
    return bool(asked) and asked["mode"] == PICTURES


def threshold(ctx):
    """Reads the slider.

    Returns:
        the lowest cosine
    """
    least = ctx.panel.get_state(threshold_name(ctx))
    if least is None:
        raise AlphaClipError("Nothing was searched yet")

    return float(least)


def threshold_name(ctx):
    """Says where the slider's value is; see :func:`move_threshold`."""
    return "cut.%s" % ctx.panel.get_state("cut.name")


def move_threshold(ctx, least):
    """Moves the slider.

    The App sends an event of its own, with an older state, when the value of a field changes that
    is on the screen. So a slider that is moved from here is a new one.

    Args:
        least: the lowest cosine
    """
    number = (ctx.panel.get_state("cut.number") or 0) + 1
    name = "t%s_%d" % (tabs.search_of(ctx), number)
    ctx.panel.state.set({"cut.number": number, "cut.name": name, "cut.%s" % name: least})


def _run(event, panel, ctx):
    drop_data(ctx, DATA)
    before = tabs.shown(ctx)
    with errors_shown(ctx, "Region search"):
        if ctx.dataset is not None:
            was_other = tabs.bring_back(ctx)
            before = tabs.shown(ctx)
            if was_other and tabs.is_of_slider(ctx):
                move_threshold(ctx, float(ctx.params["value"]))

            marks.catch_up(ctx)

        event(panel, ctx)

    if ctx.dataset is not None:
        # Somebody may have clicked meanwhile, and what is shown next is made of this state.
        marks.catch_up(ctx)
        tabs.keep(ctx, before)


guarded = events(_run, {"error": None})
"""For the events of the panel: what goes wrong is shown in it."""

timed = events(_run)
"""The same for what a timer or the App calls: an error that is shown stays."""


def _keys(ctx):
    keys = ctx.panel.get_state("where.keys") or []
    keys = [keys] if isinstance(keys, str) else list(keys)
    if not keys:
        raise AlphaClipError("Choose an index to search")

    return keys


def _text(name, value):
    text = str(value or "").strip()
    if len(text) > MAX_CHARACTERS:
        raise AlphaClipError(
            "“%s” has %d characters: a few words are enough, %d at most"
            % (name, len(text), MAX_CHARACTERS)
        )

    return text


def _whole_number(value):
    if value is None or value != value:
        return DEFAULT_K

    if int(value) != value or not 1 <= value <= MAX_K:
        raise AlphaClipError(
            "“At most” is %g: expected a whole number from 1 to %d" % (value, MAX_K)
        )

    return int(value)


def _cosine(value):
    if value is None or value != value:
        return None

    if not -1 <= value <= 1:
        raise AlphaClipError("The minimum score is %g: a cosine is between -1 and 1" % value)

    return float(value)
