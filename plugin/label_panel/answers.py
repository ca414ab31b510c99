"""
What a person answered of the regions that they review.

Each answer is kept with the dataset at once. Clicks may come faster than their answers, each with a
state that does not know of the one before, so what was answered is known here, not in the browser.
"""

import threading
from collections import OrderedDict

from alphaclip.indexing.labelling.scoring.classes import SKIPPED

KEPT = 100

_known, _lock = OrderedDict(), threading.RLock()


class Known:
    """The answers of one person to what is labelled into one place.

    Attributes:
        answers: label id to answer, as a review book has it
        wrong: label ids that are skipped, as the answer is wrong, but not yet what is right
    """

    def __init__(self, answers):
        self.answers = answers
        self.wrong = set()

    def sign(self, label_id, shown):
        """Says how a region was answered.

        Args:
            label_id: of the region
            shown: the class that it was shown with

        Returns:
            "right", "wrong", "skip", or None if it was not
        """
        if label_id not in self.answers:
            return None

        answer = self.answers[label_id]
        if answer == SKIPPED:
            return "wrong" if label_id in self.wrong else "skip"

        return "right" if answer == shown else "wrong"

    def is_open(self, label_id):
        """Says whether a region has no answer, or none that says what is right.

        Args:
            label_id: of the region

        Returns:
            True/False
        """
        return label_id not in self.answers or label_id in self.wrong


def known(dataset, into, reviewer, afresh=False):
    """Looks up what a person answered so far.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        into: what is labelled into
        reviewer: who
        afresh (False): read again what is kept with the dataset

    Returns:
        a :class:`Known`
    """
    key = _key(dataset, into, reviewer)
    with _lock:
        if afresh or key not in _known:
            was_wrong = _known[key].wrong if key in _known else set()
            found = _read(dataset, into, reviewer)
            found.wrong = {one for one in was_wrong if found.answers.get(one) == SKIPPED}
            _known[key] = found
            while len(_known) > KEPT:
                _known.popitem(last=False)

        _known.move_to_end(key)
        return _known[key]


def give(dataset, into, reviewer, label_id, answer, is_wrong=False):
    """Keeps an answer.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        into: what is labelled into
        reviewer: who
        label_id: of the region
        answer: a class, None for "none of these", or ``SKIPPED``
        is_wrong (False): skipped, as what it was taken for is wrong
    """
    from alphaclip.indexing.labelling.review.runs import add_reviews

    with _lock:
        mine = known(dataset, into, reviewer)
        if answer == SKIPPED:
            add_reviews(dataset, into, {}, skipped=[label_id], reviewer=reviewer)
        else:
            add_reviews(dataset, into, {label_id: answer}, reviewer=reviewer)

        mine.answers[label_id] = answer
        mine.wrong.discard(label_id)
        if is_wrong:
            mine.wrong.add(label_id)


def take_back(dataset, into, reviewer, label_id):
    """Withdraws an answer; nothing happens if there is none.

    Args:
        dataset: a :class:`fiftyone.core.dataset.Dataset`
        into: what is labelled into
        reviewer: who
        label_id: of the region
    """
    from alphaclip.indexing.labelling.review.runs import add_reviews

    with _lock:
        mine = known(dataset, into, reviewer)
        if label_id in mine.answers:
            add_reviews(dataset, into, {}, withdrawn=[label_id], reviewer=reviewer)
            del mine.answers[label_id]
            mine.wrong.discard(label_id)


def _read(dataset, into, reviewer):
    from alphaclip.indexing.labelling.review.runs import book_of, labelling_of

    labelling = labelling_of(dataset, into)
    if labelling is None:
        return Known({})

    book = book_of(dataset, labelling)
    given = {**book.answers["training"], **book.answers["promise"]}
    return Known({key: by[reviewer] for key, by in given.items() if reviewer in by})


def _key(dataset, into, reviewer):
    return str(dataset._doc.id), into, reviewer
