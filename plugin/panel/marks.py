"""What a person selects and marks in the gallery.

Clicks may come faster than their answers, each with a state that does not know of the one before,
so what is marked for a search is kept here too; the browser's copy counts after a restart.
"""

import threading
from collections import OrderedDict

LISTS = ("selected", "right", "wrong")
KEPT = 200

_marked, _lock = OrderedDict(), threading.RLock()


def toggle(ctx, name, value, other=None):
    """Marks a region, or takes its mark away.

    Args:
        name: "selected", "right" or "wrong"
        value: the region's id
        other (None): the list in which it cannot be at the same time
    """
    with _lock:
        lists = _current(ctx)
        known = lists[name]
        lists[name] = [one for one in known if one != value] if value in known else [*known, value]
        if other and value in lists[name]:
            lists[other] = [one for one in lists[other] if one != value]

        put(ctx, **lists)


def put(ctx, **lists):
    """Sets what is marked.

    Args:
        **lists: ids, by the name of the list
    """
    with _lock:
        _marked[_key(ctx)] = {**_current(ctx), **lists}
        while len(_marked) > KEPT:
            _marked.popitem(last=False)

    ctx.panel.state.set(lists)


def catch_up(ctx):
    """Brings an old state of the browser up to date."""
    with _lock:
        for name, known in _marked.get(_key(ctx), {}).items():
            if known != (ctx.panel.get_state(name) or []):
                ctx.panel.state.set(name, known)


def _current(ctx):
    state = {name: list(ctx.panel.get_state(name) or []) for name in LISTS}
    return dict(_marked.get(_key(ctx), state))


def _key(ctx):
    asked = ctx.panel.get_state("asked") or {}
    return str(ctx.dataset._doc.id), ctx.panel.id, asked.get("at")
