"""Foregrounds of class-labelled pictures: found, scored, chosen, captioned, written."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from alphaclip.errors import AlphaClipError, ImageError
from alphaclip.language import Caption
from alphaclip.language.describer import Item
from alphaclip.regions.region import Region
from alphaclip.regions.rle import encode_rle
from alphaclip.sam.masks import MaskLimits
from alphaclip.sam.sam import SamModel, load_sam
from alphaclip.training.pairs.classes.foregrounds import (
    ChoiceSettings,
    CropSettings,
    Foreground,
    ForegroundMaker,
    caption_foregrounds,
    choose_foregrounds,
    cut_crop,
    encode_crop,
)
from alphaclip.training.pairs.classes.scores import (
    ClassPicture,
    ClassScorer,
    ScoreSettings,
    read_classes,
    read_names,
)
from alphaclip.training.pairs.format.jobs import PartJob, read_lines
from alphaclip.training.pairs.format.pictures import decode_picture
from alphaclip.training.pairs.format.records import PairError

WEIGHTS = Path(__file__).parents[3] / "sam_vit_nano.safetensors"
COLOURS = {"red": (230, 20, 20), "blue": (20, 20, 230)}
OUTLINE = (30, 20, 60, 50)
LIMITS = MaskLimits(min_quality=0.6, min_stability=0.8, max_area=0.5)
SCORING = ScoreSettings(4, LIMITS, ("{}",))


class Colours:
    """A region's vector is the mean colour of its foreground, a text's the colour that it names."""

    fingerprint = "f" * 32

    def encode_many(
        self, items: Iterable[tuple[np.ndarray, Sequence[Region]]]
    ) -> Iterator[np.ndarray]:
        for image, regions in items:
            maps = [region.alpha_map(*image.shape[:2]) > 127 for region in regions]
            yield self._unit([image[mask].mean(axis=0) for mask in maps])

    def encode_text(self, names: Sequence[str], templates: object) -> np.ndarray:
        return self._unit([COLOURS[name] for name in names])

    def _unit(self, rows: Sequence[object]) -> np.ndarray:
        values = np.array(rows, np.float64)
        return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def small() -> SamModel:
    return load_sam(WEIGHTS, "cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ellipses on grey; one that is called red is blue, one file is no picture."""
    root = tmp_path_factory.mktemp("classes")
    shown = {"red/a": "red", "red/b": "red", "red/wrong": "blue", "blue/c": "blue"}
    for name, colour in shown.items():
        image = Image.new("RGB", (100, 80), (150, 150, 150))
        ImageDraw.Draw(image).ellipse(OUTLINE, fill=COLOURS[colour])
        (root / name).parent.mkdir(exist_ok=True)
        image.save(root / f"{name}.png")
    (root / "blue" / "torn.jpg").write_bytes(b"nothing")
    (root / "notes.txt").write_text("no class")
    return root


@pytest.fixture(scope="module")
def scored(
    pictures: Path, small: SamModel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], dict[str, int]]:
    """The files of scores, and why some pictures have none."""
    _, found, _ = read_classes(pictures)
    scorer = ClassScorer(pictures, small, Colours(), SCORING)
    report = scorer.score_all(found, tmp_path_factory.mktemp("scores"), per_part=2)
    return list(report.paths), report.skipped.counts


def test_read_classes__a_folder_for_each(pictures: Path) -> None:
    root, found, left_out = read_classes(pictures, {"blue": "deep blue"})
    assert (root, left_out) == (pictures, [])
    assert found == [
        ClassPicture("blue/c.png", "deep blue"),
        ClassPicture("blue/torn.jpg", "deep blue"),
        ClassPicture("red/a.png", "red"),
        ClassPicture("red/b.png", "red"),
        ClassPicture("red/wrong.png", "red"),
    ]


def test_read_classes__a_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.jpg,great_white_shark\nb.jpg,\n")
    root, found, left_out = read_classes(tmp_path / "t.csv")
    assert (root, found) == (tmp_path, [ClassPicture("a.jpg", "great white shark")])
    assert len(left_out) == 1
    with pytest.raises(PairError, match="has no pictures"):
        read_classes(tmp_path)


