"""Build, load and search, on a real database and a real index."""

import json
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest

from alphaclip import Region, indexing, load
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.locations import index_folder
from alphaclip.indexing.region_index import RegionIndex
from alphaclip.indexing.retrieval.hit_listing import list_hits


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
    vectors = index.vectors(np.arange(12))
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


def test_build__single_polylines_are_shown_as_samples(
    dataset: fo.Dataset, encoder: Encoder
) -> None:
    index = indexing.build(dataset, "shape", encoder, key="shapes")
    assert index.info()["report"]["unfilled"] == 1
    hits = index.search("triangle", k=3)
    assert hits.view().values("id") == list(hits.sample_ids)


def test_build__one_bad_label_is_left_out_and_counted(
    dataset: fo.Dataset, encoder: Encoder
) -> None:
    square, triangle = [(0.1, 0.1), (0.5, 0.1), (0.5, 0.5), (0.1, 0.5)], [(0, 0), (1, 0), (1, 1)]
    shapes = {
        "whole": [square],
        "stray": [square, [(0.9, 0.9)], [(0.9, 0.9), (0.8, 0.8)]],
        "empty point": [[(0.1, 0.1), (0.5, 0.1), None]],
        "text": [triangle, [(0.1, 0.1), (0.5, "x"), (0.2, 0.3)]],
    }
    lines = [fo.Polyline(label=n, points=p, filled=True) for n, p in shapes.items()]
    sample = dataset.first()
    sample["lines"] = fo.Polylines(polylines=lines)
    sample.save()
    report = indexing.build(dataset, "lines", encoder, key="lines").info()["report"]
    assert (report["regions"], report["stray_rings"]) == (2, 2)
    assert {one["label_id"] for one in report["skipped"]} == {line.id for line in lines[2:]}


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
        ([], 5, "query is empty"),
        (np.ones(3), 5, "the index holds vectors of"),
        (np.zeros(192), 5, "length is zero or not finite: it has no direction"),
        (np.full(192, 1e30), 5, "length is zero or not finite"),
        (7, 5, "query is a int"),
        ("apple", 2.5, "expected a whole number"),
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
    from alphaclip.views.view import View

    other = RegionIndex(dataset, "regions", encoder=load("alphaclip-nano", view=View("image")))
    with pytest.raises(AlphaClipError, match="cannot be compared"):
        other.search("red apple")


def test_search__a_damaged_file_is_found(index: RegionIndex, dataset: fo.Dataset) -> None:
    (path,) = (index_folder(dataset, "regions") / "data").glob("*.npy")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(AlphaClipError, match=r"\.npy is damaged"):
        indexing.load(dataset).search("red apple")


