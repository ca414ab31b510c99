"""Which samples and labels are meant: of FiftyOne views grouped by a field, where fields and slices
were renamed, where nothing could be embedded, and after the database ended uncleanly."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from bson import ObjectId
from fiftyone import ViewField as F
from PIL import Image

from alphaclip import indexing
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import count_samples, flat
from alphaclip.indexing.explore.picture_search import find_pictures
from alphaclip.indexing.explore.scores import count_above
from alphaclip.indexing.region_index import RegionIndex

BOXES = ([0.1, 0.1, 0.3, 0.5], [0.5, 0.2, 0.4, 0.6])
CLOUD = (
    "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 1\nHEIGHT 1\nPOINTS 1\n"
    "DATA ascii\n0 0 0\n"
)

Groupings = dict[str, Callable[[fo.Dataset], fo.DatasetView]]
GROUPED: Groupings = {
    "by a field": lambda dataset: dataset.group_by("scene"),
    "ordered": lambda dataset: dataset.group_by("scene", order_by="filepath"),
    "ordered backwards": lambda d: d.group_by("scene", order_by="filepath", reverse=True),
    "by an expression": lambda dataset: dataset.group_by(F("filepath").strlen()),
    "by the id": lambda dataset: dataset.group_by("id"),
    "flat": lambda dataset: dataset.group_by("scene", flat=True),
    "flattened": lambda dataset: dataset.group_by("scene").flatten(),
    "again": lambda dataset: dataset.group_by("scene").flatten().group_by("filepath"),
}
SOME: Groupings = {
    "a view": lambda dataset: dataset.match(F("scene") == "s0").group_by("filepath"),
    "one group": lambda dataset: dataset.group_by("scene").limit(1),
    "groups of a class": lambda dataset: dataset.group_by("scene").match(F("scene") == "s0"),
    "one sample of each": lambda d: d.group_by("scene").flatten(fo.Limit(1)),
    "patches": lambda d: d.match(F("scene") == "s0").to_patches("boxes").group_by("boxes.label"),
}


def add(dataset: fo.Dataset, folder: Path, name: str, **fields: object) -> fo.Sample:
    pixels = np.random.default_rng(len(dataset)).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"{name}.png")
    detections = [fo.Detection(label=f"{i}", bounding_box=b) for i, b in enumerate(BOXES)]
    boxes = fo.Detections(detections=detections)
    sample = fo.Sample(str(folder / f"{name}.png"), boxes=boxes, **fields)
    dataset.add_sample(sample)
    return sample


@pytest.fixture
def dataset(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    dataset = dataset_factory()
    for number in range(4):
        add(dataset, tmp_path, str(number), scene=f"s{number % 2}")
    return dataset


@pytest.fixture(scope="module")
def indexed(
    dataset_factory: Callable, tmp_path_factory: pytest.TempPathFactory, encoder: Encoder
) -> RegionIndex:
    dataset, folder = dataset_factory(), tmp_path_factory.mktemp("pictures")
    for number in range(4):
        add(dataset, folder, str(number), scene=f"s{number % 2}")
    return indexing.build(dataset, "boxes", encoder)


@pytest.mark.parametrize("name", GROUPED)
def test_search__in_a_grouped_view(indexed: RegionIndex, name: str) -> None:
    view = GROUPED[name](indexed.dataset)
    everything = indexed.search("a red apple", k=None)
    assert indexed.search("a red apple", k=None, view=view).region_ids == everything.region_ids
    assert [len(hits) for hits in indexed.search_many(["a", "b"], k=50, view=view)] == [8, 8]
    assert len(indexing.search([indexed], "a red apple", k=None, view=view)) == 8
    assert count_above(indexed, "a red apple", -1, view) == 8
    assert len(find_pictures(indexed, ["a red apple"], k=None, view=view)) == 4
    assert len(flat(view)) == 4
    results = indexed.dataset.load_brain_results("regions")
    assert results.use_view(view).index_size == 8


@pytest.mark.parametrize("name", SOME)
def test_search__in_a_part_of_a_grouped_view(indexed: RegionIndex, name: str) -> None:
    hits = indexed.search("a red apple", k=None, view=SOME[name](indexed.dataset))
    scenes = indexed.dataset.select(hits.sample_ids.tolist()).values("scene")
    assert len(hits) == 4
    assert scenes == (["s0", "s1"] if name == "one sample of each" else ["s0", "s0"])


@pytest.mark.parametrize("make", [GROUPED["ordered"], SOME["groups of a class"]])
def test_build__on_a_grouped_view(dataset: fo.Dataset, encoder: Encoder, make: Callable) -> None:
    index = indexing.build(make(dataset), "boxes", encoder)
    assert index.freshness().is_fresh
    count = len(index)
    assert count in (4, 8)
    add(dataset, Path(dataset.first().filepath).parent, "new", scene="s0")
    assert index.freshness().missing == 2
    assert index.update().regions == count + 2


@pytest.mark.parametrize(
    "make",
    [
        lambda dataset: dataset.match(F("created_at") > datetime(2020, 1, 1)),
        lambda dataset: dataset.match(
            F("_id").is_in([ObjectId(one) for one in dataset.values("id")])
        ),
    ],
)
def test_build__on_a_view_that_compares_times_and_ids(
    dataset: fo.Dataset, encoder: Encoder, make: Callable
) -> None:
    index = indexing.build(make(dataset), "boxes", encoder)
    assert index.freshness().is_fresh
    assert index.update().kept == 8


def test_build__groups_of_groups(
    dataset_factory: Callable, tmp_path: Path, encoder: Encoder
) -> None:
    """Slices of a grouped dataset that is grouped by a field as well."""
    dataset = dataset_factory()
    dataset.add_group_field("group", default="left")
    for number in range(3):
        group = fo.Group()
        for side in ("left", "right"):
            add(dataset, tmp_path, f"{number}{side}", scene="s", group=group.element(side))
    grouped = dataset.group_by("scene")
    index = indexing.build(grouped, "boxes", encoder)
    assert len(index) == 6
    assert len(index.search("a red apple", k=None, view=grouped)) == 6
    assert set(dataset.select_group_slices("left").values("id")) == {
        sample.decode() for sample in index.ids.sample_ids
    }


def test_counts__are_exact(
    dataset: fo.Dataset, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database estimates how many samples there are; after it was killed, 0."""
    monkeypatch.setattr(fo.Dataset, "_estimated_count", lambda self, frames=False: 0)
    assert len(dataset) == len(dataset.view()) == 0
    assert count_samples(dataset) == count_samples(dataset.view()) == 4
    told = []
    index = indexing.build(
        dataset, "boxes", encoder, progress=lambda what, done, total: told.append(total)
    )
    assert len(index) == 8
    assert told[0] == 4
    assert index.freshness().is_fresh
    assert len(index.search("a red apple", k=None, view=dataset.view())) == 8
    with pytest.raises(AlphaClipError, match="holds no labels in these 4 samples"):
        indexing.segment(with_empty(dataset), "spare", into="masks")


