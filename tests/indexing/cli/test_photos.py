"""``alphaclip photos``: from a folder to an index, and again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from alphaclip.cli import main
from alphaclip.errors import AlphaClipError
from alphaclip.indexing import load
from alphaclip.indexing.dataset.folders import open_folder
from alphaclip.indexing.masks.mask_fields import MaskReport
from alphaclip.sam.masks import MaskLimits
from recipes.small_sam.scenes import draw_scene

WEIGHTS = Path(__file__).parents[2] / "sam_vit_nano.safetensors"
NANO, SAM = "alphaclip-nano", "sam-drawings"
OPTIONS = ("--encoder", NANO, "--no-app")


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No model but nano, and no network."""
    folder = tmp_path / "models"
    monkeypatch.setenv("ALPHACLIP_MODELS", str(folder))
    monkeypatch.setattr("alphaclip.weights.base_weights.find_base", lambda *names: None)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Iterator[Path]:
    """Two drawn pictures, one in a folder within."""
    folder = tmp_path / f"my photos {tmp_path.name}"
    (folder / "trip").mkdir(parents=True)
    save_scene(folder / "one.png", 3_000_001)
    save_scene(folder / "trip" / "two.png", 3_000_002)
    (folder / "notes.txt").write_text("no picture")
    yield folder
    for name in fo.list_datasets():
        if name.endswith(tmp_path.name):
            fo.delete_dataset(name)


def save_scene(path: Path, seed: int) -> None:
    Image.fromarray(draw_scene(np.random.default_rng(seed)).image).save(path)


def name_of(photos: Path) -> str:
    return photos.name.replace(" ", "-")


def install_sam() -> None:
    assert main(["segment", "--install", SAM, "--file", str(WEIGHTS)]) == 0


def test_photos__segments_embeds_and_goes_on(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The small SAM is less sure than the released ones.
    loose = MaskLimits(0.4, 0.6, 0.0005, 0.9, 0.7)
    monkeypatch.setattr("alphaclip.indexing.masks.segmenting.AUTOMATIC_LIMITS", loose)
    install_sam()
    assert main(["photos", str(photos), *OPTIONS]) == 0
    dataset = fo.load_dataset(name_of(photos))
    index = load(dataset, "regions")
    assert (len(dataset), index.field, index.info()["encoder"]) == (2, "masks", NANO)
    count = len(index)
    assert count == dataset.count("masks.detections") > 2
    assert f"dataset {dataset.name!r}: 2 pictures" in capsys.readouterr().out

    save_scene(photos / "three.png", 3_000_003)
    (photos / "broken.jpg").write_bytes(b"no picture")
    assert main(["photos", str(photos), "--no-app"]) == 0
    said = capsys.readouterr().out
    assert "2 of them were done before" in said and "broken.jpg" in said
    assert len(load(dataset, "regions")) == dataset.count("masks.detections") > count


def test_photos__where_a_segmenter_finds_nothing_another_is_taken(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def segment(
        dataset: fo.Dataset, field: None, into: str, model: str, overwrite: bool
    ) -> MaskReport:
        calls.append((model, overwrite))
        box = fo.Detection(bounding_box=[0.2, 0.2, 0.5, 0.5])
        for sample in dataset:
            sample[into] = fo.Detections(detections=[box.copy()] if model == "keen" else [])
            sample.save()
        return MaskReport(into)

    monkeypatch.setattr("alphaclip.indexing.masks.segmenting.segment", segment)
    assert main(["photos", str(photos), *OPTIONS, "--segmenter", "blind"]) == 1
    assert "blind finds nothing in these pictures" in capsys.readouterr().err
    assert main(["photos", str(photos), *OPTIONS, "--segmenter", "keen"]) == 0
    assert main(["photos", str(photos), *OPTIONS, "--segmenter", "keen"]) == 0
    assert calls == [("blind", True), ("keen", True), ("keen", False)]
    assert len(load(fo.load_dataset(name_of(photos)), "regions")) == 2


@pytest.mark.parametrize(
    "layout", ["COCODetectionDataset", "VOCDetectionDataset", "YOLOv5Dataset", "FiftyOneDataset"]
)
def test_photos__labels_that_are_there_are_embedded(
    photos: Path, tmp_path: Path, layout: str
) -> None:
    label = fo.Detection(label="cat", bounding_box=[0.2, 0.2, 0.5, 0.5])
    sample = fo.Sample(photos / "one.png", ground_truth=fo.Detections(detections=[label]))
    made = fo.Dataset(f"made-{tmp_path.name}")
    made.add_sample(sample)
    folder = tmp_path / f"labelled-{tmp_path.name}"
    options = {} if layout == "FiftyOneDataset" else {"label_field": "ground_truth"}
    made.export(str(folder), getattr(fo.types, layout), **options)
    assert main(["photos", str(folder), *OPTIONS]) == 0
    index = load(fo.load_dataset(folder.name), "regions")
    assert len(index) == 1 and index.field != "masks"
    assert main(["photos", str(folder), *OPTIONS]) == 0  # nothing is read twice
    assert len(fo.load_dataset(folder.name)) == 1


def test_photos__nothing_is_fetched_unasked(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(
        "alphaclip.weights.base_weights.download_base", lambda *names: fetched.append(names[0])
    )
    monkeypatch.setattr("alphaclip.sam.checkpoints.install_sam", lambda name: fetched.append(name))
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert main(["photos", str(photos), "--no-app"]) != 0
    told = capsys.readouterr()
    assert "PE-Core-B-16/meta+near+maskattn (1.8 GB, Apache-2.0: commercial" in told.out
    assert "say --yes to download openclip:PE-Core-" in told.err and NANO in told.err
    assert main(["photos", str(photos), *OPTIONS]) != 0
    assert "sam-vit-b (0.4 GB" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "")
    assert main(["photos", str(photos), *OPTIONS]) != 0
    assert "without a segmenter" in capsys.readouterr().err
    assert fetched == []
    monkeypatch.setattr("builtins.input", lambda question: "2")
    assert main(["photos", str(photos), *OPTIONS]) != 0  # it is not really here
    assert fetched == ["sam-vit-l"]
    assert main(["photos", str(photos), "--encoder", NANO, "--yes", "--no-app"]) != 0
    assert fetched == ["sam-vit-l", "sam-vit-b"]


def test_open_folder__that_was_killed_goes_on(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        """Nothing handles it."""

    def killed(*args: object, **kwargs: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(fo.Dataset, "add_samples", killed)
        open_folder(photos)
    dataset = open_folder(photos)
    assert dataset.persistent and len(dataset) == 2


def test_open_folder__bad_folders(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(AlphaClipError, match="no such folder"):
        open_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AlphaClipError, match="no pictures are in it"):
        open_folder(tmp_path / "empty", f"empty-{tmp_path.name}")
    assert not fo.dataset_exists(f"empty-{tmp_path.name}")
    open_folder(photos)
    other = tmp_path / "other" / photos.name
    shutil.copytree(photos, other)
    with pytest.raises(AlphaClipError, match="was not made of"):
        open_folder(other)
    broken = tmp_path / f"coco-{tmp_path.name}"
    (broken / "data").mkdir(parents=True)
    (broken / "labels.json").write_text("{")
    with pytest.raises(AlphaClipError, match="cannot be read as COCODetectionDataset"):
        open_folder(broken)
    assert not fo.dataset_exists(broken.name)
