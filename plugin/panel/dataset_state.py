"""What the dataset has: indexes, jobs, past searches, actions that can be taken back."""

from contextlib import suppress

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import region_fields
from alphaclip.indexing.dataset.locations import index_keys
from alphaclip.indexing.store.store import StoreError

from ..common import jobs
from ..common.indexes import (
    check_in_words,
    describe_index,
    freshness_of,
    searched_keys,
    update_in_words,
    warm_up,
)
from ..common.panel_events import jobs_of
from ..common.panels import dataset_id, event
from .actions import last_actions
from .history import list_concepts, past


class DatasetEvents:
    """Events of the dataset, its indexes and their jobs."""

    @event
    def about(self, ctx):
        if ctx.dataset is None:
            return {"dataset": None}

        fields, keys = region_fields(ctx.dataset), index_keys(ctx.dataset)
        # The page searches the first one unless told otherwise
        for key in keys[:1]:
            warm_up(ctx.dataset, key)

        return {
            "dataset": dataset_id(ctx),
            "fields": list(fields),
            "indexes": [
                {"key": key, "said": _describe(ctx.dataset, key)}
                for key in searched_keys(ctx.dataset)
            ],
            "history": past(ctx.dataset),
            "concepts": list_concepts(ctx.dataset),
            "actions": last_actions(ctx.dataset),
            "views": ctx.dataset.list_saved_views(),
            "resumable": jobs.resumable(ctx.dataset),
            **jobs_of(ctx),
        }

    @event
    def load_encoder(self, ctx):
        """Loads the encoders of indexes, so that they are there when a person has typed."""
        from ..common.indexes import open_index

        for key in ctx.params["keys"]:
            open_index(ctx.dataset, key).encoder.encode_text(["warm"])

    @event
    def update(self, ctx):
        return _start(ctx, "Updating %s", update_in_words)

    @event
    def check(self, ctx):
        return _start(ctx, "Checking %s", check_in_words)

    @event
    def freshness(self, ctx):
        """What has changed since the indexes were made, in words, of those that it can be told."""
        changes = {}
        for key in index_keys(ctx.dataset):
            with suppress(AlphaClipError):
                changes[key] = freshness_of(ctx.dataset, key)["said"]

        return {"changes": {key: said for key, said in changes.items() if said}}


def _start(ctx, title, work):
    key, dataset = ctx.params["key"], ctx.dataset
    if key not in searched_keys(dataset):
        raise StoreError("there is no index %r" % key)

    if not any(job["key"] == key for job in jobs.running(dataset)):
        jobs.start(dataset, key, title % key, lambda tell: work(dataset, key, tell))

    return {}


def _describe(dataset, key):
    try:
        return describe_index(dataset, key, with_skipped=True)
    except StoreError as error:
        return "%s: %s" % (key, error)
