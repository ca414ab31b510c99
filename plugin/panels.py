"""
What the panels have in common.
"""

import logging
from contextlib import contextmanager

from alphaclip.errors import AlphaClipError

logger = logging.getLogger(__name__)


@contextmanager
def errors_shown(ctx, panel):
    """Shows what goes wrong in an event of a panel, in the panel.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`
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
        ctx: the :class:`fiftyone.operators.ExecutionContext`
        names: of the data
    """
    for name in names:
        if ctx.panel.get_state(name) is not None:
            ctx.panel.state.set(name, None)


def dataset_id(ctx):
    """Tells the dataset from all others.

    Args:
        ctx: the :class:`fiftyone.operators.ExecutionContext`

    Returns:
        a text, or None if no dataset is open
    """
    return None if ctx.dataset is None else str(ctx.dataset._doc.id)
