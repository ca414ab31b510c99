"""The keys of the review, which the component in ``js/keys.js`` listens to."""

import fiftyone.operators.types as types

from ..common.panels import COMPONENT, ONLY_WITH_SCRIPT

KEYS = (
    "keys: arrows move, y right, n wrong, s skip, u undo, [ ] pages; click right, alt-click wrong"
)
KEYS_HELP = """

**Keys** in the review, while the mouse is over the panel or the panel has the focus:

- arrows, or `h` `j` `k` `l`: move the blue frame over the crops
- `y`: right, and on to the next crop; so does a click on a crop
- `n`: wrong, and on to the next crop; so does a click with the Alt key
- `s`: skip what you cannot tell, and on to the next crop
- `u`: take back the last answer that a key gave
- `[` and `]`: the page before, and the next one
"""


def add_review_keys(root, panel, review, known):
    """Has the crops listen to keys, and says which.

    Args:
        panel: whose events the keys are
        review: of the state
        known: an :class:`answers.Known`
    """
    signs = {tile["id"]: known.sign(tile["id"], tile["answer"]) for tile in review["tiles"]}
    marked = {
        name: [label_id for label_id, sign in signs.items() if sign == name]
        for name in ("right", "wrong", "skip")
    }
    params = {
        tile["id"]: {"answer": tile["answer"], "into": review["into"]} for tile in review["tiles"]
    }
    view = types.ComponentView(
        COMPONENT,
        help=KEYS,
        tiles=list(signs),
        params=params,
        log=review["into"],
        page=1 if review["before"] else 0,
        pages=(1 if review["before"] else 0) + 1 + (1 if review["after"] else 0),
        on_right=panel.on_right,
        on_wrong=panel.on_wrong,
        on_skip=panel.on_skip,
        on_take_back=panel.on_take_back,
        on_previous=panel.on_previous,
        on_next=panel.on_next,
        componentsProps={"item": {"sx": ONLY_WITH_SCRIPT}},
        **marked,
    )
    root.view("keys", view)
