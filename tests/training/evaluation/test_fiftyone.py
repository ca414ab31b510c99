"""FiftyOne's side of an evaluation: a field as a set, and mistakes to look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from alphaclip.cli import main
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.training.evaluation.classification.classification import classify
from alphaclip.training.evaluation.classification.protocols import region_protocol
from alphaclip.training.evaluation.fiftyone_regions import open_field, read_field
from alphaclip.training.evaluation.outcomes import Outcome, Row
from alphaclip.training.evaluation.report.fiftyone_mistakes import make_mistakes

if TYPE_CHECKING:
    import fiftyone as fo


@pytest.fixture
def dataset(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    """One picture stored turned, with every kind of region, and one that is no picture."""
    import fiftyone as fo

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 100), "red").save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "none.jpg").write_bytes(b"nothing")
    mask = np.zeros((10, 20), bool)
    mask[:, :5] = True
    things = fo.Detections(
        detections=[
            fo.Detection(label="b", bounding_box=[0.1, 0.25, 0.5, 0.5], true_label="c"),
            fo.Detection(label="a", bounding_box=[0, 0, 0.2, 0.25], mask=mask, iscrowd=1),
            fo.Detection(label="a", bounding_box=[0, 0, -1, 0.25]),
            fo.Detection(bounding_box=[0, 0, 1, 1], words=["one", "two"]),
        ]
    )
    triangle = [[(0, 0), (1, 0), (0, 1)]]
    lines = fo.Polylines(polylines=[fo.Polyline(label="t", points=triangle, filled=True)])
    made = dataset_factory("evaluation")
    made.add_sample(fo.Sample(tmp_path / "turned.jpg", things=things, lines=lines))
    made.add_sample(fo.Sample(tmp_path / "none.jpg", things=things.copy()))
    return made


def test_read_field__boxes_and_masks_of_a_turned_picture(dataset: fo.Dataset) -> None:
    regions = read_field(dataset, "things")
    (example,) = regions.examples
    assert (example.width, example.height) == (100, 40)
    assert [r.label for r in example.regions] == ["b", "a", ""]
    assert [r.area for r in example.regions] == [50 * 20, 5 * 10, 4000]
    assert [r.crowd for r in example.regions] == [False, True, False]
    assert [r.id for r in example.regions] == [
        dataset.first().things.detections[i].id for i in (0, 1, 3)
    ]
    assert regions.name == f"{dataset.name}.things"
    assert regions.classes == ("a", "b")


def test_read_field__what_cannot_be_read_is_named(dataset: fo.Dataset) -> None:
    skipped = read_field(dataset, "things").skipped
    assert len(skipped) == 2
    assert "sides that are not negative" in skipped[0]
    assert "none.jpg" in skipped[1]


def test_read_field__polygons(dataset: fo.Dataset) -> None:
    (example,) = read_field(dataset[:1], "lines").examples
    assert example.regions[0].area == pytest.approx(2000, rel=0.05)


@pytest.mark.parametrize("name", ["true_lable", "confidence", "", "a.b", "$set"])
@pytest.mark.parametrize("use", ["truth", "text"])
def test_read_field__an_attribute_that_no_label_has_is_named(
    dataset: fo.Dataset, use: str, name: str
) -> None:
    """Figures of the labels themselves would be taken for those of the attribute."""
    with pytest.raises(FieldError, match=r"no label of field 'things' has '.*true_label"):
        read_field(dataset, "things", **{use: name})


def test_read_field__an_attribute_of_few_labels_may_be_on_none_of_a_view(
    dataset: fo.Dataset,
) -> None:
    some = dataset.exclude(dataset.match_tags("none").values("id")).limit(1)
    assert read_field(some, "things", truth="true_label").examples
    assert read_field(dataset[1:], "things", truth="true_label").skipped


def test_read_field__stray_rings_are_counted(dataset: fo.Dataset) -> None:
    sample = dataset.first()
    sample.lines.polylines[0].points.append([(0.5, 0.5)])
    sample.save()
    read = read_field(dataset[:1], "lines")
    assert len(read) == 1
    assert read.skipped == ("1 ring(s) of fewer than three points, left out of their polygons",)


def test_read_field__truth_and_texts_of_other_attributes(dataset: fo.Dataset) -> None:
    regions = read_field(dataset, "things", truth="true_label", text="words")
    labels = [r.label for r in regions.examples[0].regions]
    assert labels == ["c", "a", ""]
    assert [r.texts for r in regions.examples[0].regions] == [(), (), ("one", "two")]
    own = read_field(dataset, "things").examples[0].regions
    assert [r.texts for r in own] == [("b",), ("a",), ()]


def test_read_field__classes_that_the_dataset_states_keep_their_order(dataset: fo.Dataset) -> None:
    dataset.classes = {"things": ["z", "b", "a"]}
    assert read_field(dataset, "things").classes == ("z", "b", "a")


def test_read_field__field_without_regions_is_refused(dataset: fo.Dataset) -> None:
    with pytest.raises(AlphaClipError, match=r"no field 'nothing'.*things"):
        read_field(dataset, "nothing")


def test_open_field__takes_the_first_samples_and_names_datasets(dataset: fo.Dataset) -> None:
    assert len(open_field(dataset.name, "things", limit=1).skipped) == 1
    with pytest.raises(AlphaClipError, match=f"no FiftyOne dataset is called.*{dataset.name}"):
        open_field("missing", "things")


def test_make_mistakes__every_prediction_is_on_its_region(
    colour_set, colour_encoder, dataset_factory
) -> None:
    outcome = classify(colour_encoder, colour_set, region_protocol("own"))
    name = dataset_factory("mistakes").name
    with pytest.raises(AlphaClipError, match="already"):
        make_mistakes(name, colour_set, [outcome], overwrite=True)
    made = make_mistakes(f"{name}-made", colour_set, [outcome])
    try:
        field = "colours_own_view"
        assert made.persistent
        assert made.values("filepath") == [str(e.path) for e in colour_set.examples]
        assert made.values(f"{field}.detections.label") == [
            ["red", "red"], ["blue", "green"], ["red"],
        ]  # fmt: skip
        assert made.values(f"{field}.detections.correct") == [
            [True, False], [False, True], [True],
        ]  # fmt: skip
        wrong = made.first()[field].detections[1]
        assert (wrong.truth, wrong.size, wrong.region) == ("green", "small", "a1")
        assert wrong.bounding_box == pytest.approx([0.5, 0, 0.5, 1])
        assert wrong.mask is None
        assert wrong.confidence == pytest.approx(1.0)
        again = make_mistakes(made.name, colour_set, [outcome], overwrite=True)
        assert len(again) == 3
        with pytest.raises(AlphaClipError, match="already"):
            make_mistakes(made.name, colour_set, [outcome])
    finally:
        import fiftyone as fo

        fo.delete_dataset(f"{name}-made")


def test_make_mistakes__masks_stay_masks(dataset: fo.Dataset) -> None:
    import fiftyone as fo

    regions = read_field(dataset[:1], "lines")
    rows = tuple(Row(r.id, e.id, 1.0, "x", "x", 0.1) for e, r in regions.regions)
    made = make_mistakes(
        f"{dataset.name}-masks", regions, [Outcome("regions", regions.name, "n", {}, rows)]
    )
    try:
        detection = made.first()["n"].detections[0]
        assert detection.bounding_box == pytest.approx([0, 0, 1, 1])
        assert detection.mask.shape == (40, 100)
        assert detection.mask[5, 5]
        assert not detection.mask[35, 95]
    finally:
        fo.delete_dataset(made.name)


def test_eval_retrieval__mistakes_of_regions_only(dataset: fo.Dataset, tmp_path: Path) -> None:
    import fiftyone as fo

    name = f"{dataset.name}-mistakes"
    chosen = ["--dataset", dataset.name, "--field", "things", "--mistakes", name]
    encoder = ["--encoder", "alphaclip-nano", "--out", str(tmp_path / "out")]
    try:
        assert main(["eval", "retrieval", *chosen, *encoder]) == 0
        made = fo.load_dataset(name)
        fields = [field for field in made.get_field_schema() if field.startswith("alphaclip")]
        assert fields == ["alphaclip_nano_region_to_text"]
        assert set(made.distinct(f"{fields[0]}.detections.truth")) == {"a", "b"}
    finally:
        fo.delete_dataset(name)


@pytest.mark.parametrize(
    "names",
    [("模型", "$%&"), ("a/b", "a.b", "A b"), ("id", "filepath"), ("", "3d", "_x"), ("n" * 900,)],
)
def test_make_mistakes__any_encoder_has_a_field_of_its_own(
    dataset: fo.Dataset, names: tuple[str, ...]
) -> None:
    import fiftyone as fo

    regions = read_field(dataset[:1], "lines")
    rows = tuple(Row(r.id, e.id, 1.0, "x", "x", 0.1) for e, r in regions.regions)
    outcomes = [Outcome("regions", regions.name, name, {}, rows) for name in names]
    made = make_mistakes(f"{dataset.name}-names", regions, outcomes)
    try:
        fields = made.get_field_schema(embedded_doc_type=fo.Detections)
        assert len(fields) == len(names)
    finally:
        fo.delete_dataset(made.name)


def test_check_name__is_made_before_the_work(dataset: fo.Dataset, tmp_path: Path, capsys) -> None:
    chosen = ["--dataset", dataset.name, "--field", "things", "--encoder", "alphaclip-nano"]
    for name, words in ((dataset.name, "already"), ("???", "no name for a dataset")):
        out = tmp_path / "out"
        assert main(["eval", "regions", *chosen, "--out", str(out), "--mistakes", name]) == 1
        assert words in capsys.readouterr().err
        assert not out.exists()


def test_make_mistakes__rows_of_other_regions_are_refused(colour_set) -> None:
    other = Outcome("regions", "set", "n", {}, (Row("elsewhere", "p", 1.0),))
    with pytest.raises(AlphaClipError, match="none of the rows"):
        make_mistakes("never-made", colour_set, [other])
