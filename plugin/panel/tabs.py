"""
What each tab shows.

The App gives all tabs of a dataset the same panel: the state that one tab gets reaches the others
too, while these go on showing what they showed. So each button and timer says for which search it
was made, and what is shown of a search is kept here, to be brought back when one of them calls.
"""

import re
import threading
from collections import OrderedDict

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError

KEPT = 200
NAMES = (
    "asked",
    "found",
    "tiles",
    "page",
    "selected",
    "right",
    "wrong",
    "why",
    "cut",
    "own_actions",
    "action",
    "watched",
    "outcome",
)
CALLS = ("on_click", "operator", "on_interval")
SLIDER = re.compile(r"\.t(\d+)_\d+$")

_shown, _lock = OrderedDict(), threading.Lock()


def search_of(ctx):
    """Names the search that the panel's state is of.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`

    Returns:
        digits; an empty text before the first search
    """
    return _name(ctx.panel.get_state("asked"))


def stamp(root, search):
    """Has each button and timer say for which search it was made.

    Args:
        root: a :class:`fiftyone.operators.types.Object` with them
        search: see :func:`search_of`
    """
    for prop in root.properties.values():
        view = prop.view
        if view is not None and any(view._kwargs.get(name) for name in CALLS):
            params = {**(view._kwargs.get("params") or {}), "search": search}
            view.params = view._kwargs["params"] = params

        if isinstance(prop.type, types.Object):
            stamp(prop.type, search)


def bring_back(ctx):
    """Gives the state of another tab up for that of the search that an event is of.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`

    Returns:
        whether the state was another's

    Raises:
        AlphaClipError: if that is not kept any more
    """
    search = _meant(ctx)
    if search is None or search == search_of(ctx):
        return False

    with _lock:
        kept = _shown.get(_key(ctx, search))

    if kept is None and search:
        raise AlphaClipError(
            "Another tab has searched since, and what this one showed is not kept any more: "
            "search again"
        )

    ctx.panel.state.set({name: (kept or {}).get(name) for name in NAMES})
    return True


def is_of_slider(ctx):
    """Says whether an event is of the slider.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`

    Returns:
        True/False
    """
    return _slider(ctx) is not None


def keep(ctx):
    """Keeps what is shown of a search.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
    """
    shown = {name: ctx.panel.get_state(name) for name in NAMES}
    with _lock:
        key = _key(ctx, search_of(ctx))
        _shown[key] = shown
        _shown.move_to_end(key)
        while len(_shown) > KEPT:
            _shown.popitem(last=False)


def _meant(ctx):
    """The search of a slider, of a form that is done, or of a button or timer."""
    if is_of_slider(ctx):
        return _slider(ctx)[1]

    done = (ctx.params.get("original_params") or {}).get("asked")
    return _name(done) if done else ctx.params.get("search")


def _slider(ctx):
    return SLIDER.search(str(ctx.params.get("path", "")))


def _name(asked):
    return "%d" % (asked["at"] * 1000) if asked else ""


def _key(ctx, search):
    return str(ctx.dataset._doc.id), search
