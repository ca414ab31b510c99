"""Registers a built index as a Brain run, while other threads may load the dataset anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alphaclip.indexing.similarity import FaissSimilarityConfig

if TYPE_CHECKING:
    import fiftyone as fo

_TRIES = 5


def register(dataset: fo.Dataset, key: str, store: str, model: str, field: str) -> None:
    """Registers a built index as a Brain run of its dataset; writes nothing if it is one.

    All threads of a process share a dataset. Where one of them, such as an event in the App, loads
    it anew at the wrong moment, FiftyOne forgets the run in this process, or fails; the run is then
    registered once more.

    Args:
        dataset: that the index belongs to
        key: of the index
        store: its id, see :mod:`alphaclip.indexing.places`
        model: name of a zoo model that encodes text for it
        field: that holds the regions
    """
    from alphaclip.indexing.zoo_source import install_zoo_source

    install_zoo_source(model)
    config = FaissSimilarityConfig(
        store=store, model=model, patches_field=field, supports_prompts=True
    )
    if _is_registered(dataset, key, config):
        return
    for attempt in range(_TRIES):
        try:
            _register(dataset, key, config)
        except (ReferenceError, ValueError):
            if attempt == _TRIES - 1:
                raise
        if _is_registered(dataset, key, config):
            return
        dataset.reload()


def _is_registered(dataset: fo.Dataset, key: str, config: FaissSimilarityConfig) -> bool:
    if not dataset.has_brain_run(key):
        return False
    same = dataset.get_brain_info(key).config.serialize() == config.serialize()
    return same and dataset.load_brain_results(key) is not None


def _register(dataset: fo.Dataset, key: str, config: FaissSimilarityConfig) -> None:
    method = config.build()
    method.register_run(dataset, key, overwrite=True, cleanup=False)
    method.save_run_results(dataset, key, method.initialize(dataset, key))
