"""Masks by a small SAM that was trained on drawn shapes, see recipes/small_sam/training.py."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from alphaclip.errors import (
    AlphaClipError,
    CheckpointError,
    ImageError,
    MissingWeightsError,
    ModelNotFoundError,
    RegionError,
)
from alphaclip.regions.region import Region
from alphaclip.sam import checkpoints as sam_checkpoints
from alphaclip.sam import sam
from alphaclip.sam.checkpoints import RELEASED_SAMS, install_sam, installed_sam_path, installed_sams
from alphaclip.sam.masks import PROMPTED_LIMITS, MaskLimits, SamMask, crop_mask, judge, mask_iou
from alphaclip.sam.networks import build_sam, import_segment_anything
from alphaclip.sam.sam import SamModel, automatic_masks, load_sam, masks_for_boxes
from alphaclip.weights.checkpoints import read_metadata
from recipes.small_sam.scenes import draw_scene

WEIGHTS = Path(__file__).parents[2] / "sam_vit_nano.safetensors"
PROMPTED = [draw_scene(np.random.default_rng(2_000_000 + number)) for number in range(40)]
"""Scenes that the small SAM was not trained on."""

SEARCHED = PROMPTED[:6]
MANY = next(scene for scene in PROMPTED if len(scene.shapes) > 2)
MEAN_IOU = 0.78
LIMITS = MaskLimits(min_quality=0.7, min_stability=0.9)
"""Lower than the usual ones, at which the small SAM finds a third of the shapes."""


@pytest.fixture(scope="module")
def small() -> SamModel:
    return load_sam(WEIGHTS, "cpu")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    monkeypatch.setenv("ALPHACLIP_MODELS", str(folder))
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small SAM as the released ones are published: a PyTorch file of named tensors."""
    path = tmp_path_factory.mktemp("published") / "sam_vit_b_01ec64.pth"
    torch.save(load_file(WEIGHTS), path)
    return path