def with_empty(dataset: fo.Dataset) -> fo.Dataset:
    dataset.add_sample_field("spare", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    return dataset


def cloud(folder: Path) -> str:
    path = folder / "cloud.pcd"
    path.write_text(CLOUD)
    return str(path)


def solid() -> fo.Detections:
    size = {"location": [0, 0, 0], "dimensions": [1, 1, 1], "rotation": [0, 0, 0]}
    return fo.Detections(detections=[fo.Detection(label="car", **size)])


@pytest.mark.parametrize("value", [fo.Detections(), None])
def test_build__an_empty_field(dataset: fo.Dataset, encoder: Encoder, value: object) -> None:
    with_empty(dataset)
    dataset.set_values("spare", [value] * 4)
    with pytest.raises(AlphaClipError, match="'spare' holds no labels in these 4 samples"):
        indexing.build(dataset, "spare", encoder)


def test_build__boxes_of_another_kind(dataset: fo.Dataset, encoder: Encoder) -> None:
    with_empty(dataset)
    dataset.set_values("spare", [solid()] * 4)
    with pytest.raises(AlphaClipError, match="4 were skipped, the first because it is a 3D box"):
        indexing.build(dataset, "spare", encoder)


def test_build__no_pictures(dataset_factory: Callable, tmp_path: Path, encoder: Encoder) -> None:
    clouds, empty, groups = dataset_factory(), dataset_factory(), dataset_factory()
    clouds.add_sample(fo.Sample(cloud(tmp_path), boxes=solid()))
    with pytest.raises(AlphaClipError, match="media type 'point-cloud' here"):
        indexing.build(clouds, "boxes", encoder)
    with pytest.raises(AlphaClipError, match="has no samples here"):
        indexing.build(empty, "boxes", encoder)
    groups.add_group_field("group", default="lidar")
    group = fo.Group()
    groups.add_sample(fo.Sample(cloud(tmp_path), group=group.element("lidar")))
    add(groups, tmp_path, "left", group=group.element("left"))
    message = r"slice 'lidar' of .* has media type 'point-cloud'.*select_group_slices\('left'\)"
    with pytest.raises(AlphaClipError, match=message):
        indexing.build(groups, "boxes", encoder)
    with pytest.raises(AlphaClipError, match=message):
        indexing.segment(groups, into="masks")
    assert len(indexing.build(groups.select_group_slices("left"), "boxes", encoder)) == 2


def test_build__a_field_inside_of_another(dataset: fo.Dataset, encoder: Encoder) -> None:
    dataset.add_sample_field(
        "run1", fo.EmbeddedDocumentField, embedded_doc_type=fo.DynamicEmbeddedDocument
    )
    dataset.set_values("run1.boxes", dataset.values("boxes"), dynamic=True)
    for field in ("run1.boxes", "run1.nothing"):
        with pytest.raises(
            AlphaClipError, match=f"{field!r} is inside of 'run1': regions are read"
        ):
            indexing.build(dataset, field, encoder)
    for field in ("boxes.detections", "boxes.detections.label"):
        with pytest.raises(AlphaClipError, match="is inside of field 'boxes': name that one"):
            indexing.build(dataset, field, encoder)
    with pytest.raises(AlphaClipError, match=r"has no field 'nothing\.boxes'"):
        indexing.build(dataset, "nothing.boxes", encoder)
    dataset.clone_sample_field("run1.boxes", "run1_boxes")
    assert len(indexing.build(dataset, "run1_boxes", encoder)) == 8


def test_update__the_field_was_renamed(dataset: fo.Dataset, encoder: Encoder) -> None:
    """Building under the same key takes the vectors over, and all is of the new field."""
    index = indexing.build(dataset, "boxes", encoder)
    dataset.rename_sample_field("boxes", "things")
    for run in (index.update, index.freshness):
        with pytest.raises(AlphaClipError, match=r"of field 'boxes'.*things.*overwrite=True"):
            run()
    renamed = indexing.build(dataset, "things", encoder, overwrite=True)
    report = renamed.info()["report"]
    assert (report["kept"], report["added"], report["edited"], report["gone"]) == (8, 0, 0, 0)
    assert set(renamed.ids.fields) == {b"things"}
    hits = renamed.search("a red apple", k=None)
    assert set(hits.fields) == {"things"}
    assert len(hits.view()) == 8
    assert renamed.freshness().is_fresh
    assert renamed.update().kept == 8


def test_update__the_slice_was_renamed(
    dataset_factory: Callable, tmp_path: Path, encoder: Encoder
) -> None:
    dataset = dataset_factory()
    dataset.add_group_field("group", default="left")
    for number in range(2):
        group = fo.Group()
        for side in ("left", "right"):
            add(dataset, tmp_path, f"{number}{side}", group=group.element(side))
    index = indexing.build(dataset, "boxes", encoder)
    dataset.rename_group_slice("left", "front")
    for run in (index.update, index.freshness):
        with pytest.raises(AlphaClipError, match=r"no group slice 'left'.*overwrite=True"):
            run()
    assert len(index.search("a red apple")) == 4
    again = indexing.build(dataset, "boxes", encoder, overwrite=True)
    assert again.info()["report"]["kept"] == 4
    assert again.freshness().is_fresh


@pytest.mark.parametrize(
    "view",
    [
        lambda dataset: dataset.match(F("scene") == "s0"),
        lambda dataset: dataset.filter_labels("boxes", F("sure") > 0.5),
        lambda dataset: dataset.match_labels(fields="boxes", filter=F("sure") > 0.5),
    ],
)
def test_update__what_a_filter_needs_is_gone(
    dataset: fo.Dataset, encoder: Encoder, view: Callable
) -> None:
    dataset.set_values("boxes.detections.sure", [[0.9, 0.1]] * 4, dynamic=True)
    index = indexing.build(view(dataset), "boxes", encoder)
    count = len(index)
    dataset.delete_sample_fields(["scene", "boxes.detections.sure"])
    with pytest.raises(AlphaClipError, match=f"would lose all its {count} regions"):
        index.update()
    assert len(index.search("a red apple", k=None)) == count
    assert index.freshness().gone == count


def test_update__every_label_became_unusable(dataset: fo.Dataset, encoder: Encoder) -> None:
    index = indexing.build(dataset, "boxes", encoder)
    dataset.set_values("boxes.detections.mask_path", [["/none/a.png"] * 2] * 4)
    with pytest.raises(
        AlphaClipError, match=r"lose all its 8 regions: .* 8 were skipped, the first"
    ):
        index.update()
    assert len(index) == 8
    with pytest.raises(AlphaClipError, match="lose all its 8 regions"):
        indexing.build(with_empty(dataset), "spare", encoder, overwrite=True)
    assert len(index) == 8
