"""What is searched for, as JSON, and the answers, which stay while a person looks through them.

A question is a dict:

-   ``mode``: "regions", "unlabelled" or "pictures"
-   ``words``, ``avoid``: texts
-   ``like``, ``unlike``: ids of labels that are examples
-   ``picture``: None, or a dict of ``token`` and ``box`` (None is the whole picture)
-   ``keys``: of the indexes
-   ``captions``: the attribute of labels whose text the words are matched with too, else None
-   ``k``, ``min_score``: at most so many, none below (None: no limit)
-   ``stages``: of the view to search in, None for everything
-   ``right``, ``wrong``: ids of labels that were marked
-   ``concept``: the name of the concept whose waiting regions are the hits, else None
-   ``prompt``: None, or a dict of ``text`` and ``choices``: what a language model was asked about
    the hits, whose scores are then those of its first choice
-   ``at``: when it was put, so that the same question put anew is answered anew
"""

import dataclasses
import json
import threading
import time
from collections import OrderedDict
from functools import partial

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_keys
from alphaclip.indexing.dataset.stages import view_of

from ..common.forms import QUERY_CHARACTERS, shorten, split
from ..common.indexes import open_index
from .pictures import load_picture

REGIONS, UNLABELLED, PICTURES = "regions", "unlabelled", "pictures"
ANSWERS = 32
NOTHING = {
    "mode": REGIONS, "words": "", "avoid": "", "like": [], "unlike": [], "picture": None,
    "keys": [], "k": None, "min_score": None, "stages": None, "right": [], "wrong": [],
    "captions": None, "concept": None, "prompt": None,
}  # fmt: skip

REGION_LISTS = {
    "like": "examples", "unlike": "negative_examples", "right": "right", "wrong": "wrong",
}  # fmt: skip
"""Of a question, to those of a ``Search``."""

_answers, _lock = OrderedDict(), threading.RLock()


def completed(dataset, question):
    """A question with all its parts: a program may leave out most of them.

    Args:
        question: some parts of it

    Raises:
        AlphaClipError: if a part is no such, or nothing is searched for
    """
    whole = {**NOTHING, "keys": index_keys(dataset), "at": time.time()}
    whole |= check("asked", question, "Mapping[str, Any]")
    for name, value in NOTHING.items():
        kind = {str: "str", list: "Sequence[str]"}.get(type(value))
        whole[name] = check(name, whole[name], kind)

    for name in ("words", "avoid"):
        if len(whole[name]) > QUERY_CHARACTERS:
            told = "%s has %d characters: a few words are enough, %d at most"
            raise AlphaClipError(told % (name, len(whole[name]), QUERY_CHARACTERS))

    for name in ("captions", "concept"):
        whole[name] = check(name, whole[name], "str | None")

    whole["prompt"] = check("prompt", whole["prompt"], "Mapping[str, Any] | None")
    whole["at"] = check("at", whole["at"], "float")
    if len(whole["keys"]) > 1 and "keys" not in question:
        raise AlphaClipError("keys is missing: name some of %s" % ", ".join(whole["keys"]))

    if whole["picture"] is not None:
        picture = check("picture", whole["picture"], "Mapping[str, Any]")
        whole["picture"] = {"box": None, "token": check("token", picture.get("token"), "str")}
        whole["picture"] |= picture

    search_of(whole)
    return whole


def search_of(question):
    """Makes an ``alphaclip.indexing.Search`` of a question.

    Raises:
        AlphaClipError: if nothing is searched for
    """
    from alphaclip import indexing

    fields = {name: question[name] for name in ("keys", "k", "min_score", "mode")}
    fields["negative_texts"] = split(question["avoid"])
    if question["mode"] == PICTURES:
        fields["texts"] = split(question["words"])
        if not fields["texts"]:
            raise AlphaClipError("Type what the pictures show, with commas between the things.")

        return indexing.Search(**fields)

    if question["mode"] == REGIONS:
        fields["captions"] = question["captions"]

    words, picture = question["words"].strip(), question["picture"]
    if not words and not question["like"] and not picture:
        raise AlphaClipError("Say what to look for: type words, choose examples, or add a picture.")

    if picture:
        fields.update(picture=picture["token"], box=picture["box"])

    return indexing.Search(
        texts=[words] if words else [],
        examples=question["like"],
        negative_examples=question["unlike"],
        right=question["right"],
        wrong=question["wrong"],
        **fields,
    )


