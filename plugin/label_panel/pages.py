"""The pages of the review: which regions stand on one, and their crops."""

import logging

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.review.queueing import review_queue
from alphaclip.indexing.labelling.review.runs import labelled_fields, labelling_of
from alphaclip.indexing.retrieval.index import names_in

from ..common.forms import shorten
from ..common.indexes import named_hits, open_index
from ..common.tiles import PAGE, data_uri, draw_crops
from . import answers
from .class_form import read_classes
from .state import reviewer_of

ALL, QUEUE, NOTHING = "all", "queue", "none"
MOST_CHOICES, MOST_BEFORE = 300, 1_200
OFFERED = 5

logger = logging.getLogger(__name__)


def first_page(ctx, into, only=ALL):
    """Shows what waits first.

    Args:
        into: what is labelled into
        only ("all"): "queue" for what teaches alone; "none", or "c" and the number of a class, for
            what was taken for that alone

    Raises:
        AlphaClipError: if nothing was labelled into it
    """
    answers.known(ctx.dataset, into, reviewer_of(ctx), afresh=True)
    _show(ctx, into, only, [])


def queue_page(ctx):
    """Shows the page after the one that is shown; after the last, what is left of all."""
    review = ctx.panel.get_state("review")
    shown = [tile["id"] for tile in review["tiles"]]
    _show(ctx, review["into"], review["only"], [*review["before"], *shown][-MOST_BEFORE:])


def previous_page(ctx):
    """Shows the page before the one that is shown, with what was answered."""
    review = ctx.panel.get_state("review")
    before = review["before"]
    if before:
        shown = before[-PAGE:]
        _show(ctx, review["into"], review["only"], before[: -len(shown)], shown)


def draw_page(ctx):
    """Draws the crops of the page that is shown."""
    review = ctx.panel.get_state("review")
    if review and review["tiles"]:
        tiles = review["tiles"]
        crops = draw_crops(_pictures_of(ctx, review["key"], [tile["id"] for tile in tiles]))
        drawn = {
            "t" + tile["id"]: {"crop": data_uri(crop)}
            for tile, crop in zip(tiles, crops, strict=True)
        }
        ctx.panel.data.set("gallery", drawn)


def _show(ctx, into, only, before, shown=None):
    """Shows some regions, or those that wait next."""
    queue, labelling = review_queue(ctx.dataset, into), labelling_of(ctx.dataset, into)
    known = answers.known(ctx.dataset, into, reviewer_of(ctx))
    waiting = [one for one in queue.items if _is_meant(one, only, labelling.classes)]
    after = [one for one in waiting if one.label_id not in {*before, *(shown or [])}]
    if shown is None and not after:
        before, after = [], waiting

    if shown is None:
        shown = [one.label_id for one in after if one.purpose == after[0].purpose][:PAGE]

    tiles = _tiles(ctx, labelling, shown)
    given = [tile["purpose"] for tile in tiles if tile["id"] in known.answers]
    review = {
        "into": into,
        "key": labelling.key,
        "only": only,
        "before": before,
        "after": sum(one.label_id not in shown for one in after),
        "tiles": tiles,
        "sample": queue.sample,
        "reviewed": queue.reviewed - given.count("promise"),
        "waiting": queue.waiting + given.count("training"),
        "tested": bool(labelling.tested_with),
        "failed": labelling.has_failed,
        "lost": bool(labelling.report.get("is_lost")),
        "next": labelling.report.get("next_sample", 0),
        "stale": _is_stale(ctx, labelling),
        "places": [[name, name] for name in labelled_fields(ctx.dataset)],
        "choices": _choices(labelling.classes),
    }
    ctx.panel.state.set({"review": review, "what.place": into, "what.only": only})
    draw_page(ctx)


def _tiles(ctx, labelling, label_ids):
    drawn = set(labelling.draws[-1]["label_ids"] if labelling.draws else ())
    maybe = _maybe(ctx, labelling, label_ids)
    return [
        {
            "id": label_id,
            "answer": labelling.answers.get(label_id),
            "purpose": "promise" if label_id in drawn else "training",
            "maybe": maybe.get(label_id, list(labelling.classes[:OFFERED])),
        }
        for label_id in label_ids
    ]


def _maybe(ctx, labelling, label_ids):
    """The classes that regions may be."""
    from alphaclip.indexing.labelling.review.previewing import review_choices

    try:
        return review_choices(
            open_index(ctx.dataset, labelling.key), labelling, label_ids, OFFERED + 1
        )
    except AlphaClipError:
        logger.warning("what wrong regions may be could not be told", exc_info=True)
        return {}


def _pictures_of(ctx, key, label_ids):
    """The picture and region of each; a region that is gone has no picture."""
    from alphaclip.indexing.retrieval.hit_listing import list_hits

    index = open_index(ctx.dataset, key)
    listed = list_hits(named_hits(index, label_ids))
    names = names_in([index], [(hit.sample_id, hit.label_id) for hit in listed])
    by_name = dict(zip(names, listed, strict=True))
    hits = [by_name.get(label_id) for label_id in label_ids]
    return [(hit.image, hit.region) if hit and hit.region else ("", None) for hit in hits]


def _is_meant(item, only, classes):
    if only == ALL:
        return True

    if only == QUEUE:
        return item.purpose == "training"

    if only == NOTHING:
        return item.answer is None

    number = only[1:]
    return number.isdigit() and int(number) < len(classes) and classes[int(number)] == item.answer


def _choices(classes):
    few = classes if len(classes) <= MOST_CHOICES else ()
    named = [["c%d" % number, shorten(name, 40)] for number, name in enumerate(few)]
    return [[ALL, "all"], [QUEUE, "the queue: teach first"], *named, [NOTHING, "none of these"]]


def _is_stale(ctx, labelling):
    """Whether the classes in the form are others than those of the last run."""
    from alphaclip.indexing.labelling.scoring.classes import LabelClass

    try:
        classes = read_classes(ctx)
    except AlphaClipError:
        return False

    was = [LabelClass.from_dict(one) for one in labelling.class_set]
    return bool(was) and was != classes
