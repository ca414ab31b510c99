"""Names with methods: what they are split into, what they show, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from alphaclip import Region
from alphaclip.catalog import zoo
from alphaclip.catalog.methods import METHODS, default_view, lay_over, split_name
from alphaclip.cli import main
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import load
from alphaclip.errors import AlphaClipError, MissingWeightsError, ModelNotFoundError
from alphaclip.network.factory import create_model
from alphaclip.views.view import View

NANO = "alphaclip-nano"
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
NANO_FINGERPRINT = "0ff97e92a2b9b761edc794009936e72a"
"""As it was before there were methods and further views."""


def shown(methods: str, view: View) -> View:
    return lay_over(view, split_name(f"{NANO}+{methods}")[1])


def test_split_name__base_and_methods() -> None:
    base, methods = split_name("openclip:ViT-B-16-quickgelu/openai+near+maskattn")
    assert base == "openclip:ViT-B-16-quickgelu/openai"
    assert [method.name for method in methods] == ["near", "maskattn"]
    assert split_name("auto") == ("auto", ())


def test_split_name__a_sign_in_a_path_belongs_to_it(tmp_path: Path) -> None:
    path = tmp_path / "clip_b16_grit1m+mim.safetensors"
    path.touch()
    assert split_name(str(path)) == (str(path), ())
    base, methods = split_name(f"{path}+crop")
    assert (base, [m.name for m in methods]) == (str(path), ["crop"])


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("maskatn", "no method 'maskatn': did you mean maskattn"),
        ("zzz", "no method 'zzz': methods are box, ones, whole"),
        ("", "no method ''"),
        ("box+box", "box is there twice"),
        ("maskattn+maskpool", "BASE.maskattn & BASE.maskpool"),
        ("crop+maskattn", "near.maskattn"),
        ("maskpool+ones", "nothing to choose"),
    ],
)
def test_split_name__refuses(methods: str, message: str) -> None:
    with pytest.raises(ModelNotFoundError, match=message):
        zoo.resolve(f"{NANO}+{methods}")


def test_resolve__unknown_base_with_a_method() -> None:
    with pytest.raises(ModelNotFoundError, match=r"'alphaclip-nanno'.*alphaclip-nano"):
        zoo.resolve("alphaclip-nanno+crop")
    with pytest.raises(MissingWeightsError, match=r"gone\.pth.*OVSeg's weights"):
        zoo.resolve("gone.pth+maskprompt")


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("box", View("center", antialias=False, alpha="box")),
        ("ones", View("center", antialias=False, alpha="ones")),
        ("whole", View("center", antialias=False, alpha="ones")),
        ("near", View("context", 1.5, antialias=False)),
        ("crop", View("context", 1.0, antialias=False, alpha="ones")),
        ("crop+box", View("context", 1.0, antialias=False, alpha="box")),
        ("maskedcrop", View("context", 1.0, antialias=False, alpha="ones", background="mean")),
        ("blur+ones", View("center", antialias=False, alpha="ones", background="blur")),
        ("gray", View("center", antialias=False, background="gray")),
        ("circle", View("center", antialias=False, marker="circle")),
        ("maskattn", View("center", antialias=False)),
        ("box+roialign", View("center", antialias=False, alpha="box")),
    ],
)
def test_lay_over__sets_its_own_and_keeps_the_protocols(methods: str, expected: View) -> None:
    protocol = View("center", antialias=False)
    laid = shown(methods, protocol)
    assert laid == expected
    assert shown(methods, laid) == laid


def test_lay_over__the_whole_of_a_crop_is_the_picture() -> None:
    assert shown("whole", View("context", 2.0)) == View("image", 2.0, alpha="ones")


def test_default_view__pooling_shows_the_whole_picture_unless_told() -> None:
    def default(name: str) -> View:
        return default_view(View("context", 1.5), split_name(f"{NANO}+{name}")[1])

    assert default("maskattn").kind == "image"
    assert default("box+maskpool") == View("image", alpha="box")
    assert default("near+maskattn") == View("context", 1.5)
    assert default("circle") == View("context", 1.5, marker="circle")


@pytest.mark.parametrize(
    "methods", [m.name for m in METHODS if m.name not in ("maskprompt", "native")]
)
def test_load__each_method_encodes_and_its_name_makes_it_again(methods: str) -> None:
    encoder = load(f"{NANO}+{methods}", device="cpu")
    assert encoder.name == f"{NANO}+{methods}"
    again = load(encoder.name, device="cpu", view=View(**encoder.view.to_dict()))
    assert again.fingerprint == encoder.fingerprint
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    regions = [Region.from_box([0.1, 0.2, 0.5, 0.6]), Region.whole_image()]
    vectors = encoder.encode_regions(image, regions)
    assert vectors.shape == (2, 192)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors, again.encode_regions(image, regions))


@pytest.mark.parametrize("has_alpha", [True, False])
def test_load__a_folder_with_or_without_an_alpha_channel(tmp_path: Path, has_alpha: bool) -> None:
    torch.manual_seed(0)
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    tensors = create_model(str(tmp_path / "tiny.json")).clip.state_dict()
    if not has_alpha:
        del tensors["visual.conv1_alpha.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    encoder = load(f"{tmp_path}+maskattn", device="cpu")
    assert encoder.name == f"{tmp_path}+maskattn"
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    halves = [Region.from_box([0, 0, 0.5, 1]), Region.from_box([0.5, 0, 0.5, 1])]
    left, right = encoder.encode_regions(image, halves)
    assert np.abs(left - right).max() > 1e-4


def test_load__methods_are_laid_over_the_view_that_is_given() -> None:
    encoder = load(f"{NANO}+maskattn", device="cpu", view=View("context", 2.0))
    assert encoder.view == View("context", 2.0)
    assert load(f"{NANO}+crop", device="cpu", view=View("squash")).view.kind == "context"


def test_fingerprint__of_nano_is_what_it_always_was() -> None:
    assert load(NANO, device="cpu").fingerprint == NANO_FINGERPRINT
    views = [View("image"), View("context", 2.0, 8)]
    assert [load(NANO, device="cpu", view=view).fingerprint for view in views] == [
        "80386ab24bfeab7c35f19a34b4fa2325",
        "5358a75babcbcf0f90413f2fbac4eee2",
    ]


def test_fingerprint__methods_and_views_are_part_of_it() -> None:
    base = load(NANO, device="cpu")
    found = [NANO_FINGERPRINT]
    for way, view in ((None, View("squash")), (None, View("context", antialias=False))):
        found.append(Encoder(base._model, "x", view, base.device, base.dtype, way).fingerprint)
    names = (
        "whole", "maskattn", "maskpool", "roialign", "box+maskattn", "near+maskattn", "crop", "near"
    )  # fmt: skip
    found += [load(f"{NANO}+{name}", device="cpu").fingerprint for name in names]
    assert len(set(found)) == len(found)
    # The same view by two names
    assert load(NANO, device="cpu", view=View("context", 1.5)).fingerprint == found[-1]


def test_text_fingerprint__the_same_in_every_view_and_method() -> None:
    base = load(NANO, device="cpu")
    for name in ("crop", "maskattn"):
        other = load(f"{NANO}+{name}", device="cpu")
        assert other.text_fingerprint == base.text_fingerprint != base.fingerprint
    both = load(f"{NANO} & {NANO}+crop", device="cpu")
    again = load(f"{NANO} & {NANO}+maskattn", device="cpu")
    assert both.text_fingerprint == again.text_fingerprint != base.text_fingerprint


def test_create_model__takes_no_method() -> None:
    with pytest.raises(AlphaClipError, match=r"alphaclip\.load\('alphaclip-nano\+maskattn'\)"):
        create_model("alphaclip-nano+maskattn")


def test_models_command__lists_and_describes_methods(capsys: pytest.CaptureFixture) -> None:
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    for method in METHODS:
        assert f"+{method.name} " in listed and method.summary in listed
    assert main(["models", "alphaclip-nano+maskattn & alphaclip-nano+crop"]) == 0
    described = capsys.readouterr().out
    assert "alphaclip-nano+maskattn\n" in described and "the whole picture" in described
    assert "alphaclip-nano+crop\n" in described and "a square of 1 times" in described


def test_pooled_encoder__on_low_precision_means_the_same() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    regions = [Region.from_box([0.1 * i, 0.2, 0.3, 0.5]) for i in range(5)]
    for method in ("maskattn", "maskpool", "roialign"):
        exact = load(f"{NANO}+{method}", device="cpu", precision="fp32")
        other = load(f"{NANO}+{method}", device="cpu", precision="bf16")
        cosines = (exact.encode_regions(image, regions) * other.encode_regions(image, regions)).sum(
            1
        )
        assert cosines.min() >= 0.999
        assert torch.bfloat16 == other.dtype and other.fingerprint == exact.fingerprint
