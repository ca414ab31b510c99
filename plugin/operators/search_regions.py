"""The operator that shows the regions that match some words best."""

import fiftyone.operators.types as types

from alphaclip.indexing.dataset.locations import index_keys
from alphaclip.indexing.store.store import StoreError

from ..common.forms import (
    MESSAGE_CHARACTERS,
    QUERY_CHARACTERS,
    alert,
    dropdown,
    plain,
    refuse,
    refuse_without_index,
    reject,
    shorten,
)
from ..common.grid import show_view
from ..common.indexes import describe_index, open_index
from ..common.operators import FormOperator, configure
from ..common.reports import describe_search, ids_and_scores

DEFAULT_K = 50


class SearchRegions(FormOperator):
    """Searches an index by text and shows the hits as patches in rank order."""

    config = configure(
        name="search_regions",
        label="Find regions by text",
        description="Shows the boxes, masks and polygons that match some words best",
        icon="manage_search",
        allow_delegated_execution=True,
        risk_level=types.RiskLevel.LOW,
    )
    button = "Search"

    def add_form(self, ctx, inputs):
        if refuse_without_index(ctx, inputs):
            return

        indexes, damaged = _describe_all(ctx.dataset)
        if damaged:
            inputs.view("damaged", alert("warning", "Left out", damaged))
        if indexes:
            _add_fields(ctx, inputs, indexes)
        else:
            refuse(inputs, "No index can be read", plain(damaged, MESSAGE_CHARACTERS))

    def resolve_run_name(self, ctx):
        return "Search %s for %s" % (ctx.params.get("key"), shorten(ctx.params.get("query")))

    def steps(self, ctx):
        query = ctx.params["query"].strip()
        index = open_index(ctx.dataset, ctx.params["key"])
        hits = index.search(query, k=ctx.params.get("k") or DEFAULT_K, view=_restriction(ctx))
        found = {"index": index.key, "query": query, **ids_and_scores(hits), "gone": 0}
        if not len(hits):
            message = "No region of index %r is in this view" % index.key
            yield ctx.ops.notify(message, variant="warning")
            return found

        view = hits.view()
        yield from show_view(ctx, view)
        message = "%d regions for “%s”, cosine %.3f to %.3f, %s"
        said, scores = shorten(query), hits.scores
        message %= (len(hits), said, scores[0], scores[-1], describe_search(index.info()))
        yield ctx.ops.notify(message, variant="success")
        gone = len(hits) - len(view) if view._is_patches else 0
        if gone:
            message = "%d of them are no labels of this dataset any more: update the index"
            yield ctx.ops.notify(message % gone, variant="warning")

        return {**found, "gone": gone}


def _add_fields(ctx, inputs, indexes):
    prop = inputs.str(
        "query",
        label="Search for",
        description="A few words, such as “a red apple”",
        required=True,
    )
    query = str(ctx.params.get("query") or "")
    if "query" in ctx.params and not query.strip():
        reject(prop, "Type what to look for.")
    elif len(query) > QUERY_CHARACTERS:
        reject(prop, "A few words are enough: at most %d characters." % QUERY_CHARACTERS)

    dropdown(inputs, "key", indexes, ctx.params.get("key"), label="Index", required=True)
    inputs.int("k", label="How many regions", default=DEFAULT_K, min=1, max=10000)
    inputs.view_target(
        ctx,
        action_description="Search",
        allow_dataset_view=ctx.view._is_generated,
        dataset_view_description="All embedded regions",
        default_target="DATASET_VIEW" if ctx.view._is_generated else None,
    )


def _describe_all(dataset):
    described, damaged = {}, []
    for key in index_keys(dataset):
        try:
            described[key] = describe_index(dataset, key)
        except StoreError as error:
            damaged.append(str(error))

    return described, "; ".join(damaged)


def _restriction(ctx):
    view = ctx.target_view()
    return None if view in (ctx.dataset, ctx.dataset.view()) else view