def without_lost_regions(dataset, question):
    """Leaves out the examples and the marks that no index holds any more.

    Returns:
        the question, and the ids of what was left out

    Raises:
        AlphaClipError: if nothing is left to look for
    """
    search = search_of(question)
    held = search.without_lost_regions(indexes_of(dataset, question))
    lost, left = set(), {}
    for name, of_search in REGION_LISTS.items():
        left[name] = list(getattr(held, of_search))
        lost.update({*getattr(search, of_search)} - {*left[name]})

    return {**question, **left}, sorted(lost)


def find(dataset, question):
    """Finds the best k of a question, whatever their score.

    Returns:
        hits, whose ``scores`` are cosines and whose ``view()`` shows them; of the mode "pictures"
        they have ``sample_ids`` only

    Raises:
        AlphaClipError: if that cannot be searched
    """
    return _everything(dataset, question)[0]


def find_these(dataset, question, ids):
    """Finds some regions, whatever their score; those in no index any more are left out.

    Args:
        ids: of the regions, or of samples where the question is for pictures
    """
    if question["mode"] == PICTURES or question["concept"] or question["prompt"]:
        import numpy as np

        hits = find(dataset, question)
        return hits.take(np.isin(names_of(dataset, question, hits), list(ids)))

    search = search_of(question)
    ranking = ranking_of(dataset, question, search)
    return search.hits_of(indexes_of(dataset, question), ids, ranking)


def find_above(dataset, question, min_score):
    """Finds all that lies at or above a score, however many."""
    if question["concept"] or question["prompt"]:
        hits = find(dataset, question)
        return hits.take(hits.scores >= min_score)

    search = dataclasses.replace(search_of(question), k=None, min_score=min_score)
    return _run(dataset, question, search)


def measure(dataset, question):
    """Counts the scores of all regions: a ``Distribution``; of the mode "regions" only."""
    _, spread = _everything(dataset, question)
    return spread


def keep_order(dataset, question, hits, prompt=None):
    """Has the hits of a question be these from now on, for as long as its answer is remembered.

    Args:
        prompt (None): what a language model was asked, where the scores of the hits are its answers

    Returns:
        the question, put anew
    """
    spread = None if prompt else measure(dataset, question)
    question = {**question, "at": time.time(), "prompt": prompt or question["prompt"]}
    search = dataclasses.replace(search_of(question), min_score=None)
    _remembered("search", dataset, question, search, lambda: (hits, spread))
    return question


def indexes_of(dataset, question):
    """Opens the indexes that a question is for."""
    return [open_index(dataset, key) for key in question["keys"]]


def names_of(dataset, question, hits):
    """Names hits as the page does: regions by their names, pictures by their samples' ids."""
    if question["mode"] == PICTURES:
        return hits.sample_ids.tolist()

    from alphaclip.indexing.retrieval.index import names_in

    return names_in(indexes_of(dataset, question), hits.region_ids)


def _everything(dataset, question):
    """The hits whatever their score and, for regions, the spread of all scores: both in one look at
    the vectors."""
    from alphaclip.indexing import waiting

    search = dataclasses.replace(search_of(question), min_score=None)

    def run():
        if question["concept"]:
            return waiting(dataset, question["concept"]), None

        if question["prompt"]:
            told = "The answers to “%s” are not in memory any more: search and ask again"
            raise AlphaClipError(told % shorten(str(question["prompt"].get("text"))))

        if search.mode != REGIONS:
            return _run(dataset, question, search), None

        ranking = ranking_of(dataset, question, search)
        return search.measure(indexes_of(dataset, question), _view(dataset, question), ranking)

    return _remembered("search", dataset, question, search, run)


def _run(dataset, question, search):
    ranking = None if search.mode == PICTURES else ranking_of(dataset, question, search)
    return search.run(indexes_of(dataset, question), _view(dataset, question), ranking)


def ranking_of(dataset, question, search):
    """Encodes a question, which is the same for every threshold and view.

    Args:
        search: see :func:`search_of`
    """

    def encode():
        load = partial(load_picture, dataset)
        return search.ranking(indexes_of(dataset, question), load)

    anything = dataclasses.replace(search, k=None, min_score=None)
    return _remembered("ranking", dataset, {**question, "stages": None}, anything, encode)


def _view(dataset, question):
    return view_of(dataset, question["stages"]) if question["stages"] else None


def _remembered(what, dataset, question, search, compute):
    scope = [question[name] for name in ("stages", "concept", "prompt", "at")]
    where = (str(dataset._doc.id), json.dumps(scope, sort_keys=True))
    key = (what, *where, search.digest)
    with _lock:
        if key in _answers:
            _answers.move_to_end(key)
            return _answers[key]

    answer = compute()
    with _lock:
        _answers[key] = answer
        while len(_answers) > ANSWERS:
            _answers.popitem(last=False)

    return answer
