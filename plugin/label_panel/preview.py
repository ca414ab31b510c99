"""What the classes would be: how many regions of each, and some of them."""

import json
import threading
from collections import OrderedDict
from dataclasses import asdict

from ..common.indexes import open_index
from ..common.tiles import BACKGROUND, data_uri, draw_crops

CROPS, CROP, GAP = 6, 88, 4
KEPT = 16

_found, _lock, _turn = OrderedDict(), threading.Lock(), threading.Lock()


def previews(dataset, key, classes, wrong=()):
    """Takes all regions for a class; for the same classes as before, what came of it then.

    Args:
        key: of the index
        classes: a list of ``LabelClass``
        wrong (()): ids of regions that are none of them

    Returns:
        see ``preview_classes``
    """
    from alphaclip.indexing.labelling.review.previewing import preview_classes

    index = open_index(dataset, key)
    told = json.dumps([[asdict(one) for one in classes], *wrong])
    name = (str(dataset._doc.id), key, index.snapshot().version.number, told)
    # One after the other: whoever types and goes on has the second answered from memory
    with _turn:
        with _lock:
            if name in _found:
                _found.move_to_end(name)
                return _found[name]

        none = dict.fromkeys(wrong)
        found = preview_classes(index, classes, none, examples=CROPS, progress=lambda *told: None)
        with _lock:
            _found[name] = found
            while len(_found) > KEPT:
                _found.popitem(last=False)

    return found


def draw_strips(some):
    """Draws the regions of each class side by side.

    Args:
        some: a list of ``ClassPreview``

    Returns:
        a picture of each, as an address; None for a class of nothing
    """
    from PIL import Image

    from alphaclip.indexing.retrieval.hit_listing import list_hits

    listed = [list_hits(one.hits) for one in some]
    crops = iter(draw_crops([(hit.image, hit.region) for hits in listed for hit in hits], CROP))
    strips = []
    for hits in listed:
        sheet = Image.new("RGB", (max(len(hits), 1) * (CROP + GAP) - GAP, CROP), BACKGROUND)
        for number in range(len(hits)):
            sheet.paste(next(crops), (number * (CROP + GAP), 0))

        strips.append(data_uri(sheet) if hits else None)

    return strips
