"""The regions that wait for a person, and what the person answers."""

import logging

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling.review.queueing import review_queue
from alphaclip.indexing.labelling.review.runs import add_reviews, book_of
from alphaclip.indexing.labelling.scoring.classes import LabelClass
from alphaclip.indexing.retrieval.index import names_in

from ..common.forms import shorten
from ..common.indexes import named_hits, open_index
from ..common.panels import event
from ..common.tiles import data_uri, draw_crops
from .classes import read_classes
from .labelled import labelling_in, reviewer_of

MOST_CROPS, MIN_SIDE, MAX_SIDE = 200, 32, 640
MOST_NAMES = 2_000
NUMBERS = 9
"""Classes on number keys; 0 is none of these."""

logger = logging.getLogger(__name__)


class ReviewEvents:
    """Events of the review. Each says what is labelled into."""

    @event
    def review(self, ctx):
        """What waits, the sample first, with what this person has answered of it."""
        labelling = labelling_in(ctx.dataset, ctx.params.get("into"))
        queue = review_queue(ctx.dataset, labelling.into)
        report = labelling.report
        return {
            "into": labelling.into,
            "classes": list(labelling.classes[:MOST_NAMES]),
            "items": _items(ctx, labelling, queue),
            "sample": queue.sample,
            "reviewed": queue.reviewed,
            "waiting": queue.waiting,
            "is_tested": bool(labelling.tested_with),
            "has_failed": labelling.has_failed,
            "is_lost": bool(report.get("is_lost")),
            "next_sample": report.get("next_sample", 0),
            "is_stale": _is_stale(ctx, labelling),
        }

    @event
    def answer(self, ctx):
        """Keeps answers: ``answers``, a class or None of each label id, ``skipped`` and
        ``withdrawn``, label ids."""
        labelling = labelling_in(ctx.dataset, ctx.params.get("into"))
        answers = dict(check("answers", ctx.params.get("answers") or {}, "Mapping[str, Any]"))
        skipped, withdrawn = (
            check(name, ctx.params.get(name) or [], "Sequence[str]")
            for name in ("skipped", "withdrawn")
        )
        _check_regions(labelling, [*answers, *skipped, *withdrawn])
        wrong = [one for one in answers.values() if one not in (None, *labelling.classes)]
        if wrong:
            raise AlphaClipError(
                "%r is no class of this run any more, so the answer was not kept: open “Review” "
                "again" % shorten(str(wrong[0]), 80)
            )

        add_reviews(
            ctx.dataset, labelling.into, answers, skipped=skipped, withdrawn=withdrawn,
            reviewer=reviewer_of(ctx),
        )  # fmt: skip

    @event
    def choices(self, ctx):
        """The classes that regions may be, the likeliest first."""
        from alphaclip.indexing.labelling.review.previewing import review_choices

        labelling = labelling_in(ctx.dataset, ctx.params.get("into"))
        ids = check("ids", ctx.params["ids"], "Sequence[str]")[:MOST_CROPS]
        index = open_index(ctx.dataset, labelling.key)
        return {"choices": review_choices(index, labelling, ids, NUMBERS)}

    @event
    def crops(self, ctx):
        """Some regions in their order, with their crops; one that is gone has no sample."""
        labelling = labelling_in(ctx.dataset, ctx.params.get("into"))
        ids = check("ids", ctx.params["ids"], "Sequence[str]")[:MOST_CROPS]
        side = min(max(check("side", ctx.params["side"], "int"), MIN_SIDE), MAX_SIDE)
        tiles, sources = [], []
        for name, hit in zip(ids, _hits(ctx.dataset, labelling.key, ids), strict=True):
            is_there = hit is not None and hit.region is not None
            tiles.append(
                {
                    "id": name,
                    "sample": hit.sample_id if is_there else None,
                    "label_id": hit.label_id if is_there else None,
                    "field": open_index(ctx.dataset, labelling.key).field,
                }
            )
            sources.append((hit.image, hit.region) if is_there else ("", None))

        crops = map(data_uri, draw_crops(sources, side))
        return {"tiles": [{**tile, "crop": crop} for tile, crop in zip(tiles, crops, strict=True)]}


def _items(ctx, labelling, queue):
    """What nobody has answered, or this person has."""
    who, book = reviewer_of(ctx), book_of(ctx.dataset, labelling)
    given = {**book.answers["training"], **book.answers["promise"]}
    open_ = {one.label_id for one in queue.items}
    items = []
    for purpose, ids in (("promise", book.sample), ("training", labelling.queue)):
        for label_id in ids:
            mine = given.get(label_id, {})
            if label_id not in labelling.answers or not (label_id in open_ or who in mine):
                continue

            item = {"id": label_id, "taken_for": labelling.answers[label_id], "purpose": purpose}
            items.append({**item, "answer": mine[who]} if who in mine else item)

    return items


def _hits(dataset, key, ids):
    """The hit of each region; None of one that is gone."""
    from alphaclip.indexing.retrieval.hit_listing import list_hits

    index = open_index(dataset, key)
    listed = list_hits(named_hits(index, ids))
    names = names_in([index], [(hit.sample_id, hit.label_id) for hit in listed])
    by_name = dict(zip(names, listed, strict=True))
    return [by_name.get(one) for one in ids]


def _check_regions(labelling, ids):
    drawn = (one for draw in labelling.draws for one in draw["label_ids"])
    asked = {*labelling.answers, *drawn}
    others = [one for one in ids if one not in asked]
    if others:
        raise AlphaClipError(
            "Region %r does not wait for a review any more: open “Review” again"
            % shorten(others[0], 40)
        )


def _is_stale(ctx, labelling):
    """Whether the classes in the form are others than those of the last run."""
    try:
        classes = read_classes(ctx.dataset, ctx.params.get("classes"))
    except AlphaClipError:
        return False

    was = [LabelClass.from_dict(one) for one in labelling.class_set]
    return bool(was) and was != classes
