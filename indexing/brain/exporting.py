"""Copies an index to another backend of FiftyOne's Brain."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.arguments import COUNT, checked
from alphaclip.errors import AlphaClipError
from alphaclip.files import deleting, make_folder
from alphaclip.indexing.brain.copies import Copy
from alphaclip.indexing.brain.held import Held, write_held
from alphaclip.indexing.brain.syncing import batches_of, check_unique, load
from alphaclip.indexing.brain.vector_engines.engines import (
    REACHED_BY,
    check_client,
    engine_of,
    names_for,
    public_in,
)
from alphaclip.indexing.brain.vector_engines.vector_engine import Batch, VectorEngine
from alphaclip.indexing.dataset.labels import images_of, is_of_frames
from alphaclip.indexing.dataset.locations import (
    COPY_OF,
    UNFINISHED,
    export_folder,
    has_run,
    index_keys,
    new_store_id,
    own_folder,
    store_folder,
)
from alphaclip.indexing.retrieval.index import SearchIndex
from alphaclip.indexing.retrieval.snapshot import Snapshot

if TYPE_CHECKING:
    import fiftyone as fo
    from fiftyone.brain import SimilarityIndex

logger = logging.getLogger(__name__)


def similarity_run(dataset: fo.Dataset, key: str) -> SimilarityIndex:
    """The Brain's side of an index, as :func:`export` takes it.

    Raises:
        AlphaClipError: if the dataset has no Brain run of this key that holds vectors
    """
    import fiftyone.brain as fob

    run = dataset.load_brain_results(key) if dataset.has_brain_run(key) else None
    if isinstance(run, fob.SimilarityIndex):
        return run
    if key in index_keys(dataset):
        raise AlphaClipError(f"index {key!r} is not known to FiftyOne's Brain yet: update it")
    keys = ", ".join(dataset.list_brain_runs(type="similarity")) or "none"
    raise AlphaClipError(f"dataset {dataset.name!r} has no index {key!r:.80}; it has: {keys}")


@checked(batch_size=COUNT)
def export(
    index: SimilarityIndex | SearchIndex,
    backend: str | type,
    brain_key: str,
    batch_size: int = 10_000,
    **kwargs: Any,
) -> SimilarityIndex:
    """Makes a run of another Brain backend with the same vectors, on the same dataset.

    The new run is of the same field, and takes text where the index does. A backend that can
    be asked for a metric gets the index's own. Vectors are moved in bulk, and what speeds up
    searches is made once, at the end. An export that was cut off begins anew when it is run again.
    The copy of a region index can be searched by :func:`alphaclip.indexing.load` and is kept in
    step by :func:`alphaclip.indexing.sync`.

    Args:
        index: a region index; or one of any backend of the Brain that gives its ids, as
            ``dataset.load_brain_results(key)`` does
        backend: name or configuration class, as for ``fiftyone.brain.compute_similarity``
        brain_key: of the new run
        batch_size: vectors that are passed on at a time
        **kwargs: settings of the backend; ``metric`` overrides the index's

    Returns:
        the new index, saved

    Raises:
        AlphaClipError: if the key is none or is taken, the batch is empty, there is no such
            backend, or it cannot be set up or filled, as where it cannot compare by this metric;
            nothing is left of the new run then, if its engine can be reached
        StoreBusyError: if another process exports to this key
    """
    import fiftyone.brain as fob

    source = index if isinstance(index, SearchIndex) else None
    if isinstance(index, SearchIndex):
        if is_of_frames(index.field):
            images_of(index.dataset)
        index = similarity_run(index.dataset, index.key)
        own_folder(index.samples._root_dataset, index.key)  # a clone's: the copy's run names it
    if not isinstance(index, fob.SimilarityIndex):
        raise AlphaClipError(f"index is {index!r:.80}: expected one that holds vectors")
    dataset = index.samples._root_dataset
    if not brain_key.isidentifier():
        raise AlphaClipError(
            f"brain_key is {brain_key!r:.80}: expected letters, digits and underscores, no digit "
            "first"
        )
    names = sorted(fob.brain_config.similarity_backends)
    if not isinstance(backend, type) and str(backend) not in names:
        raise AlphaClipError(f"backend is {backend!r:.80}: expected one of {', '.join(names)}")
    check_client(str(backend))
    folder = export_folder(dataset, brain_key)
    make_folder(folder)
    with deleting(folder):  # also what an export left that was cut off after its last vector
        if not _is_taken(dataset, brain_key, kwargs):
            return _export(index, source, backend, brain_key, batch_size, **kwargs)
    raise AlphaClipError(
        f"dataset {dataset.name!r} has a Brain run {brain_key!r}: choose another key"
    )


def is_unfinished(dataset: fo.Dataset, brain_key: str) -> bool:
    """Whether a run is what is left of an export that was cut off, or is under way."""
    return bool(getattr(dataset.get_brain_info(brain_key).config, UNFINISHED, False))


def _is_taken(dataset: fo.Dataset, brain_key: str, settings: Mapping[str, Any]) -> bool:
    """Whether there is a run of this key; what is left of an export is none, and is deleted."""
    if not has_run(dataset, brain_key):
        return False
    if not is_unfinished(dataset, brain_key):
        return True
    logger.warning("the export to %r was cut off: it begins anew", brain_key)
    _drop(dataset, brain_key, settings)
    dataset.delete_brain_run(brain_key)
    return False


def _drop(dataset: fo.Dataset, brain_key: str, settings: Mapping[str, Any]) -> None:
    """Deletes what a run has in its engine, if that can be reached."""
    try:
        reach = inspect.signature(dataset.get_brain_info(brain_key).config.load_credentials)
        here = {name: value for name, value in settings.items() if name in reach.parameters}
        run = dataset.load_brain_results(brain_key, cache=False, **here)
        if run is not None:
            engine_of(run).drop()
    except Exception as error:  # of the engine's client
        logger.warning("what it left in its engine stays there: %s", error)


def _is_dropped(engine: VectorEngine) -> bool:
    try:
        engine.drop()
    except Exception as error:  # of the engine's client
        logger.warning("what it left in its engine stays there: %s", error)
        return False
    return True


def _export(
    index: SimilarityIndex,
    source: SearchIndex | None,
    backend: str | type,
    brain_key: str,
    batch_size: int,
    **kwargs: Any,
) -> SimilarityIndex:
    import fiftyone.brain as fob

    dataset = index.samples._root_dataset
    now = None if source is None else source.snapshot()
    engine: VectorEngine | None = None
    try:
        try:
            run = fob.compute_similarity(
                index.samples,
                patches_field=index.config.patches_field,
                roi_field=index.config.roi_field,
                embeddings=False,
                backend=backend,
                brain_key=brain_key,
                **_settings(index, now, backend, brain_key, kwargs),
            )
            engine = engine_of(run)
        except Exception as error:
            # A package or server that is missing, or a setting: each backend raises its own.
            raise AlphaClipError(f"backend {backend!r} cannot be set up: {error}") from error
        if type(run) is not type(index) and index.label_ids is not None:
            check_unique(index.label_ids)
        _take_model(run, index)
        batches = _batches(index, batch_size)
        if now is not None:
            batches = batches_of(now.version, lambda *counts: None, size=batch_size)
        load(engine, batches)
        engine.finish()
        if now is not None and hasattr(run.config, COPY_OF):
            write_held(store_folder(run.config.store), Held.of(now.version, {}))
        vars(run.config).pop(UNFINISHED, None)
        run.save_config()
    except BaseException as error:
        # What is out of reach now is dropped by the next export, which finds it by the run
        if (engine is None or _is_dropped(engine)) and dataset.has_brain_run(brain_key):
            dataset.delete_brain_run(brain_key)
        if isinstance(error, AlphaClipError) or not isinstance(error, Exception):
            raise
        raise AlphaClipError(
            f"the vectors cannot be moved to {backend!r}: {error!s:.300}. See that it runs and has "
            "room, then export again"
        ) from error
    if source is not None and now is not None and hasattr(run.config, COPY_OF):
        copy = Copy(dataset, source.key, brain_key, kwargs, run)
        copy.note(Held.of(now.version, copy.measured(now)))
    return run


def _settings(
    index: SimilarityIndex,
    now: Snapshot | None,
    backend: str | type,
    brain_key: str,
    kwargs: Mapping[str, Any],
) -> dict[str, Any]:
    """Of the new run: what was said, and what it is called in its engine; that of a region index
    names the index, so that it can be kept in step."""
    parameters = _parameters(backend)
    settings: dict[str, Any] = names_for(str(backend), brain_key)
    metric = getattr(index.config, "metric", None)
    if metric is not None and "metric" in parameters:
        settings["metric"] = metric
    if now is not None and now.version.dtype == np.float16 and "vector_type" in parameters:
        settings["vector_type"] = "halfvec"
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        settings[UNFINISHED] = True
        if now is not None and "store" not in parameters:
            folder = now.version.folder
            settings[COPY_OF] = f"{folder.parent.name}/{folder.name}"
            settings[REACHED_BY] = public_in(kwargs)
            settings["store"] = new_store_id(index.samples._root_dataset, f"copy_{brain_key}")
    return {**settings, **kwargs}


def _parameters(backend: str | type) -> Mapping[str, inspect.Parameter]:
    """What the settings of a backend can be given; nothing, if it is not known."""
    import eta.core.utils as etau
    import fiftyone.brain as fob

    backends = fob.brain_config.similarity_backends
    if not isinstance(backend, str):
        config = backend
    elif "config_cls" in backends.get(backend, {}):
        config = backends[backend]["config_cls"]
    else:
        return {}
    config = etau.get_class(config) if isinstance(config, str) else config
    return inspect.signature(config).parameters


def _take_model(copy: SimilarityIndex, index: SimilarityIndex) -> None:
    """Given to ``compute_similarity``, the model would be loaded only to see what it can do."""
    copy.config.model = index.config.model
    copy.config.model_kwargs = index.config.model_kwargs
    copy.config.supports_prompts = index.config.supports_prompts
    copy.save_config()
    copy._model, copy._supports_prompts = index._model, index._supports_prompts


def _batches(index: SimilarityIndex, size: int) -> Iterator[Batch]:
    of_patches = index.config.patches_field is not None
    ids = index.label_ids if of_patches else index.sample_ids
    ids = getattr(index, "names", ids)
    if ids is None:
        raise AlphaClipError(f"a {index.config.method} index does not give its ids: export another")
    for start in range(0, len(ids), size):
        some = list(ids[start : start + size])
        vectors, samples, labels = index.get_embeddings(
            **{"label_ids" if of_patches else "sample_ids": some}
        )
        # Some backends join lists of ids only.
        names, samples = list(map(str, labels if of_patches else samples)), list(map(str, samples))
        yield Batch(names, samples, np.asarray(vectors))
