"""Concepts: searches that are kept under a name and watched; what is new and matches waits."""

import dataclasses

from alphaclip.arguments import check
from alphaclip.indexing.dataset.locations import index_keys

from ..common.forms import count
from ..common.panels import event
from .actions import hits_to_act_on
from .history import describe, question_of
from .questions import completed, indexes_of, names_of, ranking_of, search_of


class ConceptEvents:
    """Events of concepts. What waits is a question with the name of its ``concept``, which the
    events of hits take like any other.
    """

    @event
    def keep_concept(self, ctx):
        from alphaclip.indexing import keep_concept

        question = completed(ctx.dataset, ctx.params["question"])
        search = dataclasses.replace(search_of(question), min_score=None)
        concept = keep_concept(
            indexes_of(ctx.dataset, question), ctx.params["name"], search, ctx.params["min_score"],
            ranking_of(ctx.dataset, question, search),
        )  # fmt: skip
        said = "“%s” is watched: what is new and reaches %.3f will wait in its list"
        return {"said": said % (concept.name, concept.min_score)}

    @event
    def dismiss(self, ctx):
        """Takes the regions of ``ids``, else all at or above ``min_score``, out of a list."""
        from alphaclip.indexing import dismiss

        question = completed(ctx.dataset, ctx.params["question"])
        hits = hits_to_act_on(
            ctx.dataset, question, ctx.params.get("ids"), ctx.params.get("min_score")
        )
        names = names_of(ctx.dataset, question, hits)
        left = dismiss(ctx.dataset, str(question["concept"]), names)
        return {"said": "%s dismissed, %s left" % (count(len(names)), left or "none")}

    @event
    def delete_concept(self, ctx):
        from alphaclip.indexing import delete_concept

        delete_concept(ctx.dataset, check("name", ctx.params["name"], "str"))


def list_concepts(dataset):
    """Lists the concepts of a dataset as the page shows them.

    Returns:
        a list of dicts of ``name``, ``said``, ``waiting``, ``problems`` and ``question``, for what
        waits
    """
    from alphaclip.indexing import concepts

    return [_in_json(concept, index_keys(dataset)) for concept in concepts(dataset)]


def _in_json(concept, keys):
    question = {**question_of(concept.search), "concept": concept.name}
    # One of its indexes may be deleted by now
    question["keys"] = [key for key in question["keys"] if key in keys]
    said = "%s, from cosine %.3f on" % (describe(question), concept.min_score)
    return {
        "name": concept.name, "said": said, "waiting": concept.waiting,
        "problems": list(concept.problems), "question": question,
    }  # fmt: skip