def test_read_names__words_for_every_class(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text('{"n01484850": "great white shark"}')
    assert read_names(path) == {"n01484850": "great white shark"}
    for wrong in ('{"a": ""}', "[]", "{", '{"a": 1}'):
        path.write_text(wrong)
        with pytest.raises(AlphaClipError, match=r"names of classes|without words"):
            read_names(path)


def test_cut_crop__centred_on_white_beyond_mask_and_picture() -> None:
    image = np.full((10, 20, 3), 50, np.uint8)
    mask = np.zeros((10, 20), bool)
    mask[0:4, 0:8] = True
    settings = CropSettings(side=12)
    crop = cut_crop(image, mask, True, settings)
    assert crop.image.shape == (12, 12, 3)
    rows, columns = np.flatnonzero(crop.mask.any(1)), np.flatnonzero(crop.mask.any(0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (4, 7, 2, 9)
    assert (crop.image[crop.mask] == 50).all()
    assert (crop.image[~crop.mask] == 255).all()
    plain = cut_crop(image, mask, False, settings)
    assert (plain.image[4:, 2:] == 50).all()
    assert (plain.image[:4] == 255).all()


def test_cut_crop__small_ones_are_enlarged_and_masks_with_them() -> None:
    image, mask = np.full((10, 10, 3), 50, np.uint8), np.zeros((10, 10), bool)
    mask[4:6, 4:6] = True
    crop = cut_crop(image, mask, True, CropSettings(share=2, side=40))
    assert crop.image.shape == (40, 40, 3)
    assert crop.mask.mean() == pytest.approx(0.25, abs=0.03)
    assert encode_crop(crop) == encode_crop(crop)


@pytest.mark.parametrize("shape", [(5, 5), (10, 10)])
def test_cut_crop__masks_that_do_not_do(shape: tuple[int, int]) -> None:
    with pytest.raises(AlphaClipError, match="empty or not of its picture"):
        cut_crop(np.zeros((10, 10, 3), np.uint8), np.zeros(shape, bool), True, CropSettings())


@pytest.mark.parametrize("wrong", [{"share": 0.5}, {"masked_share": 2}, {"background": (0, 0)}])
def test_crop_settings__out_of_range(wrong: dict) -> None:
    with pytest.raises(AlphaClipError):
        CropSettings(**wrong)


def test_score_all__right_classes_score_higher(scored: tuple[list[Path], dict]) -> None:
    paths, skipped = scored
    assert skipped == {"picture cannot be opened": 1}
    best: dict[str, float] = {}
    for row in (row for path in paths for row in read_lines(path)):
        best[row["picture"]] = max(best.get(row["picture"], -1), row["clip"])
    assert set(best) == {"red/a.png", "red/b.png", "red/wrong.png", "blue/c.png"}
    assert min(best["red/a.png"], best["red/b.png"], best["blue/c.png"]) > 0.95
    assert best["red/wrong.png"] < best["red/a.png"] - 0.05


def test_score_all__goes_on_and_refuses_another_job(
    pictures: Path, small: SamModel, scored: tuple[list[Path], dict], tmp_path: Path
) -> None:
    paths, _ = scored
    _, found, _ = read_classes(pictures)
    scorer = ClassScorer(pictures, small, Colours(), SCORING)
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[:10])
    report = scorer.score_all(found, paths[0].parent, per_part=2)
    assert (report.done_before, report.skipped.total) == (2, 1)
    assert paths[1].read_bytes() == whole
    with pytest.raises(PairError, match=r"another job made \(settings\.settings"):
        ClassScorer(pictures, small, Colours()).score_all(found, paths[0].parent, per_part=2)


def rows(*scores: tuple[str, str, float]) -> str:
    rle = encode_rle(np.ones((2, 2), bool))
    lines = [
        {"picture": picture, "name": name, "rle": rle, "quality": 0.9, "clip": clip}
        for picture, name, clip in scores
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_choose_foregrounds__the_best_of_each_class_and_picture(tmp_path: Path) -> None:
    path = tmp_path / "scores-000000.jsonl"
    path.write_text(
        rows(
            ("a", "cat", 0.3),
            ("a", "cat", 0.4),
            ("b", "cat", 0.2),
            ("c", "cat", 0.35),
            ("d", "dog", 0.1),
            ("e", "dog", 0.19),
        )
    )
    chosen = choose_foregrounds([path], ChoiceSettings(2, 1, 0.15), 0.5)
    assert {(f.picture, f.clip) for f in chosen} == {("a", 0.4), ("c", 0.35), ("e", 0.19)}
    assert [f.key for f in chosen] == ["00000000", "00000001", "00000002"]
    assert chosen == choose_foregrounds([path], ChoiceSettings(2, 1, 0.15), 0.5)
    assert all(f.is_masked for f in choose_foregrounds([path], ChoiceSettings(), 1.0))
    assert len(choose_foregrounds([path], ChoiceSettings(5, 2, 0.15), 0)) == 5


def test_choose_foregrounds__damaged_scores_are_named(tmp_path: Path) -> None:
    path = tmp_path / "scores-000000.jsonl"
    path.write_text(rows(("a", "cat", 0.3)) + '{"picture"')
    with pytest.raises(PairError, match=r"scores-000000\.jsonl is damaged after line 1"):
        choose_foregrounds([path], ChoiceSettings(), 0)


def test_maker__crop_mask_and_texts(pictures: Path, scored: tuple[list[Path], dict]) -> None:
    paths, _ = scored
    crops = CropSettings(masked_share=1)
    chosen = choose_foregrounds(paths, ChoiceSettings(1), crops.masked_share)
    red = next(found for found in chosen if found.name == "red")
    maker = ForegroundMaker(pictures, {red.key: "a ball on a white background"}, crops)
    made = maker(red)
    (region,) = made.regions
    assert region.texts == ("a ball, probably red",)
    assert (region.label, made.caption) == ("red", "a ball, probably red")
    image = decode_picture(made.image)
    mask = region.region.alpha_map(*image.shape[:2]) > 127
    assert np.abs(image[mask].mean(axis=0) - COLOURS["red"]).max() < 12
    assert image[0, 0].tolist() == [255, 255, 255]
    assert region.scores == {"mask_quality": red.quality, "clip": red.clip}
    blue = next(found for found in chosen if found.name == "blue")
    assert maker(blue).regions[0].texts == ("blue", "a blue")


def test_maker__a_picture_that_is_gone(pictures: Path) -> None:
    rle = encode_rle(np.ones((2, 2), bool))
    gone = Foreground("k", "red/gone.png", "red", rle, 1, 1, True)
    with pytest.raises(ImageError):
        ForegroundMaker(pictures, {}, CropSettings())(gone)


class Sizes:
    """Says of each picture how large it is, and counts them."""

    count = 0

    def describe_many(self, items: Iterable[Item]) -> Iterator[list[Caption]]:
        for image, (region,) in items:
            assert region.is_whole_image
            self.count += 1
            yield [Caption(f"{image.shape[0]} pixels", 0.0)]


def test_caption_foregrounds__in_batches_and_once(
    pictures: Path, scored: tuple[list[Path], dict], tmp_path: Path
) -> None:
    chosen = choose_foregrounds(scored[0], ChoiceSettings(), 0.5)
    captioner: Any = Sizes()
    job = PartJob(tmp_path, "captions", "jsonl", 3, {"captioner": "fake"})
    crops = CropSettings(side=64)
    found = caption_foregrounds(chosen, pictures, captioner, job, crops)
    assert set(found) == {foreground.key for foreground in chosen}
    assert set(found.values()) == {"64 pixels"}
    assert captioner.count == len(chosen)
    assert caption_foregrounds(chosen, pictures, captioner, job, crops) == found
    assert captioner.count == len(chosen)
