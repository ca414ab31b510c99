"""
What the panel asks, as JSON, and the answers, which are kept while a person looks through them.

What was asked is a dict:

-   ``dataset``: the id of the dataset
-   ``mode``: "regions", "unlabelled" or "pictures"
-   ``words``, ``avoid``: texts
-   ``like``, ``unlike``: ids of labels that are examples
-   ``picture``: None, or a dict of ``token`` and ``box`` (None is the whole picture)
-   ``keys``: of the indexes
-   ``k``, ``min_score``: at most so many, none below (None: no limit)
-   ``stages``: of the view to search in, None for everything
-   ``right``, ``wrong``: ids of labels that were marked
-   ``at``: when it was asked, so that the same question asked anew is answered anew
"""

import json
import threading
from collections import OrderedDict, deque

import fiftyone as fo

from alphaclip.errors import AlphaClipError

from ..common.indexes import open_index
from .pictures import load_picture
from .state import PICTURES, REGIONS, UNLABELLED

KEPT_ANSWERS = 32

_answers, _begun, _lock = OrderedDict(), deque(maxlen=100), threading.RLock()


class NothingAsked(AlphaClipError):
    """A search without words, examples or a picture."""


def find(dataset, asked):
    """Finds what was asked.

    A search with another minimum score is not searched anew where the hits are known already.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        asked: see above

    Returns:
        hits, whose ``scores`` are cosines and whose ``view()`` shows them; of the mode "pictures"
        they have ``sample_ids`` only

    Raises:
        AlphaClipError: if that cannot be searched
    """
    least, everything = asked["min_score"], {**asked, "min_score": None}
    hits, _ = _remembered(dataset, "search", everything, _search)
    if least is None:
        return hits

    reach = hits.scores >= least
    in_order = not asked["avoid"] and not asked["unlike"]
    if in_order or reach.all() or asked["k"] is None or len(hits) < asked["k"]:
        return hits.take(reach)

    return _remembered(dataset, "find", asked, _find)


def find_these(dataset, asked, label_ids):
    """Finds some regions, whatever their score.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        asked: see above; pictures are not regions
        label_ids: of the regions

    Returns:
        hits; regions that are in no index any more are left out
    """
    from alphaclip.indexing.explore import several_indexes as joint

    wanted, against = vectors(dataset, asked)
    return joint.hits_of(indexes_of(dataset, asked), label_ids, wanted, against)


def find_above(dataset, asked, min_score):
    """Finds all that lies at or above a score, however many.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        asked: see above
        min_score: the lowest cosine

    Returns:
        hits
    """
    return _find(dataset, {**asked, "k": None, "min_score": min_score})


def measure(dataset, asked):
    """Counts the scores of all regions.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        asked: see above, of the mode "regions"

    Returns:
        an ``alphaclip.indexing.explore.scores.Distribution``
    """
    question = {**asked, "min_score": None}
    _, spread = _remembered(dataset, "search", question, _search)
    return spread


def vectors(dataset, asked):
    """Encodes a question.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        asked: see above

    Returns:
        float32 (m, dim) of what to look for, and the same of what to avoid, or None
    """
    question = {**asked, "k": None, "min_score": None, "stages": None}
    return _remembered(dataset, "vectors", question, _vectors)


def indexes_of(dataset, asked):
    """Opens the indexes that a question is for.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        asked: see above

    Returns:
        a list of indexes
    """
    return [open_index(dataset, key) for key in asked["keys"]]


def is_ready(dataset, asked):
    """Says whether the encoder is loaded.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        asked: see above

    Returns:
        True/False
    """
    return all("encoder" in vars(index) for index in indexes_of(dataset, asked))


def begin(asked):
    """Notes that a question is being answered.

    A timer of the App may go off twice, the second time with a state that is out of date.

    Args:
        asked: see above

    Returns:
        whether nobody has begun before
    """
    with _lock:
        fresh = asked["at"] not in _begun
        _begun.append(asked["at"])

    return fresh


def view_of(dataset, asked):
    """Gives the view that a question is about.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        asked: see above

    Returns:
        a :class:`fiftyone.core.view.DatasetView`, or None for everything
    """
    return fo.DatasetView._build(dataset, asked["stages"]) if asked["stages"] else None


