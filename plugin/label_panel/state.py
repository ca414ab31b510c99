"""What the panel keeps in the browser, and how it is read.

The App gives all tabs of a dataset the same panel: the state that one tab gets reaches the others
too, while these go on showing what they showed. So each button says which screen it stands on, and
the screens are kept here, to be brought back when one of their buttons is pressed. What a person
answers is no part of a screen: see :mod:`answers`.
"""

import copy
import hashlib
import uuid
from functools import partial

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_keys

from ..common.panels import Screens, dataset_id, drop_data, errors_shown, events

CLASSES, LABEL, REVIEW, REPORT = "classes", "label", "review", "report"
STEPS = {CLASSES: "Classes", LABEL: "Label", REVIEW: "Review", REPORT: "Report"}
FORM = {
    "step": CLASSES,
    "where.into": "auto",
    "promise.mode": "promise",
    "goal.precision": 0.95,
    "goal.confidence": 0.9,
    "choices.per_class": False,
    "choices.overwrite": False,
    "choices.retrain": False,
    "examples": {},
    "edition": 1,
    "seen": "",
}
SCREEN = ("step", "preview", "review", "report")
DATA = ("previews", "gallery", "reliability", "by_class")

_screens = Screens()


def prepare(ctx):
    """Fills in what a panel that was just opened does not have yet."""
    state = ctx.panel.get_state
    missing = {name: value for name, value in FORM.items() if state(name) is None}
    if state("dataset") != dataset_id(ctx):
        missing.update({"preview": None, "review": None, "report": None, "examples": {}})
        missing.update({"dataset": dataset_id(ctx), "opened": None})

    keys = index_keys(ctx.dataset) if ctx.dataset is not None else []
    if state("where.key") not in keys:
        missing["where.key"] = keys[0] if keys else None

    ctx.panel.state.set(missing)


def reviewer_of(ctx):
    """Names the person whose answers are kept."""
    user = ctx.user
    return str(getattr(user, "name", None) or getattr(user, "email", None) or "app")


def chosen_key(ctx):
    """Reads which index is meant.

    Raises:
        AlphaClipError: if there is no such index
    """
    keys, key = index_keys(ctx.dataset), ctx.panel.get_state("where.key")
    if key not in keys:
        known = ", ".join(keys) or "none"
        raise AlphaClipError(
            "Index %r is gone: choose another one; the dataset has: %s" % (key, known)
        )

    return key


def chosen_into(ctx):
    """Reads where labels are to be written."""
    return str(ctx.panel.get_state("where.into") or "").strip() or FORM["where.into"]


def text_field(ctx):
    """Names the field that a person types the classes into: a new one each time that the panel
    fills it in, as the App leaves a field alone once somebody has typed into it.
    """
    return "classes.text_%d" % (ctx.panel.get_state("edition") or 1)


def digest_of(typed):
    """Names a text.

    Args:
        typed: the text

    Returns:
        letters and digits; an empty text for none
    """
    return hashlib.sha256(typed.encode()).hexdigest()[:16] if typed.strip() else ""


def screen(ctx):
    """Reads what is shown."""
    return copy.deepcopy({name: ctx.panel.get_state(name) for name in SCREEN})


def _run(event, panel, ctx, bring_back=lambda ctx: False):
    drop_data(ctx, DATA)
    before = screen(ctx)
    with errors_shown(ctx, "Label regions"):
        if ctx.dataset is not None and bring_back(ctx):
            before = screen(ctx)
            panel.redraw(ctx)

        event(panel, ctx)

    if ctx.dataset is not None:
        _keep(ctx, before)


def _bring_back(ctx):
    """Shows the screen that a button stands on; says whether it was another one."""
    stamp = ctx.params.get("search")
    if not stamp or stamp == ctx.panel.get_state("stamp"):
        return False

    kept = _screens.get((dataset_id(ctx), stamp))
    if kept is not None:
        ctx.panel.state.set({**kept, "stamp": stamp})

    return kept is not None


def _keep(ctx, before):
    now = screen(ctx)
    if now == before and ctx.panel.get_state("stamp"):
        return

    stamp = uuid.uuid4().hex[:12]
    ctx.panel.state.set("stamp", stamp)
    _screens.keep((dataset_id(ctx), stamp), now)


guarded = events(partial(_run, bring_back=_bring_back), {"error": None, "class_error": None})
"""For the events of the panel: what goes wrong is shown in it."""

timed = events(_run)
"""The same for what a timer or the App calls: an error that is shown stays, and so does the screen,
as a timer keeps the one that it began on."""
