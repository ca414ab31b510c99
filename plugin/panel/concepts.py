"""Concepts: searches that are kept under a name and watched; what is new and matches waits."""

import dataclasses

from alphaclip.arguments import check

from ..common.forms import count
from ..common.panels import event
from .actions import hits_to_act_on
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
    def dismiss_waiting(self, ctx):
        """Takes the regions of ``ids``, else all at or above ``min_score``, out of a list."""
        from alphaclip.indexing import dismiss

        question = completed(ctx.dataset, ctx.params["question"])
        hits = hits_to_act_on(
            ctx.dataset, question, ctx.params.get("ids"), ctx.params.get("min_score")
        )
        names = names_of(ctx.dataset, question, hits)
        left = dismiss(ctx.dataset, str(question["concept"]), names)
        return {"said": "%s dismissed, %s left" % (count(len(names)), left or "none"), "ids": names}

    @event
    def undismiss(self, ctx):
        """Puts the regions of ``ids`` back into the list of a concept."""
        from alphaclip.indexing import undismiss

        ids = check("ids", ctx.params["ids"], "Sequence[str]")
        waiting = undismiss(ctx.dataset, check("name", ctx.params["name"], "str"), ids)
        return {"said": "Taken back: %s" % count(waiting, "region waits", "regions wait")}

    @event
    def delete_concept(self, ctx):
        from alphaclip.indexing import delete_concept

        delete_concept(ctx.dataset, check("name", ctx.params["name"], "str"))
