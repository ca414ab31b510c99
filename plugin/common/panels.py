"""What the panels have in common."""

import logging
from functools import wraps

import fiftyone.operators.types as types
from fiftyone.operators.panel import Panel

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


class PagePanel(Panel):
    """A panel with a page in JavaScript.

    Attributes:
        component: the name that the page is registered under in ``plugin/js``
    """

    component = None

    def execute(self, ctx):
        method = ctx.params.get("__method__") or ""
        if self._is_event(method):
            # Not rendered after it: the App would draw the whole panel anew for each answer
            return getattr(self, method)(ctx)

        return super().execute(ctx)

    def render(self, ctx):
        """Renders the page, which is told how to call each of the panel's events."""
        events = {name: getattr(self, name) for name in dir(type(self)) if self._is_event(name)}
        view = types.View(component=self.component, composite_view=True, **events)
        return types.Property(types.Object(), view=view)

    def _is_event(self, name):
        return getattr(getattr(type(self), name, None), "is_event", False)


def dataset_id(ctx):
    """Tells the dataset from all others.

    Returns:
        a text, or None if no dataset is open
    """
    return None if ctx.dataset is None else str(ctx.dataset._doc.id)
