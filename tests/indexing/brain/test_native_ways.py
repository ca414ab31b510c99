"""FiftyOne's own ways to embed: ``compute_similarity``, ``compute_embeddings``, ``apply_model``."""

import logging
import warnings
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest

from alphaclip import indexing
from alphaclip.cli import main
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.brain.zoo_source import install_zoo_source
from alphaclip.indexing.similarity import FaissSimilarityConfig
from alphaclip.indexing.zoo_model import RegionModel

from ..brain_data import compute

NANO = "alphaclip-nano"
QUIET = {"num_workers": 0, "progress": False}


@pytest.fixture
def dataset(dataset: fo.Dataset) -> fo.Dataset:
    """With masks: the lower left half of every second box."""
    install_zoo_source()
    for sample in dataset.iter_samples(autosave=True):
        for detection in sample.boxes.detections[::2]:
            detection.mask = np.tri(20, 18, dtype=bool)
    return dataset


@pytest.fixture
def model(encoder: Encoder) -> RegionModel:
    return RegionModel(encoder)


def by_label(index: Any) -> dict[str, np.ndarray]:
    found, _, labels = index.get_embeddings()
    return dict(zip(labels, found, strict=True))


def of_samples(dataset: fo.Dataset, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Vectors of patches as FiftyOne takes them."""
    return dict(zip(dataset.values("id"), rows.reshape(3, 4, -1), strict=True))


def crops(dataset: fo.Dataset, model: RegionModel, **settings: Any) -> list[np.ndarray]:
    with pytest.warns(UserWarning, match="embed crops"):
        found = dataset.compute_patch_embeddings(model, "boxes", **QUIET, **settings)
    return list(found.values())


@pytest.mark.parametrize("field", ["boxes", "shape"])
@pytest.mark.parametrize("named", [True, False])
def test_similarity__embeds_patches_with_their_masks(
    dataset: fo.Dataset, model: RegionModel, field: str, named: bool
) -> None:
    view, given = dataset[:2], NANO if named else model
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*embed crops")
        native = compute(view, patches_field=field, model=given, batch_size=3, **QUIET)
    indexing.build(view, field, NANO, key="built")
    ours, theirs = by_label(native), by_label(dataset.load_brain_results("built"))
    assert list(ours) == list(theirs)
    for label, vector in ours.items():
        np.testing.assert_allclose(vector, theirs[label], atol=2e-3)


def test_similarity__what_cannot_be_embedded_is_left_out(
    dataset: fo.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    Path(dataset.last().filepath).unlink()
    first = dataset.first()
    first.boxes.detections[0].mask = np.zeros((4, 4), bool)
    first.save()
    with caplog.at_level(logging.WARNING):
        index = compute(dataset, patches_field="boxes", model=NANO, **QUIET)
    assert index.total_index_size == 7
    assert first.boxes.detections[0].id not in index.label_ids
    assert "1 regions cannot be embedded" in caplog.text
    with pytest.raises(AlphaClipError, match=str(dataset.last().filepath)):
        index.compute_embeddings(dataset, skip_failures=False)


def test_similarity__given_vectors_stay_as_they_are(dataset: fo.Dataset) -> None:
    given = np.random.default_rng(0).normal(size=(12, 192)).astype(np.float32)
    given_of_samples = of_samples(dataset, given)
    index = compute(dataset, patches_field="boxes", model=NANO, embeddings=given_of_samples)
    np.testing.assert_array_equal(index.get_embeddings()[0], given)


def test_similarity__an_empty_index_is_filled_with_masks(
    dataset: fo.Dataset, model: RegionModel
) -> None:
    index = compute(dataset, patches_field="boxes", model=model, embeddings=False)
    assert {each.shape for each in crops(dataset, model)} == {(4, 192)}
    index.add_to_index(*index.compute_embeddings(dataset[:1]))
    more = index.compute_embeddings(dataset, None, 3, None, False, True)
    assert len(more[0]) == 8
    index.add_to_index(*more)
    built = indexing.build(dataset, "boxes", NANO, key="built")
    theirs = by_label(dataset.load_brain_results(built.key))
    for label, vector in by_label(index).items():
        np.testing.assert_allclose(vector, theirs[label], atol=2e-3)


def test_add__vectors_of_no_numbers_need_an_encoder(dataset: fo.Dataset) -> None:
    given = of_samples(dataset, np.ones((12, 4), np.float32))
    index = compute(dataset, patches_field="boxes", embeddings=given)
    _, samples, labels = index.get_embeddings()
    with pytest.raises(ValueError):
        index.add_to_index(np.zeros((12, 0)), samples, labels)


def test_similarity__crops_for_another_backend_are_warned_of(
    dataset: fo.Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    ours = compute(dataset, patches_field="boxes", model=NANO, **QUIET)
    right = r"indexing\.build\(dataset, FIELD, 'alphaclip-nano'\)"
    with pytest.warns(UserWarning, match=right), caplog.at_level(logging.WARNING):
        other = fob.compute_similarity(
            dataset, patches_field="boxes", model=NANO, backend="sklearn", **QUIET
        )
    assert "indexing.build(dataset, FIELD, 'alphaclip-nano')" in caplog.text
    assert other.total_index_size == 12
    masked = by_label(ours)
    for label, vector in by_label(other).items():
        assert np.abs(masked[label] - vector).max() > 2e-3


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batch_size__is_that_of_the_encoder(
    dataset: fo.Dataset, model: RegionModel, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    encode, batches = model.encoder.encode_many, list[int]()

    def counted(items: list, batch_size: int) -> Any:
        batches.append(batch_size)
        return encode(items, batch_size=batch_size)

    alone = dataset.compute_embeddings(model, **QUIET)
    monkeypatch.setattr(model.encoder, "encode_many", counted)
    together = dataset.compute_embeddings(model, batch_size=batch_size, **QUIET)
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert batches == [batch_size] * (3 // batch_size) + [3 % batch_size] * (batch_size == 2)
    batches.clear()
    crops(dataset, model, batch_size=batch_size)
    assert max(batches) == batch_size
    assert sum(batches) == 12


def test_pictures__are_opened_as_a_build_opens_them(
    dataset: fo.Dataset, model: RegionModel
) -> None:
    from PIL import Image

    path, exif = Path(dataset.first().filepath), Image.Exif()
    upright = dataset[:1].compute_embeddings(model, **QUIET)
    exif[0x0112] = 6
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    np.testing.assert_allclose(dataset[:1].compute_embeddings(model, **QUIET), upright, atol=1e-4)


def test_apply_model__classifies_pictures(dataset: fo.Dataset, encoder: Encoder) -> None:
    model = RegionModel(encoder, ["apple", "car", "tree"], "a drawing of a")
    dataset.apply_model(model, "found", batch_size=2, confidence_thresh=0.0, **QUIET)
    scores = model.embed_prompts(
        ["a drawing of a apple", "a drawing of a car", "a drawing of a tree"]
    )
    cosines = dataset.compute_embeddings(model, **QUIET) @ scores.T
    labels = np.array(model.classes)[cosines.argmax(axis=1)]
    assert dataset.values("found.label") == labels.tolist()
    assert all(1 / 3 < share <= 1 for share in dataset.values("found.confidence"))


def test_apply_model__without_classes_says_how(dataset: fo.Dataset, model: RegionModel) -> None:
    with pytest.raises(AlphaClipError, match=r'classes=\["cat", "dog"\]'):
        dataset.apply_model(model, "found", **QUIET)
    with pytest.raises(AlphaClipError, match="classes"):
        RegionModel(model.encoder, classes="cat")  # type: ignore[arg-type]


@pytest.mark.parametrize("patches_field", [None, "boxes"])
def test_embeddings_field__has_the_vectors(dataset: fo.Dataset, patches_field: str | None) -> None:
    of_labels = patches_field is not None
    path = "boxes.detections.vector" if of_labels else "vector"
    Path(dataset.last().filepath).unlink()
    settings = {"patches_field": patches_field, "model": NANO, "embeddings": "vector"}
    index = compute(dataset, **settings, **QUIET)
    found, samples, labels = index.get_embeddings()
    assert index.total_index_size == (8 if of_labels else 2)
    stored = [one for one in dataset.values(path, unwind=of_labels) if one is not None]
    np.testing.assert_array_equal(stored, found)

    written = dataset.values("last_modified_at")
    again = compute(dataset, "again", **settings, **QUIET)
    np.testing.assert_array_equal(again.get_embeddings()[0], found)
    assert dataset.values("last_modified_at") == written

    index.add_to_index(found + 1, samples, labels, overwrite=False)
    assert dataset.values("last_modified_at") == written
    index.remove_from_index(sample_ids=[samples[0]])
    left = [one for one in dataset.values(path, unwind=of_labels) if one is not None]
    np.testing.assert_array_equal(left, found[samples != samples[0]])


@pytest.mark.parametrize("metric", ["cosine", "dotproduct", "euclidean"])
def test_centered__takes_the_mean_off(dataset: fo.Dataset, metric: str) -> None:
    given = np.random.default_rng(0).normal(3, 1, size=(12, 5)).astype(np.float32)
    settings = {"patches_field": "boxes", "metric": metric}
    ours = compute(dataset, centered=True, embeddings=of_samples(dataset, given), **settings)
    moved = of_samples(dataset, given - given.mean(axis=0))
    plain = compute(dataset, "plain", embeddings=moved, **settings)
    for query in (None, ours.label_ids[:2].tolist()):
        *found, near = ours._kneighbors(query, k=4, return_dists=True)
        *expected, apart = plain._kneighbors(query, k=4, return_dists=True)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(near, apart, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours.get_embeddings()[0], given)
    assert ours._kneighbors(given[5], k=3) == ours._kneighbors(ours.label_ids[5], k=3)


def test_centered__neighbours_are_those_of_sklearn(dataset: fo.Dataset) -> None:
    given = np.random.default_rng(1).normal(3, 1, size=(12, 5))
    settings = {"patches_field": "boxes", "embeddings": of_samples(dataset, given)}
    compute(dataset, centered=True, **settings)
    dataset.clear_cache()
    ours = dataset.load_brain_results("sim")
    assert isinstance(ours.config, FaissSimilarityConfig)
    theirs = fob.compute_similarity(dataset, backend="sklearn", **settings)
    (found, near), (expected, apart) = (
        one._kneighbors(k=3, return_dists=True) for one in (ours, theirs)
    )
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(near, apart, atol=1e-5)


def test_similarity__is_searched_and_updated_as_if_it_was_built(
    dataset: fo.Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    compute(dataset, patches_field="boxes", model=NANO, brain_key="native", **QUIET)
    given = of_samples(dataset, np.ones((12, 4), np.float32))
    compute(dataset, patches_field="boxes", embeddings=given, brain_key="given")
    compute(
        dataset, patches_field="boxes", model=NANO, brain_key="far", metric="euclidean", **QUIET
    )
    assert main(["index", "list", dataset.name]) == 0
    assert capsys.readouterr().out.split() == ["native"]
    native, built = indexing.load(dataset, "native"), indexing.build(dataset, "boxes", NANO)
    found, expected = native.search("red apple", k=None), built.search("red apple", k=None)
    assert found.label_ids.tolist() == expected.label_ids.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, atol=2e-3)
    assert native.info()["field"] == "boxes"
    assert len(indexing.find_outliers(native, 3, progress=False)) == 3

    first = dataset.first()
    del first.boxes.detections[0]
    first.save()
    report = native.update(progress=False)
    assert (report.regions, report.gone) == (11, 1)
    assert native.freshness(progress=False).is_fresh and len(native) == 11
    assert len(native.search("red apple", k=None)) == 11