def _remembered(dataset, what, asked, compute):
    key = (what, str(dataset._doc.id), json.dumps(asked, sort_keys=True))
    with _lock:
        if key in _answers:
            _answers.move_to_end(key)
            return _answers[key]

    answer = compute(dataset, asked)
    with _lock:
        _answers[key] = answer
        while len(_answers) > KEPT_ANSWERS:
            _answers.popitem(last=False)

    return answer


def _search(dataset, asked):
    """The hits and, for regions, the spread of all scores: both in one look at the vectors."""
    from alphaclip.indexing.explore import several_indexes as joint

    if asked["mode"] != REGIONS:
        return _find(dataset, asked), None

    wanted, against = vectors(dataset, asked)
    opened, view = indexes_of(dataset, asked), view_of(dataset, asked)
    return joint.find_and_measure(opened, wanted, asked["k"], view, against)


def _find(dataset, asked):
    from alphaclip.indexing.explore import several_indexes as joint

    if asked["mode"] == PICTURES:
        return _find_pictures(dataset, asked)

    wanted, against = vectors(dataset, asked)
    options = {"view": view_of(dataset, asked), "min_score": asked["min_score"]}
    opened = indexes_of(dataset, asked)
    if asked["mode"] == UNLABELLED:
        return _find_unlabelled(opened, asked, wanted, against, options)

    return joint.search(opened, wanted, k=asked["k"], negative=against, **options)


def _find_pictures(dataset, asked):
    from alphaclip.indexing.explore.picture_search import find_pictures

    present, absent = parts(asked["words"]), parts(asked["avoid"])
    if not present:
        raise NothingAsked("Type what the pictures show, with commas between the things.")

    return find_pictures(
        indexes_of(dataset, asked),
        present,
        absent,
        k=asked["k"],
        view=view_of(dataset, asked),
        min_score=asked["min_score"],
    )


def _find_unlabelled(opened, asked, wanted, against, options):
    from alphaclip.indexing.dataset.labels import region_fields
    from alphaclip.indexing.explore.unlabelled import find_unlabelled

    if len(opened) > 1:
        raise AlphaClipError(
            "Choose one index, that of the proposals, to look for what has no label"
        )

    index = opened[0]
    others = [name for name in region_fields(index.dataset) if name != index.field]
    if not others:
        raise AlphaClipError(
            "Index %r is of field %r, and the dataset has no other field with labels to compare "
            "with: “Segment regions” makes proposals in a field of their own"
            % (index.key, index.field)
        )

    k = asked["k"] or max(len(index), 1)
    return find_unlabelled(index, wanted, others, k=k, negative=against, **options)


def _vectors(dataset, asked):
    opened = indexes_of(dataset, asked)
    wanted = _encode(opened, _positive(dataset, asked))
    negative = [*parts(asked["avoid"]), *_examples(asked["unlike"])]
    against = _encode(opened, negative) if negative else None
    if asked["right"] or asked["wrong"]:
        return _refined(opened, asked, wanted, against), None

    return wanted, against


def _positive(dataset, asked):
    words = asked["words"].strip()
    query = [words] if words else []
    query += _examples(asked["like"])
    if asked["picture"]:
        query.append(load_picture(dataset, asked["picture"]))

    if not query:
        raise NothingAsked("Say what to look for: type words, choose examples, or add a picture.")

    return query


def _examples(label_ids):
    from alphaclip import indexing

    return [indexing.Example(label_id) for label_id in label_ids]


def _encode(opened, query):
    import numpy as np

    from alphaclip.indexing.retrieval.queries import Example

    def holder(part):
        holding = (index for index in opened if isinstance(part, Example) and index.holds(part))
        return next(holding, opened[0])

    return np.concatenate([holder(part).encode(part) for part in query])


def _refined(opened, asked, wanted, against):
    import numpy as np

    from alphaclip.indexing.explore.feedback import refine

    return np.atleast_2d(refine(opened, wanted, asked["right"], asked["wrong"], negative=against))


def parts(text):
    """Splits a text at its commas.

    Args:
        text: as "a tree, a red car"

    Returns:
        a list of texts, without empty ones
    """
    return [part for part in map(str.strip, text.split(",")) if part]
