"""Pairs from a FiftyOne dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.indexing.dataset.samples import load_sample
from alphaclip.training.pairs.format.checking import check_pairs
from alphaclip.training.pairs.format.reading import open_pairs
from alphaclip.training.pairs.format.records import PairError
from alphaclip.training.pairs.format.writing import PairSettings
from alphaclip.training.pairs.sources.fiftyone_pairs import pairs_from_dataset
from alphaclip.views.cutter import make_views
from alphaclip.views.view import View

from ..conftest import ORIENTATION

if TYPE_CHECKING:
    import fiftyone as fo


def texts_of(folder: Path) -> list[tuple[str, ...]]:
    """The texts of all pairs."""
    return [pair.texts for pair in open_pairs(folder, strict=True)]


@pytest.fixture
def dataset(dataset_factory: Callable[..., fo.Dataset], tmp_path: Path) -> fo.Dataset:
    """A picture stored turned, with every kind of region, and one that is no picture."""
    import fiftyone as fo

    exif = Image.Exif()
    exif[ORIENTATION] = 6
    shown = np.zeros((40, 100, 3), np.uint8)
    shown[:10, :20] = 255
    Image.fromarray(np.rot90(shown).copy()).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    (tmp_path / "none.jpg").write_bytes(b"nothing")
    things = fo.Detections(
        detections=[
            fo.Detection(
                label="owl",
                bounding_box=[0, 0, 0.2, 0.25],
                mask=np.ones((10, 20), bool),
                confidence=0.75,
                note="white and square",
                tags=["reviewed"],
            ),
            fo.Detection(label="pear", bounding_box=[0.5, 0.5, 1, 1], checked=True, note=""),
            fo.Detection(label="flat", bounding_box=[0, 0, 0, 0.25]),
            fo.Detection(bounding_box=[0, 0, 1, 1], words=["one", "two"]),
        ]
    )
    triangle = [[(0, 0), (1, 0), (0, 1)]]
    lines = fo.Polylines(polylines=[fo.Polyline(label="t", points=triangle, filled=True)])
    made = dataset_factory("pairs")
    turned = fo.Sample(tmp_path / "turned.jpg", things=things, lines=lines, tags=["good"])
    turned["caption"] = "a white corner"
    made.add_sample(turned)
    made.add_sample(fo.Sample(tmp_path / "none.jpg", things=things.copy()))
    return made


def test_detections__become_pairs(dataset: fo.Dataset, tmp_path: Path) -> None:
    """What is no region, has no text or no picture is counted."""
    (report,) = pairs_from_dataset(dataset, "things", tmp_path, validation=0).values()
    assert texts_of(tmp_path / "train") == [("owl", "an owl"), ("pear", "a pear")]
    assert report.left_out.counts == {"label is no region": 1, "region without a text left": 1}
    assert report.skipped.counts == {"picture cannot be opened": 1}
    (kept,) = open_pairs(tmp_path / "train").pictures()
    assert kept.key == dataset.first().id
    assert kept.source == f"{dataset.name}/turned.jpg"
    assert kept.regions[0].id == dataset.first().things.detections[0].id
    assert kept.regions[0].scores == {"area": 0.05, "confidence": 0.75}
    assert kept.regions[1].region.box == (0.5, 0.5, 0.5, 0.5)


def test_turned_picture__agrees_with_its_mask(dataset: fo.Dataset, tmp_path: Path) -> None:
    """The mask lies on what is white when the picture is upright."""
    pairs_from_dataset(dataset, "things", tmp_path, validation=0)
    pair = open_pairs(tmp_path / "train")[0]
    assert pair.image.shape == (40, 100, 3)
    inside = pair.region.alpha_map(40, 100) == 255
    assert inside.sum() == 200
    assert pair.image[inside].min() > 200 and pair.image[~inside].max() < 60


def test_polylines__become_masks(dataset: fo.Dataset, tmp_path: Path) -> None:
    """A triangle over half the picture; the sample without one is counted."""
    (report,) = pairs_from_dataset(dataset, "lines", tmp_path, validation=0).values()
    region = open_pairs(tmp_path / "train")[0].region
    assert region.alpha_map(40, 100).mean() / 255 == pytest.approx(0.5, abs=0.02)
    assert report.items == 2


def test_texts__may_come_from_attributes(dataset: fo.Dataset, tmp_path: Path) -> None:
    """Several, such as captions, and lists; what is no text is no text, nor is an empty caption."""
    text = ("note", "words", "label", "confidence")
    pairs_from_dataset(dataset, "things", tmp_path, text=text, validation=0, templates=("the {}",))
    assert texts_of(tmp_path / "train") == [
        ("white and square", "the owl"),
        ("the pear",),
        ("one", "two"),
    ]


def test_caption__may_come_from_the_sample(dataset: fo.Dataset, tmp_path: Path) -> None:
    """Else it is made of the regions."""
    pairs_from_dataset(dataset, "things", tmp_path / "a", validation=0, caption_field="caption")
    assert open_pairs(tmp_path / "a" / "train")[0].caption == "a white corner"
    pairs_from_dataset(dataset, "things", tmp_path / "b", validation=0)
    assert open_pairs(tmp_path / "b" / "train")[0].caption == "owl, pear"


@pytest.mark.parametrize(("name", "label"), [("reviewed", "owl"), ("checked", "pear")])
def test_only_reviewed__takes_labels_with_a_tag_or_attribute(
    dataset: fo.Dataset, tmp_path: Path, name: str, label: str
) -> None:
    """The others are counted."""
    (report,) = pairs_from_dataset(
        dataset, "things", tmp_path, validation=0, only_reviewed=name
    ).values()
    assert [pair.label for pair in open_pairs(tmp_path / "train")] == [label]
    assert report.left_out.counts["not reviewed"] == 3


def test_tags_and_views__choose_samples_and_labels(dataset: fo.Dataset, tmp_path: Path) -> None:
    """A view may leave labels out as well."""
    from fiftyone import ViewField

    (report,) = pairs_from_dataset(
        dataset, "things", tmp_path / "a", tags=["good"], validation=0
    ).values()
    assert report.items == 1
    view = dataset.filter_labels("things", ViewField("label") == "pear")
    pairs_from_dataset(view, "things", tmp_path / "b", validation=0)
    assert [pair.label for pair in open_pairs(tmp_path / "b" / "train")] == ["pear"]


def test_changed_label__does_not_go_on_in_the_folder(dataset: fo.Dataset, tmp_path: Path) -> None:
    """The same dataset goes on; an edited one is another set."""
    pairs_from_dataset(dataset, "things", tmp_path, validation=0)
    (again,) = pairs_from_dataset(dataset.name, "things", tmp_path, validation=0).values()
    assert again.done_before == 1
    sample = dataset.first()
    sample.things.detections[0].label = "bird"
    sample.save()
    with pytest.raises(PairError, match="another job"):
        pairs_from_dataset(dataset, "things", tmp_path, validation=0)


def test_split__is_by_picture(dataset_factory: Callable[..., fo.Dataset], tmp_path: Path) -> None:
    """Ten pictures, one of them in two samples: three go to validation, whole, by the seed."""
    import fiftyone as fo

    made = dataset_factory("split")
    for number in (*range(10), 4):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (20, 20), (number, 0, 0)).save(path)
        box = fo.Detection(label=str(number), bounding_box=[0, 0, 0.5, 0.5])
        made.add_sample(fo.Sample(path, things=fo.Detections(detections=[box])))
    splits = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        settings = PairSettings(seed=seed)
        pairs_from_dataset(made, "things", tmp_path / name, settings, validation=0.3)
        sets = [open_pairs(tmp_path / name / part) for part in ("train", "validation")]
        splits.append([{pair.label for pair in pairs} for pairs in sets])
    train, validation = splits[0]
    assert len(validation) == 3 and len(train) == 7 and not train & validation
    assert splits[0] == splits[1] != splits[2]


def test_bad_arguments__are_named(dataset: fo.Dataset, tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(FieldError, match="things"):
        pairs_from_dataset(dataset, "nothing", tmp_path / "set")
    with pytest.raises(PairError, match="'words'"):
        pairs_from_dataset(dataset, "things", tmp_path / "set", caption_field="words")
    with pytest.raises(PairError, match="validation is 1"):
        pairs_from_dataset(dataset, "things", tmp_path / "set", validation=1)
    with pytest.raises(PairError, match="no sample"):
        pairs_from_dataset(dataset, "things", tmp_path / "set", tags=["none"])
    with pytest.raises(PairError, match="no sample has the tag god"):
        pairs_from_dataset(dataset, "things", tmp_path / "set", tags=["good", "god"])
    with pytest.raises(FieldError, match=r"'things' has 'lable'; attributes are: .*label"):
        pairs_from_dataset(dataset, "things", tmp_path / "set", text=("label", "lable"))
    with pytest.raises(FieldError, match="'things' has 'reviwed'"):
        pairs_from_dataset(dataset, "things", tmp_path / "set", only_reviewed="reviwed")
    assert not (tmp_path / "set").exists()
    with pytest.raises(AlphaClipError, match="no dataset 'none'"):
        pairs_from_dataset("none", "things", tmp_path / "set")
    with pytest.raises(AlphaClipError, match="'a photo'"):
        pairs_from_dataset(dataset, "things", tmp_path / "set", templates=["a photo"])
    with pytest.raises(PairError, match="no attribute"):
        pairs_from_dataset(dataset, "things", tmp_path / "set", text=())
    assert not (tmp_path / "set").exists()


def test_sample_dataset__end_to_end(tmp_path: Path) -> None:
    """The bundled scenes, turned ones among them: every region lies where its object is."""
    dataset = load_sample()[:24]
    reports = pairs_from_dataset(dataset, "objects", tmp_path, validation=0.25)
    assert [report.items for report in reports.values()] == [18, 6]
    without = sum(not sample.objects.detections for sample in dataset)
    assert sum(report.pictures for report in reports.values()) == 24 - without
    assert sum(report.skipped.total for report in reports.values()) == without
    labels = dataset.count("objects.detections")
    assert sum(report.regions + report.left_out.total for report in reports.values()) == labels
    pairs = open_pairs(tmp_path / "train", tmp_path / "validation", strict=True)
    assert check_pairs(tmp_path / "train") == check_pairs(tmp_path / "validation") == []
    for pair in pairs:
        images, alpha = make_views(pair.image, [pair.region], View("context"), 64)
        assert images.shape == (1, 3, 64, 64) and int(alpha.max()) == 255
        assert pair.label in pair.texts
