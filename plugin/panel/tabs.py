"""What each tab shows.

The App gives all tabs of a dataset the same panel: the state that one tab gets reaches the others
too, while these go on showing what they showed. So each button and timer says for which search it
was made, and what is shown of a search is kept here, to be brought back when one of them calls.
"""

import copy
import re

from alphaclip.errors import AlphaClipError

from ..common.panels import Screens, dataset_id

CUT = "cut"
"""The slider's, which the browser sets itself."""

NAMES = (
    "asked",
    "found",
    "tiles",
    "page",
    "selected",
    "right",
    "wrong",
    "why",
    CUT,
    "own_actions",
    "action",
    "watched",
    "outcome",
)
SLIDER = re.compile(r"\.t(\d+)_\d+$")

_shown = Screens()


def search_of(ctx):
    """Names the search that the panel's state is of.

    Returns:
        digits; an empty text before the first search
    """
    return _name(ctx.panel.get_state("asked"))


def bring_back(ctx):
    """Gives the state that an event came with up for what is kept of its search: it may be another
    tab's, in part too, or older than what a click has changed meanwhile.

    Returns:
        whether the state was of another search

    Raises:
        AlphaClipError: if that is not kept any more
    """
    search = _meant(ctx)
    if search is None:
        return False

    was_other = search != search_of(ctx)
    kept = _shown.get(_key(ctx, search))
    if kept is None and search and was_other:
        raise AlphaClipError(
            "Another tab has searched since, and what this one showed is not kept any more: "
            "search again"
        )

    if kept is None and not was_other:
        return False

    now, kept = shown(ctx), kept or {}
    differing = (name for name in NAMES if kept.get(name) != now[name])
    ctx.panel.state.set({n: kept.get(n) for n in differing if was_other or n != CUT})
    return was_other


def is_of_slider(ctx):
    """Says whether an event is of the slider."""
    return _slider(ctx) is not None


def shown(ctx):
    """Reads what is shown of a search."""
    return copy.deepcopy({name: ctx.panel.get_state(name) for name in NAMES})


def keep(ctx, before):
    """Keeps what an event changed of what is shown of a search. The rest is left as it is kept: a
    timer's state may be older than what a click has changed meanwhile.

    Args:
        before: see :func:`shown`, when the event began
    """
    now = shown(ctx)
    changed = {name: now[name] for name in NAMES if name == CUT or now[name] != before[name]}
    _shown.keep(_key(ctx, search_of(ctx)), changed, start=now)


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
    return dataset_id(ctx), search