@pytest.fixture
def offered(published: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the published file what ``sam-vit-b`` stands for."""
    released = replace(
        RELEASED_SAMS[0],
        architecture="vit_nano",
        sha256=hashlib.sha256(published.read_bytes()).hexdigest(),
        bytes=published.stat().st_size,
        url=published.as_uri(),
    )
    monkeypatch.setattr(sam_checkpoints, "RELEASED_SAMS", (released, *RELEASED_SAMS[1:]))
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    return published


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


@pytest.fixture(scope="module")
def prompted(small: SamModel) -> list[tuple[SamMask, np.ndarray, list[float]]]:
    """The mask for each box, the true mask, and the box."""
    return [
        (mask, shape.mask, shape.box)
        for scene in PROMPTED
        for mask, shape in zip(
            masks_for_boxes(small, scene.image, [shape.box for shape in scene.shapes]),
            scene.shapes,
            strict=True,
        )
    ]


def test_masks_for_boxes__fit_the_known_masks_better_than_the_boxes(
    prompted: list[tuple[SamMask, np.ndarray, list[float]]],
) -> None:
    found, filled = [], []
    for mask, true, box in prompted:
        found.append(iou(mask.full(*true.shape), true))
        filled.append(iou(Region.from_box(box).alpha_map(*true.shape) > 0, true))
    assert len(found) > 60
    assert np.mean(found) > MEAN_IOU
    assert np.mean(found) > np.mean(filled) + 0.15
    assert np.mean(np.array(found) > 0.5) > 0.95


def test_masks_for_boxes__predicted_quality_follows_the_iou(
    prompted: list[tuple[SamMask, np.ndarray, list[float]]],
) -> None:
    pairs = [(mask.quality, iou(mask.full(*true.shape), true)) for mask, true, _ in prompted]
    quality, overlap = np.array(pairs).T
    assert ((quality >= 0) & (quality <= 1)).all()
    assert abs(quality.mean() - overlap.mean()) < 0.05
    assert np.corrcoef(quality, overlap)[0, 1] > 0.3


def test_automatic_masks__find_the_shapes_and_little_else(small: SamModel) -> None:
    best, kept_in_all = [], 0
    for scene in SEARCHED:
        found = automatic_masks(small, scene.image, LIMITS, points_per_side=16)
        verdicts = judge(found, LIMITS)
        size = scene.image.shape[:2]
        kept = [m.full(*size) for m, v in zip(found, verdicts, strict=True) if v == "kept"]
        best += [max((iou(m, s.mask) for m in kept), default=0) for s in scene.shapes]
        kept_in_all += len(kept)
    assert len(best) > 8
    assert np.mean(np.array(best) > 0.5) > 0.8
    assert np.mean(best) > 0.65
    assert kept_in_all <= len(best) + 3


def test_automatic_masks__stricter_limits_give_fewer(small: SamModel) -> None:
    loose = automatic_masks(small, MANY.image, LIMITS, points_per_side=12)
    usual = automatic_masks(small, MANY.image, points_per_side=12)
    assert all(mask.quality > 0.88 for mask in usual)
    assert len(usual) < len(loose)
    assert [m.quality for m in loose] == sorted((m.quality for m in loose), reverse=True)


def test_automatic_masks__random_weights_and_empty_pictures_give_none(small: SamModel) -> None:
    torch.manual_seed(0)
    random = SamModel("random", build_sam("vit_nano"))
    assert automatic_masks(random, MANY.image, LIMITS, points_per_side=8) == []
    blank = np.full((60, 90, 3), 200, np.uint8)
    assert automatic_masks(small, blank, LIMITS, points_per_side=4) == []


@pytest.mark.parametrize("points", [0, 41])
def test_automatic_masks__points_out_of_range(small: SamModel, points: int) -> None:
    with pytest.raises(AlphaClipError, match="points_per_side"):
        automatic_masks(small, np.zeros((8, 8, 3), np.uint8), points_per_side=points)


def test_masks_for_boxes__encode_the_picture_once(small: SamModel) -> None:
    calls: list[int] = []
    hook = small.network.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    boxes = [[0.01 * i, 0.1, 0.3, 0.3] for i in range(40)]
    masks = masks_for_boxes(small, MANY.image, boxes)
    hook.remove()
    assert (len(masks), len(calls)) == (40, 1)


def test_masks_for_boxes__order_does_not_matter(small: SamModel) -> None:
    pixels = MANY.image
    boxes = [shape.box for shape in MANY.shapes]
    forward = masks_for_boxes(small, pixels, boxes)
    backward = masks_for_boxes(small, pixels, boxes[::-1])
    assert len(boxes) > 1
    for one, other in zip(forward, backward[::-1], strict=True):
        assert mask_iou(one, other) > 0.99


def test_masks_for_boxes__large_picture_is_worked_on_smaller(small: SamModel) -> None:
    pixels = MANY.image
    large = Image.fromarray(pixels).resize((2500, 2000))
    box = MANY.shapes[0].box
    mask = masks_for_boxes(small, large, [box])[0]
    assert max(mask.size) == sam.WORKING_SIDE
    as_before = masks_for_boxes(small, large.resize((1000, 800)), [box])[0]
    assert iou(mask.full(200, 250), as_before.full(200, 250)) > 0.9
    assert mask.full(2000, 2500).shape == (2000, 2500)


def test_masks_for_boxes__turned_picture(small: SamModel, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(np.rot90(MANY.image).copy()).save(path, exif=exif)
    boxes = [shape.box for shape in MANY.shapes]
    upright = masks_for_boxes(small, MANY.image, boxes)
    for one, other in zip(masks_for_boxes(small, path, boxes), upright, strict=True):
        assert mask_iou(one, other) == 1


def test_masks_for_boxes__no_boxes(small: SamModel) -> None:
    assert masks_for_boxes(small, "there is no such file", []) == []


@pytest.mark.parametrize(
    "box", [[1.2, 0.1, 0.2, 0.2], [0.1, 0.1, 0, 0.2], [0.1, 0.1, float("nan"), 0.2], [1, 2], None]
)
def test_masks_for_boxes__bad_box_is_named(small: SamModel, box: object) -> None:
    with pytest.raises(RegionError, match=r"boxes\[1\]"):
        masks_for_boxes(small, np.zeros((8, 8, 3), np.uint8), [[0, 0, 1, 1], box])


def test_masks_for_boxes__broken_picture(small: SamModel, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        masks_for_boxes(small, tmp_path / "broken.jpg", [[0, 0, 1, 1]])


def square(left: int, top: int, side: int, quality: float) -> SamMask:
    mask = np.ones((side, side), bool)
    return SamMask((left, top, left + side, top + side), mask, (100, 200), quality)


def test_sam_mask__geometry() -> None:
    mask = square(20, 10, 50, 0.9)
    assert mask.area == 2500 / 20000
    assert mask.relative_box == [0.1, 0.1, 0.25, 0.5]
    full = mask.full(100, 200)
    assert full.sum() == 2500
    assert full[10:60, 20:70].all()
    again = crop_mask(full, 0.9)
    assert again.box == mask.box
    nothing = crop_mask(np.zeros((100, 200), bool), 0.9)
    assert nothing.area == 0
    assert not nothing.full(100, 200).any()


def test_mask_iou__like_that_of_whole_arrays() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = (crop_mask(rng.random((9, 9)) > 0.7, 1.0) for _ in range(2))
        assert mask_iou(one, other) == pytest.approx(iou(one.full(9, 9), other.full(9, 9)))


def test_judge__says_why() -> None:
    masks = [
        square(0, 0, 50, 0.9),
        square(1, 0, 50, 0.95),
        square(100, 0, 50, 0.5),
        square(100, 0, 2, 0.99),
        square(0, 0, 100, 0.99),
        crop_mask(np.zeros((100, 200), bool), 0.99),
        square(150, 50, 50, 0.9),
    ]
    limits = MaskLimits(min_quality=0.6, min_area=0.001, max_area=0.4, max_overlap=0.8)
    expected = ["duplicate", "kept", "quality", "area", "area", "empty", "kept"]
    assert judge(masks, limits) == expected
    assert judge(masks, limits, list("abcdefg"))[0] == "kept"
    assert judge([], limits) == []


@pytest.mark.parametrize(
    ("name", "value"), [("min_quality", 1.5), ("max_overlap", -0.1), ("min_area", float("nan"))]
)
def test_limits__out_of_range(name: str, value: float) -> None:
    with pytest.raises(AlphaClipError, match=name):
        replace(PROMPTED_LIMITS, **{name: value})
    with pytest.raises(AlphaClipError, match="above max_area"):
        MaskLimits(min_area=0.5, max_area=0.1)


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_build_sam__has_the_tensors_of_the_released_ones(name: str) -> None:
    with torch.device("meta"):
        ours = build_sam(name).state_dict()
        theirs = import_segment_anything().sam_model_registry[name]().state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}


def test_released__pinned() -> None:
    assert [released.name for released in RELEASED_SAMS] == ["sam-vit-b", "sam-vit-l", "sam-vit-h"]
    for released in RELEASED_SAMS:
        assert len(bytes.fromhex(released.sha256)) == 32
        assert released.url.startswith("https://dl.fbaipublicfiles.com/segment_anything/")
        assert released.url.endswith(released.file_name)


@pytest.mark.usefixtures("models")
def test_load_sam__unknown_or_not_installed() -> None:
    with pytest.raises(ModelNotFoundError, match="sam-vit-b, sam-vit-l, sam-vit-h"):
        load_sam("sam-vit-x")
    with pytest.raises(MissingWeightsError, match=r"sam_vit_l_0b3195\.pth"):
        load_sam("sam-vit-l")
    with pytest.raises(MissingWeightsError, match="no SAM is installed"):
        load_sam("auto")
    with pytest.raises(CheckpointError, match="no such file"):
        load_sam("nowhere.pth")


@pytest.mark.usefixtures("models", "offered")
def test_install__download_is_checked_and_converted() -> None:
    told: list[tuple[str, int, int]] = []
    path = install_sam("sam-vit-b", progress=lambda *counts: told.append(counts))
    assert path == installed_sam_path("sam-vit-b")
    assert told[-1][1] == told[-1][2]
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    loaded = load_sam("auto", "cpu")
    assert loaded.name == "sam-vit-b"
    for name, tensor in load_file(WEIGHTS).items():
        assert torch.equal(loaded.network.state_dict()[name], tensor.float())


@pytest.mark.usefixtures("models")
def test_install__takes_the_users_file(offered: Path) -> None:
    path = install_sam("sam-vit-b", offered)
    assert offered.is_file()
    before = written(path)
    assert written(install_sam("sam-vit-b")) == before


def written(path: Path) -> tuple[int, ...]:
    """Of a file: what changes when it is written, but not when it is read."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flip, cut_short])
def test_install__wrong_sha256(
    models: Path,
    offered: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], None],
) -> None:
    damaged = shutil.copy(offered, tmp_path / "damaged.pth")
    damage(damaged)
    with pytest.raises(CheckpointError, match="is not the published"):
        install_sam("sam-vit-b", damaged)
    released = replace(sam_checkpoints.RELEASED_SAMS[0], url=damaged.as_uri())
    monkeypatch.setattr(sam_checkpoints, "RELEASED_SAMS", (released,))
    with pytest.raises(CheckpointError, match=r"nothing was kept|was cut off .* goes on"):
        install_sam("sam-vit-b")
    assert not installed_sam_path("sam-vit-b").exists()
    released = replace(released, url=offered.as_uri())
    monkeypatch.setattr(sam_checkpoints, "RELEASED_SAMS", (released,))
    assert [install_sam("sam-vit-b")] == list(models.iterdir())


