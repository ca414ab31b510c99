"""The keys of the gallery, which the component in ``js/keys.js`` listens to."""

import fiftyone.operators.types as types

from ..common.panels import COMPONENT, ONLY_WITH_SCRIPT
from .state import shows_pictures
from .tabs import search_of

KEYS = {
    "arrows": "move",
    "y": "right",
    "n": "wrong",
    "s": "select",
    "u": "undo the last mark",
    "[ ]": "pages",
}
FOR_REGIONS = ("y", "n")
KEYS_HELP = """

**Keys**, while the mouse is over the panel or the panel has the focus:

- arrows, or `h` `j` `k` `l`: move the blue frame over the crops
- `y`: right, and on to the next crop
- `n`: wrong, and on to the next crop
- `s`: select, or not any more
- `u`: take back the last thing that a key marked or selected
- `[` and `]`: the previous and the next page
"""


def add_keys(ctx, root, panel, pages):
    """Has the gallery listen to keys, and says which.

    Args:
        panel: whose events the keys are
        pages: how many there are
    """
    state = ctx.panel.get_state
    marking = {"on_right": panel.on_right, "on_wrong": panel.on_wrong}
    if shows_pictures(ctx):
        marking = {}

    view = types.ComponentView(
        COMPONENT,
        help=_say(marking),
        tiles=[tile["id"] for tile in state("tiles")],
        page=state("page") or 0,
        pages=pages,
        search=search_of(ctx),
        right=state("right") or [],
        wrong=state("wrong") or [],
        select=state("selected") or [],
        on_select=panel.on_select,
        on_previous=panel.on_previous,
        on_next=panel.on_next,
        componentsProps={"item": {"sx": ONLY_WITH_SCRIPT}},
        **marking,
    )
    root.view("keys", view)


def _say(marking):
    keys = (key for key in KEYS if marking or key not in FOR_REGIONS)
    return "keys: " + ", ".join("%s %s" % (key, KEYS[key]) for key in keys)
