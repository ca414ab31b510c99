"""What the panels have in common."""

import logging
from functools import wraps

import fiftyone.operators.types as types

from alphaclip.errors import AlphaClipError

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


def page_of(panel, component):
    """Makes what a panel renders: its page, which is told how to call each of its events.

    Args:
        component: the name that the page is registered under in ``plugin/js``
    """
    names = [
        name for name in dir(type(panel)) if getattr(getattr(type(panel), name), "is_event", 0)
    ]
    events = {name: getattr(panel, name) for name in names}
    view = types.View(component=component, composite_view=True, **events)
    return types.Property(types.Object(), view=view)


def dataset_id(ctx):
    """Tells the dataset from all others.

    Returns:
        a text, or None if no dataset is open
    """
    return None if ctx.dataset is None else str(ctx.dataset._doc.id)
