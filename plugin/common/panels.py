"""What the panels have in common."""

import copy
import logging
import threading
from collections import OrderedDict
from contextlib import contextmanager
from functools import wraps

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError

KEPT = 200
"""Screens: tabs that nobody looked at for so many searches have to search again."""

CALLS = ("on_click", "operator", "on_interval")
COMPONENT = "AlphaClipKeys"
# Without its script the App would say "Unsupported view" here
ONLY_WITH_SCRIPT = {"&:not(:has([data-keys]))": {"display": "none"}}

logger = logging.getLogger(__name__)


def event(method):
    """Makes a method an event of a panel with a page in JavaScript. What goes wrong is returned as
    ``error``: the App would put an error page in the panel's stead, and what it had were lost.
    """

    @wraps(method)
    def call(panel, ctx):
        try:
            return method(panel, ctx) or {}
        except AlphaClipError as error:
            return {"error": str(error)}
        except Exception as error:
            logger.exception("the event %r of a panel did not work", method.__name__)
            return {"error": "%s: %s" % (type(error).__name__, error)}

    call.is_event = True
    return call


class Screens:
    """What was shown last under each of many names, to be brought back; the oldest are forgotten.
    Values go in and come out as copies.
    """

    def __init__(self):
        self._screens, self._lock = OrderedDict(), threading.Lock()

    def get(self, name):
        """Returns what is kept under a name.

        Args:
            name: anything hashable

        Returns:
            a dict, or None
        """
        with self._lock:
            return copy.deepcopy(self._screens.get(name))

    def keep(self, name, values, start=None):
        """Keeps values, besides the others that are kept under the name.

        Args:
            name: anything hashable
            values: a dict
            start (None): a dict of what is kept besides if nothing is yet
        """
        with self._lock:
            kept = self._screens.get(name, start or {})
            self._screens[name] = copy.deepcopy({**kept, **values})
            self._screens.move_to_end(name)
            while len(self._screens) > KEPT:
                self._screens.popitem(last=False)


def events(run, cleared=None):
    """Makes a decorator for the events of a panel.

    Args:
        run: called with an event, the panel and ``ctx``: what all events of the panel have around
            them
        cleared (None): what is set before, a dict of the state
    """

    def decorate(event):
        @wraps(event)
        def call(panel, ctx):
            if cleared:
                ctx.panel.state.set(cleared)

            run(event, panel, ctx)

        return call

    return decorate


@contextmanager
def errors_shown(ctx, panel):
    """Shows what goes wrong in an event of a panel, in the panel.

    Args:
        panel: what it is called
    """
    try:
        yield
    except AlphaClipError as error:
        ctx.panel.state.set("error", str(error))
    except Exception as error:
        logger.exception("an event of the panel “%s” did not work", panel)
        ctx.panel.state.set("error", "%s: %s" % (type(error).__name__, error))


def drop_data(ctx, names):
    """Drops data of a panel from its state, where the App copies it when somebody types.

    Args:
        names: of the data
    """
    for name in names:
        if ctx.panel.get_state(name) is not None:
            ctx.panel.state.set(name, None)


def dataset_id(ctx):
    """Tells the dataset from all others.

    Returns:
        a text, or None if no dataset is open
    """
    return None if ctx.dataset is None else str(ctx.dataset._doc.id)


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
