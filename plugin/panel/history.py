"""The searches that stay with the dataset, to be run again."""

from alphaclip.indexing.dataset.locations import index_keys

from ..common.forms import count
from .questions import search_of

SHOWN = 20


def remember(dataset, question):
    """Keeps a search by words or examples; one by a picture is not kept.

    Args:
        question: see :mod:`questions`
    """
    from alphaclip import indexing

    if not question["picture"]:
        indexing.remember(dataset, search_of(question))


def past_questions(dataset):
    """Lists what was searched for, the newest first.

    Returns:
        a list of questions without the view and the time, see :mod:`questions`
    """
    from alphaclip.indexing.explore.searches import recent

    return [question_of(search) for search in recent(dataset, SHOWN)]


def list_concepts(dataset):
    """Lists the concepts of a dataset as the page shows them.

    Returns:
        a list of dicts of ``name``, ``said``, ``waiting``, ``problems`` and ``question``, for what
        waits
    """
    from alphaclip.indexing import concepts

    return [_concept(concept, index_keys(dataset)) for concept in concepts(dataset)]


def describe(question):
    """Says what a question is, in a few words."""
    told = ["“%s”" % question["words"]] if question["words"] else []
    told += [count(len(question["like"]), "example")] if question["like"] else []
    told += ["a picture"] if question["picture"] else []
    without = ["“%s”" % question["avoid"]] if question["avoid"] else []
    without += [count(len(question["unlike"]), "example")] if question["unlike"] else []
    text = " and ".join(told) + (", but not " + " and ".join(without) if without else "")
    marked = len(question["right"]) + len(question["wrong"])
    return text + (", with %s" % count(marked, "mark") if marked else "")


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


def _concept(concept, keys):
    question = {**question_of(concept.search), "concept": concept.name}
    # One of its indexes may be deleted by now
    question["keys"] = [key for key in question["keys"] if key in keys]
    said = "%s, from cosine %.3f on" % (describe(question), concept.min_score)
    return {
        "name": concept.name, "said": said, "waiting": concept.waiting,
        "problems": list(concept.problems), "question": question,
    }  # fmt: skip
