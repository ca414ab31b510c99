"""A region index as a Brain run: FiftyOne's own search, in this process and in others."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from alphaclip import indexing
from alphaclip.catalog.zoo import NANO_FOLDER
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.brain.zoo_source import PACKAGED
from alphaclip.indexing.dataset.locations import index_folder, index_keys
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.store.store import writing
from alphaclip.indexing.zoo_model import RegionModel

ROOT = Path(__file__).parents[3]
NEW_PROCESS = """
import json, sys, fiftyone as fo, fiftyone.zoo as foz
dataset, zoo, *names = sys.argv[1:]
assert not any(name.startswith(("alphaclip", "torch")) for name in sys.modules)
listed = set(foz.list_zoo_models(tags="alphaclip"))
assert not any(name.startswith("alphaclip") for name in sys.modules)
loaded = [foz.load_zoo_model(name, classes=["cat", "dog"]) for name in names]
print(json.dumps([[m.encoder.name, m.classes, m.encoder.name in listed] for m in loaded]))

fo.config.model_zoo_dir = zoo
dataset = fo.load_dataset(dataset)
patches, keys = dataset.to_patches("boxes"), ("own", "regions")
found = [patches.sort_by_similarity("red apple", k=10, brain_key=key) for key in keys]
from alphaclip import indexing
hits = indexing.load(dataset, "regions").search("red apple", k=10)
print(json.dumps([[view.values("id") for view in found], hits.scores.tolist()]))
"""
"""It has the package's manifest, but none of what indexes leave in the zoo's folder; then that."""

MODELS = ("alphaclip-nano", "alphaclip-nano+maskattn", "alphaclip-nano+near+maskpool")


@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    """The folder of a model of one's own."""
    folder = tmp_path / "my model"
    return shutil.copytree(
        NANO_FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__", "*.py")
    )


def change_fingerprint(dataset: fo.Dataset) -> None:
    """Publishes a version that claims to be of other weights."""
    with writing(index_folder(dataset, "regions")) as writer:
        base = writer.base
        assert base is not None
        info = {**base.info, "fingerprint": "0" * 32}
        writer.publish(base.segments, base.dim, base.dtype, info)


def test_brain__a_new_process_knows_the_models_and_gives_what_search_gives(
    dataset: fo.Dataset, index: RegionIndex, own_model: Path, tmp_path: Path
) -> None:
    """The models before anything of the package is imported; then what was embedded by the name of
    one, and by the folder of one of one's own."""
    own = indexing.build(dataset, "boxes", own_model, key="own")
    dataset.persistent = True
    bare = {
        "FIFTYONE_MODEL_ZOO_DIR": str(tmp_path / "zoo"),
        "FIFTYONE_MODEL_ZOO_MANIFEST_PATHS": str(ROOT / "indexing" / "zoo" / PACKAGED),
    }
    command = [sys.executable, "-c", NEW_PROCESS, dataset.name, fo.config.model_zoo_dir, *MODELS]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **bare})
    assert run.returncode == 0, run.stderr
    models, (found, scores) = map(json.loads, run.stdout.splitlines()[-2:])
    assert models == [[name, ["cat", "dog"], True] for name in MODELS]
    expected = [one.search("red apple", k=10) for one in (own, index)]
    assert found == [hits.label_ids.tolist() for hits in expected]
    np.testing.assert_allclose(scores, expected[1].scores, atol=1e-6)


def test_brain__a_model_of_ones_own_is_found_by_its_folder(
    dataset: fo.Dataset, own_model: Path
) -> None:
    import fiftyone.zoo as foz

    indexing.build(dataset, "boxes", own_model)
    assert isinstance(foz.load_zoo_model(str(own_model)), RegionModel)
    assert sys.modules["alphaclip"].__name__ == "alphaclip"
    assert Path(sys.modules["alphaclip"].__file__).parent == NANO_FOLDER.parent
    indexing.build(dataset, "boxes", "alphaclip-nano", key="other")
    assert isinstance(foz.load_zoo_model(str(own_model)), RegionModel)


def test_brain__an_index_of_other_weights_is_not_searched_by_text(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    change_fingerprint(dataset)
    results = dataset.load_brain_results("regions", cache=False)
    with pytest.raises(AlphaClipError, match="cannot be compared"):
        results.sort_by_similarity("red apple", k=3)


def test_brain__deleting_the_run_deletes_the_index(dataset: fo.Dataset, index: RegionIndex) -> None:
    dataset.delete_brain_run("regions")
    assert index_keys(dataset) == []
    assert len(indexing.build(dataset, "boxes", "alphaclip-nano")) == 12
    results = dataset.load_brain_results("regions")
    results.cleanup()
    results.cleanup()
    assert index_keys(dataset) == []


def test_region_model__takes_pictures_with_an_alpha_channel(encoder: Encoder) -> None:
    model = RegionModel(encoder)
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    rgba = np.dstack([rgb, np.full((20, 30), 255, np.uint8)])
    np.testing.assert_allclose(model.embed(rgba), model.embed(rgb), atol=1e-6)


def test_brain__ids_vectors_and_reverse(dataset: fo.Dataset, index: RegionIndex) -> None:
    results = dataset.load_brain_results("regions")
    label = dataset.first().boxes.detections[2].id
    patches = dataset.to_patches("boxes")
    nearest = patches.sort_by_similarity(label, k=4, brain_key="regions").values("id")
    assert nearest[0] == label
    (vector,), _, _ = results.get_embeddings(label_ids=[label])
    assert vector.dtype == np.float32
    assert patches.sort_by_similarity(vector, k=4, brain_key="regions").values("id") == nearest
    farthest = patches.sort_by_similarity(vector, k=12, reverse=True, brain_key="regions")
    assert farthest.values("id")[-1] == label
    assert results.total_index_size == 12


def test_brain__text_finds_the_same_after_a_search_by_id(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    patches = dataset.to_patches("boxes")
    before = patches.sort_by_similarity("red apple", k=12, brain_key="regions").values("id")
    patches.sort_by_similarity(patches.first().id, k=12, brain_key="regions")
    dataset.load_brain_results("regions").find_unique(4)
    after = patches.sort_by_similarity("red apple", k=12, brain_key="regions").values("id")
    assert after == before


def test_brain__regions_are_removed_but_not_added(dataset: fo.Dataset, index: RegionIndex) -> None:
    results = dataset.load_brain_results("regions")
    found = results.get_embeddings()
    with pytest.raises(ValueError, match=r"index\.update\(\)"):
        results.add_to_index(*found)
    results.remove_from_index(sample_ids=[dataset.first().id])
    assert results.total_index_size == 8
    assert len(indexing.load(dataset, "regions")) == 8


def test_brain__a_clone_finds_the_same_until_it_changes(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    clone = dataset.clone()
    try:
        assert index_keys(clone) == ["regions"]
        theirs = clone.load_brain_results("regions")
        patches = clone.to_patches("boxes")
        found = patches.sort_by_similarity("red apple", k=10, brain_key="regions").values("id")
        assert found == list(index.search("red apple", k=10).label_ids)
        theirs.remove_from_index(label_ids=found[:3])
        assert (theirs.total_index_size, len(index)) == (9, 12)
        assert len(indexing.load(clone, "regions")) == 9
        dataset.delete_brain_run("regions")
        assert theirs.total_index_size == 9
    finally:
        fo.delete_dataset(clone.name)