def test_install__more_bytes_than_published_end_the_download(
    models: Path, offered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = replace(sam_checkpoints.RELEASED_SAMS[0], bytes=1000)
    monkeypatch.setattr(sam_checkpoints, "RELEASED_SAMS", (released,))
    told: list[int] = []
    with pytest.raises(CheckpointError, match="nothing was kept"):
        install_sam("sam-vit-b", progress=lambda _what, done, _total: told.append(done))
    assert max(told) < offered.stat().st_size
    assert list(models.iterdir()) == []


def test_install__address_that_does_not_answer(
    models: Path, offered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = (offered.parent / "gone.pth").as_uri()
    released = replace(sam_checkpoints.RELEASED_SAMS[0], url=gone)
    monkeypatch.setattr(sam_checkpoints, "RELEASED_SAMS", (released,))
    with pytest.raises(CheckpointError, match="--file FILE"):
        install_sam("sam-vit-b")
    assert list(models.iterdir()) == []


def test_install__from_a_mirror_of_the_hub(
    models: Path, offered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", tmp_path.as_uri() + "/")
    with pytest.raises(CheckpointError, match=tmp_path.name):
        install_sam("sam-vit-b")
    there = tmp_path / "ybelkada/segment-anything/resolve/main/checkpoints" / offered.name
    there.parent.mkdir(parents=True)
    there.write_bytes(bytes(offered.stat().st_size))
    with pytest.raises(CheckpointError, match="nothing was kept"):
        install_sam("sam-vit-b")
    shutil.copy(offered, there)
    assert [install_sam("sam-vit-b")] == list(models.iterdir())


@pytest.mark.usefixtures("models")
def test_install__missing_file_or_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        install_sam("sam-vit-b", tmp_path / "missing.pth")
    with pytest.raises(ModelNotFoundError, match=r"take sam-vit-b.*--install sam-NAME --file"):
        install_sam("sam-vit-x")
    with pytest.raises(CheckpointError, match="no such file"):
        install_sam("sam-mine", tmp_path / "missing.pth")
    assert installed_sams() == []


@pytest.mark.usefixtures("models", "offered")
def test_install__own_sam(published: Path, tmp_path: Path) -> None:
    path = install_sam("sam-mine", published)
    assert path == installed_sam_path("sam-mine")
    about = read_metadata(path)
    assert (about["name"], about["architecture"]) == ("sam-mine", "vit_nano")
    assert about["source_sha256"] == hashlib.sha256(published.read_bytes()).hexdigest()
    assert about["licence"] == "not stated"
    install_sam("sam-cells-2", WEIGHTS)
    assert installed_sams() == ["sam-cells-2", "sam-mine"]
    assert load_sam("auto", "cpu").name == "sam-cells-2"
    install_sam("sam-vit-b")
    assert installed_sams() == ["sam-vit-b", "sam-cells-2", "sam-mine"]
    assert load_sam("auto", "cpu").name == "sam-vit-b"
    loaded = load_sam("sam-mine", "cpu")
    assert loaded.name == "sam-mine"
    for name, tensor in load_file(WEIGHTS).items():
        assert torch.equal(loaded.network.state_dict()[name], tensor.float())


@pytest.mark.usefixtures("models")
def test_install__own_sam_under_a_name_that_is_taken(tmp_path: Path) -> None:
    before = written(install_sam("sam-mine", WEIGHTS))
    assert written(install_sam("sam-mine", WEIGHTS)) == before
    other = {name: tensor + 1 for name, tensor in load_file(WEIGHTS).items()}
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="is there already"):
        install_sam("sam-mine", tmp_path / "other.safetensors")
    assert written(installed_sam_path("sam-mine")) == before


@pytest.mark.parametrize(
    "name",
    [
        "", "mine", "sam", "sam-", "sam-A", "sam--a", "sam-a/b", "../sam-a", "sam-a.b", "sam-a\n",
        "sam-\u00e4", "sam-\u0661", "sam- a", "sam-" + "x" * 33,
    ],
)  # fmt: skip
def test_install__own_sam_under_a_bad_name(models: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="expected sam-NAME"):
        install_sam(name, WEIGHTS)
    assert not models.exists()


def test_install__own_file_that_is_no_sam(models: Path, tmp_path: Path) -> None:
    torch.save({"image_encoder.pos_embed": Attack(tmp_path / "ran")}, tmp_path / "unsafe.pth")
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    for file, message in (("unsafe.pth", "Nothing but tensors"), ("other.safetensors", "not weig")):
        with pytest.raises(CheckpointError, match=message):
            install_sam("sam-mine", tmp_path / file)
    assert not (tmp_path / "ran").exists()
    assert installed_sams() == []


def test_installed__only_files_of_strict_names(models: Path) -> None:
    models.mkdir()
    for name in ("sam-B", "sam-a.b", "sam-a b", "other", "sam"):
        shutil.copy(WEIGHTS, models / f"{name}.safetensors")
    (models / "sam-folder.safetensors").mkdir()
    shutil.copy(WEIGHTS, models / "sam-copied.safetensors")
    assert installed_sams() == ["sam-copied"]
    with pytest.raises(ModelNotFoundError, match="sam-vit-h, sam-copied, or the path"):
        load_sam("sam-folder")


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


def test_load_sam__runs_no_code(tmp_path: Path) -> None:
    torch.save({"image_encoder.pos_embed": Attack(tmp_path / "ran")}, tmp_path / "unsafe.pth")
    with pytest.raises(CheckpointError, match="Nothing but tensors is ever loaded"):
        load_sam(tmp_path / "unsafe.pth")
    assert not (tmp_path / "ran").exists()


def test_load_sam__truncated(published: Path, tmp_path: Path) -> None:
    for source in (published, WEIGHTS):
        path = shutil.copy(source, tmp_path / source.name)
        cut_short(path)
        with pytest.raises(CheckpointError, match=source.name):
            load_sam(path)


def rename(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stranger"] = tensors.pop("image_encoder.neck.0.weight")


def spoil(tensors: dict[str, torch.Tensor]) -> None:
    tensors["image_encoder.neck.0.weight"][0] = torch.nan


def count(tensors: dict[str, torch.Tensor]) -> None:
    tensors["image_encoder.neck.0.weight"] = torch.zeros(3, dtype=torch.int64)


def widen(tensors: dict[str, torch.Tensor]) -> None:
    tensors["image_encoder.pos_embed"] = torch.zeros(1, 64, 64, 100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename, "stranger"),
        (spoil, "not finite"),
        (count, "expected a floating-point tensor"),
        (widen, r"not weights of a SAM that is known here.*\(1, 64, 64, 100\)"),
        (dict.clear, "there is no image_encoder.pos_embed"),
    ],
)
def test_load_sam__other_tensors(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    tensors = load_file(WEIGHTS)
    change(tensors)
    save_file(tensors, tmp_path / "changed.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_sam(tmp_path / "changed.safetensors")


def test_load_sam__without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "segment_anything", None)
    with pytest.raises(AlphaClipError, match="pip install segment-anything"):
        load_sam(WEIGHTS, "cpu")


def test_load_sam__model_is_returned(small: SamModel) -> None:
    assert load_sam(small) is small
