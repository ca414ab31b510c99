"""Held-out pairs through the evaluation harness's own tasks."""

from pathlib import Path

import pytest

import alphaclip
from alphaclip.encoder.encoder import Encoder
from alphaclip.training.evaluation.retrieval.retrieval import retrieve
from alphaclip.training.finetune.evaluating import HeldOut, evaluation_view, read_held_out
from alphaclip.training.pairs.format.records import PairError
from alphaclip.views.view import View

from .shape_pairs import config_of, write_model, write_shapes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluating")


@pytest.fixture(scope="module")
def held_out(folder: Path) -> Path:
    return write_shapes(folder / "held-out", pictures=8)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return alphaclip.load(write_model(folder / "model"), device="cpu", precision="fp32")


def test_read_held_out__has_every_region_with_its_texts(folder: Path, held_out: Path) -> None:
    regions = read_held_out(held_out, "mine", folder / "pictures")
    assert (regions.name, len(regions), len(regions.examples)) == ("mine", 16, 8)
    example = regions.examples[0]
    assert example.path.read_bytes().startswith(b"\x89PNG")
    assert (example.id, example.width, example.height) == ("p000", 64, 64)
    first = example.regions[0]
    assert first.id == "p000/0"
    assert first.texts == (f"a {first.label}",)
    assert first.label in regions.classes
    assert len(regions.classes) == 16
    assert first.area == first.region.alpha_map(64, 64).sum() / 255


def test_read_held_out__copies_pictures_once(folder: Path, held_out: Path) -> None:
    place = folder / "once"
    path = read_held_out(held_out, "mine", place).examples[0].path
    before = path.stat().st_mtime_ns
    assert read_held_out(held_out, "mine", place).examples[0].path == path
    assert path.stat().st_mtime_ns == before
    path.write_bytes(b"cut")
    read_held_out(held_out, "mine", place)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_held_out__gives_the_harness_figures(
    folder: Path, held_out: Path, encoder: Encoder
) -> None:
    figures = HeldOut([held_out], folder / "pictures")(encoder)
    regions = read_held_out(held_out, "held-out", folder / "pictures")
    direct = retrieve(encoder, regions).metrics
    assert next(iter(figures)) == "held-out: mAP"
    for name in ("mAP", "recall@1", "recall@10"):
        assert figures[f"held-out: {name}"] == pytest.approx(direct[name], abs=1e-4)
    assert 0 <= figures["held-out: top-1"] <= 100
    assert len(figures) == 7


def test_held_out__sets_of_one_name_are_told_apart(
    folder: Path, held_out: Path, encoder: Encoder
) -> None:
    other = write_shapes(folder / "other" / "held-out", pictures=2, seed=3)
    figures = HeldOut([held_out, other], folder / "pictures")(encoder)
    assert f"{folder.name}/held-out: mAP" in figures
    assert "other/held-out: mAP" in figures


def test_held_out__a_folder_without_pairs_is_an_error(folder: Path) -> None:
    with pytest.raises(PairError, match="missing"):
        HeldOut([folder / "missing"], folder / "pictures")


def test_evaluation_view__is_what_training_showed(folder: Path) -> None:
    pad = config_of(folder, folder, folder, antialias=False)
    assert evaluation_view(pad) == View("image", antialias=False)
    near = config_of(folder, folder, folder, geometry="context", context=[1.2, 1.8])
    assert evaluation_view(near) == View("context", context=1.5)
