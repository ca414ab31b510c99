"""An index of vectors that a method made, from building to explaining."""

from __future__ import annotations

import argparse
from pathlib import Path

import fiftyone as fo
import fiftyone.zoo
import numpy as np
import pytest

from alphaclip import Region, indexing, load
from alphaclip.indexing.cli.index_cli import chosen_encoder
from alphaclip.indexing.explore.explaining import explain_region
from tests.alphaclip.hub_models import save_tiny

NAME = "alphaclip-nano+maskattn"


ENSEMBLE = "alphaclip-nano & alphaclip-nano+box"


@pytest.mark.parametrize("name", [NAME, "alphaclip-nano+maskedcrop", ENSEMBLE])
def test_build__with_a_method_in_the_name(dataset: fo.Dataset, name: str) -> None:
    indexing.build(dataset, "boxes", name)
    index = indexing.load(dataset, "regions")
    assert index.info()["encoder"] == index.encoder.name == name
    assert index.encoder.fingerprint == load(name).fingerprint
    hits = index.search("a red apple", k=12)
    assert len(hits.label_ids) == 12

    encoder = load(name)
    scores = {}
    for sample in dataset:
        found = [Region.from_box(d.bounding_box) for d in sample.boxes.detections]
        cosines = (
            encoder.encode_regions(sample.filepath, found) @ encoder.encode_text(["a red apple"]).T
        )
        scores |= zip([d.id for d in sample.boxes.detections], cosines[:, 0], strict=True)
    np.testing.assert_allclose(hits.scores, [scores[i] for i in hits.label_ids], atol=1e-3)


@pytest.mark.parametrize("name", [NAME, ENSEMBLE])
def test_update__goes_on_with_the_method(dataset: fo.Dataset, name: str) -> None:
    indexing.build(dataset, "boxes", name)
    sample = dataset.first()
    sample.boxes.detections[0].bounding_box = [0.2, 0.1, 0.6, 0.7]
    sample.save()
    index = indexing.load(dataset, "regions")
    assert index.update().edited == 1
    assert len(index.search("a violin", k=20).label_ids) == 12


def test_build__with_a_model_of_transformers(dataset: fo.Dataset, tmp_path: Path) -> None:
    name = f"{save_tiny('tipsv2', tmp_path / 'model')}+maskpool"
    indexing.build(dataset, "boxes", name)
    sample = dataset.first()
    sample.boxes.detections[0].bounding_box = [0.2, 0.1, 0.6, 0.7]
    sample.save()
    index = indexing.load(dataset, "regions")
    assert index.info()["encoder"] == index.encoder.name == name
    assert index.update().edited == 1
    hits = index.search("a red dog", k=12)
    assert len(hits.label_ids) == 12
    patches = dataset.to_patches("boxes").sort_by_similarity("a red dog", 12, brain_key="regions")
    assert patches.values("boxes.id") == list(hits.label_ids)
    words = fiftyone.zoo.load_zoo_model(name).embed_prompts(["a red dog"])
    np.testing.assert_allclose(words, index.encoder.encode_text(["a red dog"]), atol=1e-3)


def test_chosen_encoder__asks_only_where_none_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alphaclip.encoder.auto.ask_for_model", lambda: "the answer")
    assert chosen_encoder(argparse.Namespace(encoder="auto")) == "the answer"
    assert chosen_encoder(argparse.Namespace(encoder=NAME)) == NAME


def test_explain_region__with_a_method(dataset: fo.Dataset) -> None:
    index = indexing.build(dataset, "boxes", NAME)
    label = dataset.last().boxes.detections[1].id
    found = explain_region(index, label, "red apple", cells=3)
    assert found.shape == (40, 60) and 0 <= found.min() < found.max() <= 1