def test_cli__embed_then_search(
    dataset: fo.Dataset, encoder: Encoder, capsys: pytest.CaptureFixture
) -> None:
    from alphaclip.cli import main

    assert main(["embed", dataset.name, "boxes", "--encoder", "alphaclip-nano"]) == 0
    assert "12 regions, 12 added, 0 skipped" in capsys.readouterr().out
    assert main(["search", dataset.name, "regions", "red apple", "-k", "3", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = indexing.load(dataset).search("red apple", k=3)
    assert [row["label_id"] for row in rows] == list(expected.label_ids)
    labels = expected.view().values("boxes.label")
    assert [row["label"] for row in rows] == labels
    assert main(["search", "nowhere", "regions", "red apple"]) == 1
    assert "there is no dataset 'nowhere'" in capsys.readouterr().err


def test_build__name_of_another_brain_run(dataset: fo.Dataset, encoder: Encoder) -> None:
    import fiftyone.brain as fob

    fob.compute_similarity(
        dataset, patches_field="boxes", embeddings=_ones(dataset), brain_key="regions"
    )
    with pytest.raises(AlphaClipError, match="a Brain run 'regions' of another kind"):
        indexing.build(dataset, "boxes", encoder, overwrite=True)
    assert dataset.list_brain_runs() == ["regions"]
    with pytest.raises(AlphaClipError, match="has no index 'regions'"):
        indexing.load(dataset)


def test_build__patches_are_not_pictures(dataset: fo.Dataset, encoder: Encoder) -> None:
    with pytest.raises(AlphaClipError, match="is a view of PatchesView: pass the dataset"):
        indexing.build(dataset.to_patches("boxes"), "boxes", encoder)


def test_build__pictures_without_labels_are_not_opened(
    dataset: fo.Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    dataset.add_sample(fo.Sample(tmp_path / "gone.png"))
    assert indexing.build(dataset, "boxes", encoder).info()["report"]["skipped"] == []


def test_build__unreadable_mask_is_skipped(
    dataset: fo.Dataset, encoder: Encoder, tmp_path: Path
) -> None:
    sample = dataset.first()
    (tmp_path / "mask.png").write_bytes(b"no picture")
    sample.boxes.detections[0].mask_path = str(tmp_path / "mask.png")
    sample.save()
    index = indexing.build(dataset, "boxes", encoder)
    (skipped,) = index.info()["report"]["skipped"]
    assert skipped["label_id"] == sample.boxes.detections[0].id
    assert "mask.png: not a picture" in skipped["reason"]
    assert len(index) == 11


def test_search__a_view_that_shows_other_fields(dataset: fo.Dataset, index: RegionIndex) -> None:
    first = dataset.limit(1)
    inside = sorted(first.values("boxes.detections.id", unwind=True))
    for view in (first.exclude_fields("boxes"), first.select_fields("kind")):
        assert sorted(index.search("red apple", view=view).label_ids) == inside


def test_search__patches_of_another_field_stand_for_their_pictures(
    dataset: fo.Dataset, index: RegionIndex
) -> None:
    dataset.clone_sample_field("boxes", "copies")
    for label in dataset.values("copies.detections", unwind=True):
        assert label.id
    patches = dataset.limit(1).to_patches("copies")
    expected = dataset.limit(1).values("boxes.detections.id", unwind=True)
    assert sorted(index.search("red apple", view=patches).label_ids) == sorted(expected)


def test_search__a_view_of_another_dataset(
    index: RegionIndex, dataset_factory: Callable[[], fo.Dataset]
) -> None:
    other = dataset_factory()
    with pytest.raises(AlphaClipError, match=f"view is of dataset '{other.name}'"):
        index.search("red apple", view=other.view())


def test_hits__of_a_grouped_dataset_are_patches(
    dataset_factory: Callable[[], fo.Dataset], dataset: fo.Dataset, encoder: Encoder
) -> None:
    grouped = dataset_factory()
    grouped.add_group_field("group", default="left")
    for sample in dataset:
        group = fo.Group()
        copies = [
            fo.Sample(sample.filepath, boxes=sample.boxes.copy(), group=group.element(side))
            for side in ("left", "right")
        ]
        grouped.add_samples(copies)
    index = indexing.build(grouped, "boxes", encoder)
    assert len(index) == 12
    hits = index.search("red apple", k=5)
    assert hits.view().values("id") == hits.label_ids.tolist()
    assert len(index.search("red apple", view=grouped.limit(1))) == 4


def test_list_hits__a_label_that_was_edited_away(dataset: fo.Dataset, index: RegionIndex) -> None:
    sample = dataset.first()
    sample.boxes.detections[0].bounding_box = [0.1, 0.1, 0.0, 0.2]
    sample.save()
    listed = {hit.label_id: hit.region for hit in list_hits(index.search("red apple", k=12))}
    assert len(listed) == 12
    assert listed[sample.boxes.detections[0].id] is None


def _ones(dataset: fo.Dataset) -> dict[str, np.ndarray]:
    return {sample.id: np.ones((len(sample.boxes.detections), 3)) for sample in dataset}
