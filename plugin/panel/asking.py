"""What the panel asks, as JSON, and the answers, which are kept while a person looks through them.

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

import dataclasses
import json
import threading
import time
from collections import OrderedDict, deque

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_keys
from alphaclip.indexing.dataset.stages import view_of

from ..common.indexes import open_index
from .pictures import load_picture
from .state import PICTURES, REGIONS

KEPT_ANSWERS = 32
NOTHING = {
    "mode": REGIONS, "words": "", "avoid": "", "like": [], "unlike": [], "picture": None,
    "keys": [], "k": None, "min_score": None, "stages": None, "right": [], "wrong": [],
}  # fmt: skip

_answers, _begun, _lock = OrderedDict(), deque(maxlen=100), threading.RLock()


def completed(dataset, asked):
    """What was asked, with all its parts: a program may leave out most of them.

    Args:
        asked: some parts of it

    Raises:
        AlphaClipError: if a part is no such, or nothing is asked
    """
    whole = {**NOTHING, "keys": index_keys(dataset), "at": time.time()}
    whole |= check("asked", asked, "Mapping[str, Any]")
    for name, value in NOTHING.items():
        kind = {str: "str", list: "Sequence[str]"}.get(type(value))
        whole[name] = check(name, whole[name], kind)

    whole["at"] = check("at", whole["at"], "float")
    if len(whole["keys"]) > 1 and "keys" not in asked:
        raise AlphaClipError("keys is missing: name some of %s" % ", ".join(whole["keys"]))

    if whole["picture"] is not None:
        picture = check("picture", whole["picture"], "Mapping[str, Any]")
        whole["picture"] = {"box": None, "token": check("token", picture.get("token"), "str")}
        whole["picture"] |= picture

    search_of(whole)
    return whole


def search_of(asked):
    """Makes an ``alphaclip.indexing.Search`` of what was asked.

    Raises:
        AlphaClipError: if nothing is asked
    """
    from alphaclip import indexing

    fields = {name: asked[name] for name in ("keys", "k", "min_score", "mode")}
    fields["negative_texts"] = parts(asked["avoid"])
    if asked["mode"] == PICTURES:
        fields["texts"] = parts(asked["words"])
        if not fields["texts"]:
            raise AlphaClipError("Type what the pictures show, with commas between the things.")

        return indexing.Search(**fields)

    words, picture = asked["words"].strip(), asked["picture"]
    if not words and not asked["like"] and not picture:
        raise AlphaClipError("Say what to look for: type words, choose examples, or add a picture.")

    if picture:
        fields.update(picture=picture["token"], box=picture["box"])

    return indexing.Search(
        texts=[words] if words else [],
        examples=asked["like"],
        negative_examples=asked["unlike"],
        right=asked["right"],
        wrong=asked["wrong"],
        **fields,
    )


def find(dataset, asked):
    """Finds what was asked.

    A search with another minimum score is not searched anew where the hits are known already.

    Returns:
        hits, whose ``scores`` are cosines and whose ``view()`` shows them; of the mode "pictures"
        they have ``sample_ids`` only

    Raises:
        AlphaClipError: if that cannot be searched
    """
    least, search = asked["min_score"], search_of(asked)
    hits, _ = _everything(dataset, asked)
    if least is None:
        return hits

    reach = hits.scores >= least
    in_order = not asked["avoid"] and not asked["unlike"]
    if in_order or reach.all() or search.k is None or len(hits) < search.k:
        return hits.take(reach)

    return _remembered("find", dataset, asked, search, lambda: _run(dataset, asked, search))


def find_these(dataset, asked, label_ids):
    """Finds some regions, whatever their score; those in no index any more are left out."""
    search = search_of(asked)
    ranking = _ranking(dataset, asked, search)
    return search.hits_of(indexes_of(dataset, asked), label_ids, ranking)


def find_above(dataset, asked, min_score):
    """Finds all that lies at or above a score, however many."""
    search = dataclasses.replace(search_of(asked), k=None, min_score=min_score)
    return _run(dataset, asked, search)


def measure(dataset, asked):
    """Counts the scores of all regions: a ``Distribution``; of the mode "regions" only."""
    _, spread = _everything(dataset, asked)
    return spread


def indexes_of(dataset, asked):
    """Opens the indexes that a question is for."""
    return [open_index(dataset, key) for key in asked["keys"]]


def is_ready(dataset, asked):
    """Says whether the encoder is loaded."""
    return all("encoder" in vars(index) for index in indexes_of(dataset, asked))


def begin(asked):
    """Notes that a question is being answered; says whether nobody has begun before.

    A timer of the App may go off twice, the second time with a state that is out of date.
    """
    with _lock:
        fresh = asked["at"] not in _begun
        _begun.append(asked["at"])

    return fresh


def parts(text):
    """Splits a text at its commas, as "a tree, a red car"; empty parts are left out."""
    return [part for part in map(str.strip, text.split(",")) if part]


def _everything(dataset, asked):
    """The hits whatever their score and, for regions, the spread of all scores: both in one look at
    the vectors."""
    search = dataclasses.replace(search_of(asked), min_score=None)

    def run():
        if search.mode != REGIONS:
            return _run(dataset, asked, search), None

        ranking = _ranking(dataset, asked, search)
        return search.measure(indexes_of(dataset, asked), _view(dataset, asked), ranking)

    return _remembered("search", dataset, asked, search, run)


def _run(dataset, asked, search):
    ranking = None if search.mode == PICTURES else _ranking(dataset, asked, search)
    return search.run(indexes_of(dataset, asked), _view(dataset, asked), ranking)


def _ranking(dataset, asked, search):
    """The encoded question, the same for every threshold and view."""

    def encode():
        def load(token):
            return load_picture(dataset, {"token": token, "box": None})[0]

        return search.ranking(indexes_of(dataset, asked), load)

    question = dataclasses.replace(search, k=None, min_score=None)
    return _remembered("ranking", dataset, {**asked, "stages": None}, question, encode)


def _view(dataset, asked):
    return view_of(dataset, asked["stages"]) if asked["stages"] else None


def _remembered(what, dataset, asked, search, compute):
    where = (str(dataset._doc.id), json.dumps([asked["stages"], asked["at"]], sort_keys=True))
    key = (what, *where, search.digest)
    with _lock:
        if key in _answers:
            _answers.move_to_end(key)
            return _answers[key]

    answer = compute()
    with _lock:
        _answers[key] = answer
        while len(_answers) > KEPT_ANSWERS:
            _answers.popitem(last=False)

    return answer
