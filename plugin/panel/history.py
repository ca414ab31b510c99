"""The searches and findings that stay with the dataset, to be restored."""

from alphaclip.arguments import check
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_keys

from ..common.forms import count
from ..common.indexes import searched_keys
from ..common.panels import event
from .findings import describe_finding, opened
from .pictures import is_token
from .questions import PICTURES, UNLABELLED, completed, search_of

SHOWN = 30
MODES = {UNLABELLED: " (objects nobody labelled)", PICTURES: " (pictures with A, B but not C)"}


class HistoryEvents:
    """Events of the history."""

    @event
    def remember(self, ctx):
        """Keeps a search with the marks that were made since it was run."""
        remember(ctx.dataset, completed(ctx.dataset, ctx.params["question"]))

    @event
    def restore(self, ctx):
        """A search to be run again, or a finding, of an entry of the history."""
        from alphaclip import indexing

        entry = indexing.find_entry(ctx.dataset, check("entry", ctx.params["entry"], "str"))
        if isinstance(entry.content, indexing.Finding):
            return {"finding": opened(ctx.dataset, entry.key, entry.content)}

        if not _is_of_page(entry.content):
            raise AlphaClipError("This search is by a picture that only a program can open")

        question = question_of(entry.content)
        there = searched_keys(ctx.dataset)
        question["keys"] = [key for key in question["keys"] if key in there] or question["keys"]
        return {"question": question}


def remember(dataset, question):
    """Keeps a search.

    Args:
        question: see :mod:`questions`

    Returns:
        its key in the history
    """
    from alphaclip import indexing

    # What waits for a concept is listed with it, and changes by itself
    if not question["concept"]:
        indexing.remember(dataset, search_of(question))


def past(dataset):
    """Lists what was searched for and found, the newest first.

    Returns:
        a list of dicts of ``entry``, a key for :meth:`HistoryEvents.restore`, and ``said``
    """
    from alphaclip import indexing

    return [
        {"entry": entry.key, "said": _describe(entry.content)}
        for entry in indexing.entries(dataset, SHOWN)
        if isinstance(entry.content, indexing.Finding) or _is_of_page(entry.content)
    ]


def list_concepts(dataset):
    """Lists the concepts of a dataset as the page shows them.

    Returns:
        a list of dicts of ``name``, ``said``, ``waiting``, ``problems`` and ``question``, for what
        waits
    """
    from alphaclip.indexing import concepts

    return [_concept(concept, index_keys(dataset)) for concept in concepts(dataset)]


def question_of(search):
    """Makes a question of an ``alphaclip.indexing.Search``, without the view and the time."""
    box = None if search.box is None else list(search.box)
    return {
        "mode": search.mode,
        "words": ", ".join(search.texts),
        "avoid": ", ".join(search.negative_texts),
        "like": list(search.examples),
        "unlike": list(search.negative_examples),
        "picture": search.picture and {"token": search.picture, "box": box},
        "keys": list(search.keys),
        "right": list(search.right),
        "wrong": list(search.wrong),
    }


def _is_of_page(search):
    """Programs search by pictures at any path, which no browser may open."""
    return search.picture is None or is_token(search.picture)


def _describe(content):
    from alphaclip import indexing

    if isinstance(content, indexing.Finding):
        return describe_finding(content)

    question = question_of(content)
    return describe(question) + MODES.get(question["mode"], "")


def describe(question):
    """Says what a question is, in a few words."""
    told = ["“%s”" % question["words"]] if question["words"] else []
    told += [count(len(question["like"]), "example")] if question["like"] else []
    if question["picture"]:
        told.append("a part of a picture" if question["picture"]["box"] else "a picture")

    without = ["“%s”" % question["avoid"]] if question["avoid"] else []
    without += [count(len(question["unlike"]), "example")] if question["unlike"] else []
    text = " and ".join(told) + (", but not " + " and ".join(without) if without else "")
    marked = len(question["right"]) + len(question["wrong"])
    return text + (", with %s" % count(marked, "mark") if marked else "")


def _concept(concept, keys):
    question = {**question_of(concept.search), "concept": concept.name}
    # One of its indexes may be deleted by now
    question["keys"] = [key for key in question["keys"] if key in keys]
    said = "%s, from cosine %.3f on" % (describe(question), concept.min_score)
    return {
        "name": concept.name, "said": said, "waiting": concept.waiting,
        "problems": list(concept.problems), "question": question,
    }  # fmt: skip
