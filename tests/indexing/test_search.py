"""Build, load and search, on a real database and a real index."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from alphaclip.indexing.region_index import RegionIndex
from PIL import Image

from alphaclip import Region, indexing, load
from alphaclip.encoder import Encoder
from alphaclip.errors import AlphaClipError


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return load("alphaclip-nano")


@pytest.fixture
def dataset(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    rng = np.random.default_rng(0)
    dataset = dataset_factory()
    for i in range(3):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(path)
        boxes = [[0.1 * j, 0.2, 0.3, 0.5] for j in range(4)]
        detections = [fo.Detection(label=f"{i}{j}", bounding_box=b) for j, b in enumerate(boxes)]
        line = fo.Polyline(points=[[[0.1, 0.1], [0.6, 0.1], [0.6, 0.8]]], filled=i > 0, closed=True)
        dataset.add_sample(
            fo.Sample(
                path,
                boxes=fo.Detections(detections=detections),
                shape=line,
                kind=fo.Classification(label="noise"),
            )
        )
    return dataset


@pytest.fixture
def index(dataset: fo.Dataset, encoder: Encoder) -> RegionIndex:
    return indexing.build(dataset, "boxes", encoder)


def test_build__every_region_has_its_vector(dataset: fo.Dataset, index: RegionIndex) -> None:
    ids = dataset.values("boxes.detections.id", unwind=True)
    assert len(index) == 12
    assert index.info()["report"]["skipped"] == []
    sample = dataset.first()
    for label in sample.boxes.detections:
        example = (sample.filepath, Region.from_box(label.bounding_box))
        hits = index.search(example, k=12)
        assert hits.label_ids[0] == label.id
        assert hits.scores[0] == pytest.approx(1, abs=2e-3)
        assert sorted(hits.label_ids) == sorted(ids)


def test_search__text_is_the_exact_ranking(index: RegionIndex, encoder: Encoder) -> None:
    hits = index.search("red apple", k=5)
    vectors = np.asarray(index._stored.vectors, np.float32)
    cosines = vectors @ encoder.encode_text(["red apple"])[0]
    best = np.argsort(-cosines)[:5]
    np.testing.assert_allclose(hits.scores, cosines[best], atol=2e-3)
    assert list(hits.view().values("id")) == list(hits.label_ids)


def test_search__several_texts_are_one_query(index: RegionIndex) -> None:
    texts = ["red apple", "green pear"]
    single = [dict(zip(h.label_ids, h.scores, strict=True)) for h in index.search_many(texts, 12)]
    for aggregate, combine in (("max", max), ("mean", lambda a, b: (a + b) / 2)):
        hits = index.search(texts, k=12, aggregate=aggregate)
        expected = [combine(single[0][i], single[1][i]) for i in hits.label_ids]
        np.testing.assert_allclose(hits.scores, expected, atol=1e-5)
        assert (np.diff(hits.scores) <= 0).all()


def test_search__a_view_restricts(dataset: fo.Dataset, index: RegionIndex) -> None:
    view = dataset.limit(1)
    hits = index.search("red apple", k=50, view=view)
    assert sorted(hits.label_ids) == sorted(view.values("boxes.detections.id", unwind=True))
    patches = dataset.to_patches("boxes").limit(2)
    assert sorted(index.search("red apple", view=patches).label_ids) == sorted(patches.values("id"))
    assert len(index.search("red apple", view=dataset.limit(0))) == 0


def test_load__another_process_finds_the_same(dataset: fo.Dataset, index: RegionIndex) -> None:
    dataset.persistent = True
    script = (
        "import json, fiftyone as fo; from alphaclip import indexing; "
        f"h = indexing.load(fo.load_dataset({dataset.name!r})).search('red apple', k=5); "
        "print(json.dumps([list(h.label_ids), [float(s) for s in h.scores]]))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    labels, scores = json.loads(run.stdout.splitlines()[-1])
    hits = index.search("red apple", k=5)
    assert labels == list(hits.label_ids)
    np.testing.assert_allclose(scores, hits.scores, atol=1e-6)


def test_build__single_polylines_are_shown_as_samples(
    dataset: fo.Dataset, encoder: Encoder
) -> None:
    index = indexing.build(dataset, "shape", encoder, key="shapes")
    assert index.info()["report"]["unfilled"] == 1
    hits = index.search("triangle", k=3)
    assert hits.view().values("id") == list(hits.sample_ids)


def test_build__bad_picture_and_bad_boxes_are_reported(
    dataset: fo.Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    missing = fo.Detections(detections=[fo.Detection(bounding_box=[0, 0, 1, 1])])
    dataset.add_sample(fo.Sample(tmp_path / "gone.png", boxes=missing))
    sample = dataset.first()
    sample.boxes.detections[0].bounding_box = [0.1, 0.1, 0.0, 0.2]
    sample.boxes.detections[1].bounding_box = [0.1, 0.1, float("nan"), 0.2]
    sample.save()
    index = indexing.build(dataset, "boxes", encoder)
    assert len(index) == 10
    reasons = " ".join(s["reason"] for s in index.info()["report"]["skipped"])
    for expected in ("no such file", "has no area", "expected finite"):
        assert expected in reasons


@pytest.mark.parametrize(
    ("field", "message"),
    [("kind", "holds Classification, not regions"), ("nothing", "has no field 'nothing'")],
)
def test_build__field_without_regions(
    dataset: fo.Dataset, encoder: Encoder, field: str, message: str
) -> None:
    with pytest.raises(AlphaClipError, match=message):
        indexing.build(dataset, field, encoder)


def test_build__nothing_to_embed(dataset: fo.Dataset, encoder: Encoder) -> None:
    with pytest.raises(AlphaClipError, match="no samples"):
        indexing.build(dataset.limit(0), "boxes", encoder)


def test_build__key_is_taken_or_malformed(
    dataset: fo.Dataset, encoder: Encoder, index: RegionIndex
) -> None:
    with pytest.raises(AlphaClipError, match="overwrite=True"):
        indexing.build(dataset, "boxes", encoder)
    assert indexing.build(dataset, "boxes", encoder, overwrite=True).info()["version"] == 2
    for key in ("../up", "Upper", "", "a" * 65):
        with pytest.raises(AlphaClipError, match="key is"):
            indexing.build(dataset, "boxes", encoder, key=key)


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        ("apple", 0, "k is 0"),
        (" ", 5, "is empty"),
        ([], 5, "no prompt"),
        (np.ones(3), 5, "the index holds vectors of"),
        (np.zeros(192), 5, "no direction"),
        (7, 5, "query is a int"),
    ],
)
def test_search__bad_queries(index: RegionIndex, query: object, k: int, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        index.search(query, k=k)  # type: ignore[arg-type]


def test_load__unknown_key_names_the_known(dataset: fo.Dataset, index: RegionIndex) -> None:
    with pytest.raises(AlphaClipError, match="has no index 'other'; it has: regions"):
        indexing.load(dataset, "other")
    index.delete()
    with pytest.raises(AlphaClipError, match="it has: none"):
        indexing.load(dataset)


def test_search__index_of_another_encoder(index: RegionIndex, dataset: fo.Dataset) -> None:
    from alphaclip.views import View

    other = RegionIndex(dataset, "regions", encoder=load("alphaclip-nano", view=View("image")))
    with pytest.raises(AlphaClipError, match="cannot be compared"):
        other.search("red apple")


def test_search__a_damaged_file_is_found(index: RegionIndex, dataset: fo.Dataset) -> None:
    path = index._folder / "v000001" / "vectors.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(AlphaClipError, match=r"vectors\.npy is damaged"):
        indexing.load(dataset).search("red apple")


def test_cli__embed_then_search(
    dataset: fo.Dataset, encoder: Encoder, capsys: pytest.CaptureFixture
) -> None:
    from alphaclip.cli import main

    assert main(["embed", dataset.name, "boxes", "--encoder", "alphaclip-nano"]) == 0
    assert "12 regions of 3 samples" in capsys.readouterr().out
    assert main(["search", dataset.name, "regions", "red apple", "-k", "3", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = indexing.load(dataset).search("red apple", k=3)
    assert [row["label_id"] for row in rows] == list(expected.label_ids)
    labels = expected.view().values("boxes.label")
    assert [row["label"] for row in rows] == labels
    assert main(["search", "nowhere", "regions", "red apple"]) == 1
    assert "there is no dataset 'nowhere'" in capsys.readouterr().err


def test_brain__a_new_process_gives_what_search_gives(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    dataset.persistent = True
    script = (
        "import json, fiftyone as fo; "
        f"v = fo.load_dataset({dataset.name!r}).to_patches('boxes'); "
        "v = v.sort_by_similarity('red apple', k=10, brain_key='regions'); "
        "print(json.dumps(v.values('id')))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    labels = json.loads(run.stdout.splitlines()[-1])
    assert labels == list(index.search("red apple", k=10).label_ids)


def test_brain__ids_vectors_and_reverse(dataset: fo.Dataset, index: RegionIndex) -> None:
    results = dataset.load_brain_results("regions")
    label = dataset.first().boxes.detections[2].id
    patches = dataset.to_patches("boxes")
    nearest = patches.sort_by_similarity(label, k=4, brain_key="regions").values("id")
    assert nearest[0] == label
    (vector,), _, _ = results.get_embeddings(label_ids=[label])
    assert patches.sort_by_similarity(vector, k=4, brain_key="regions").values("id") == nearest
    farthest = patches.sort_by_similarity(vector, k=12, reverse=True, brain_key="regions")
    assert farthest.values("id")[-1] == label
    assert results.total_index_size == 12
