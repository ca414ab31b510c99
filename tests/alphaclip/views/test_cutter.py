"""Kinds of views, backgrounds and markers, against arrays made by hand or by PIL."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision import transforms
from torchvision.transforms.v2 import functional

from alphaclip import Region
from alphaclip.errors import AlphaClipError
from alphaclip.views.cutter import Cutter, make_views
from alphaclip.views.view import View

WIDE = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
"""8 x 12 pixels, each channel value another."""


def planes(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def box(left: int, top: int, right: int, bottom: int, height: int, width: int) -> Region:
    return Region.from_box(
        [left / width, top / height, (right - left) / width, (bottom - top) / height]
    )


def test_view__defaults_are_stated_as_they_always_were() -> None:
    assert View().to_dict() == {"kind": "image"}
    assert View("image", 3.0, 8).to_dict() == {"kind": "image"}
    stated = {"kind": "context", "context": 2.0, "least": 16}
    assert View("context", 2.0).to_dict() == stated
    assert View("context", 2.0, blur_sigma=5).to_dict() == stated


def test_view__what_differs_is_stated_and_read_again() -> None:
    view = View("squash", antialias=False, background="blur", blur_sigma=7.0, alpha="box")
    assert view.to_dict() == {
        "kind": "squash",
        "antialias": False,
        "background": "blur",
        "blur_sigma": 7.0,
        "alpha": "box",
    }
    assert View(**view.to_dict()) == view
    assert View(**View("context", 1.2, marker="circle", padding="white").to_dict()) == View(
        "context", 1.2, marker="circle", padding="white"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "crop"}, "view kind is 'crop': expected image, context, native, cover"),
        ({"background": "red"}, "view background is 'red': expected kept, mean, blur"),
        ({"marker": "box"}, "view marker is 'box'"),
        ({"alpha": "zeros"}, "view alpha is 'zeros'"),
        ({"blur_sigma": 0.0}, "blur_sigma is 0.0"),
        ({"kind": "readme", "background": "mean"}, "misaligned"),
        ({"kind": "readme", "marker": "circle"}, "misaligned"),
    ],
)
def test_view__bad_values(arguments: dict, message: str) -> None:
    with pytest.raises(AlphaClipError, match=message):
        View(**arguments)


def test_image__is_padded_to_a_square() -> None:
    pixels, alpha = make_views(WIDE, [box(0, 0, 6, 8, 8, 12)], View("image"), 12)
    assert torch.equal(pixels[0, :, 2:10], planes(WIDE))
    assert not pixels[0, :, :2].any() and not pixels[0, :, 10:].any()
    expected = np.zeros((12, 12), np.uint8)
    expected[2:10, :6] = 255
    assert np.array_equal(alpha[0, 0].numpy(), expected)


def test_image__padding_may_be_white() -> None:
    view = View("image", padding="white")
    pixels, alpha = make_views(WIDE, [box(0, 0, 6, 8, 8, 12)], view, 12)
    assert torch.equal(pixels[0, :, 2:10], planes(WIDE))
    assert (pixels[0, :, :2] == 255).all() and (pixels[0, :, 10:] == 255).all()
    assert not alpha[0, 0, :2].any()


def test_context__padding_may_be_white() -> None:
    view = View("context", 1.0, least=1, padding="white")
    tall = Region.from_box([0, 0, 0.5, 1])
    pixels, _ = make_views(WIDE, [tall], view, 8)
    assert torch.equal(pixels[0, :, :, 1:], planes(WIDE[:, :7]))
    assert (pixels[0, :, :, 0] == 255).all()


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        ((8, 12), slice(0, 8), slice(2, 10)),
        ((12, 8), slice(2, 10), slice(0, 8)),
        # Odd sides: 9 // 2 - 5 // 2 is 2, and 5 // 2 - 5 // 2 is 0.
        ((5, 9), slice(0, 5), slice(2, 7)),
        ((8, 13), slice(0, 8), slice(2, 10)),
    ],
)
def test_center__is_cut_jointly(shape: tuple[int, int], rows: slice, columns: slice) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    mask = np.random.default_rng(1).integers(0, 2, shape).astype(bool)
    pixels, alpha = make_views(image, [Region.from_mask(mask)], View("center"), min(shape))
    assert torch.equal(pixels[0], planes(np.ascontiguousarray(image[rows, columns])))
    assert np.array_equal(alpha[0, 0].numpy(), mask[rows, columns] * np.uint8(255))


def test_center__a_region_beyond_the_middle_has_an_empty_map() -> None:
    _, alpha = make_views(WIDE, [box(0, 0, 2, 8, 8, 12)], View("center"), 8)
    assert not alpha.any()


def test_squash__gives_up_the_aspect_of_both() -> None:
    image = np.repeat(WIDE[:6], 2, axis=0)[:, :6]
    assert image.shape == (12, 6, 3)
    mask = np.zeros((12, 6), bool)
    mask[:4] = True
    pixels, alpha = make_views(image, [Region.from_mask(mask)], View("squash"), 6)
    expected = transforms.functional.resize(planes(image), [6, 6], antialias=True,
        interpolation=transforms.InterpolationMode.BICUBIC)  # fmt: skip
    assert torch.equal(pixels[0], expected)
    assert (alpha[0, 0, :2] > 127).all() and (alpha[0, 0, 2:] < 127).all()


@pytest.mark.parametrize("shape", [(60, 100), (100, 60), (41, 40)])
@pytest.mark.parametrize("kind", ["image", "context", "squash", "center"])
@pytest.mark.parametrize("antialias", [True, False])
def test_views__picture_and_mask_coincide(shape: tuple, kind: str, antialias: bool) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[12:34, 18:36] = 255
    view = View(kind, 2.0, antialias=antialias)  # type: ignore[arg-type]
    pixels, alpha = make_views(image, [Region.from_mask(image[..., 0] > 0)], view, 48)
    assert ((pixels[0, 0] > 127) == (alpha[0, 0] > 127)).float().mean() > 0.98


def test_antialias__off_is_interpolation_without_it_for_both() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), np.uint8)
    mask = rng.integers(0, 2, (64, 64)).astype(bool)
    view = View("squash", antialias=False)
    pixels, alpha = make_views(image, [Region.from_mask(mask)], view, 16)
    for got, source, mode in (
        (pixels[0], planes(image), "bicubic"),
        (alpha[0], torch.from_numpy(mask * np.uint8(255))[None], "bilinear"),
    ):
        exact = torch.nn.functional.interpolate(source[None].float(), (16, 16), mode=mode)[0]
        assert (got.float() - exact.clamp(0, 255)).abs().max() <= 0.5001


def test_readme__picture_as_openai_prepares_it_and_mask_squashed() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (53, 41, 3), np.uint8)
    mask = np.zeros((53, 41), bool)
    mask[:20] = True
    pixels, alpha = make_views(image, [Region.from_mask(mask)], View("readme"), 22)
    openai = transforms.Compose(
        [
            transforms.Resize(22, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(22),
        ]
    )
    expected = np.asarray(openai(Image.fromarray(image)))
    assert np.abs(pixels[0].permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1
    squashed = transforms.functional.resize(torch.from_numpy(mask * np.uint8(255))[None], [22, 22])
    assert torch.equal(alpha[0], squashed)


def test_readme__square_pictures_are_as_with_center() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    region = box(3, 4, 20, 21, 30, 30)
    for got, expected in zip(
        make_views(image, [region], View("readme"), 20),
        make_views(image, [region], View("center"), 20),
        strict=True,
    ):
        assert torch.equal(got, expected)


def test_background__replaces_what_is_outside_and_keeps_what_is_inside() -> None:
    region = box(2, 1, 5, 7, 8, 12)
    grey = np.asarray(Image.fromarray(WIDE).convert("L").convert("RGB"))
    blurred = np.asarray(Image.fromarray(WIDE).filter(ImageFilter.GaussianBlur(3)))
    expected = {
        "mean": np.broadcast_to((123, 117, 104), WIDE.shape),
        "black": np.zeros_like(WIDE),
        "white": np.full_like(WIDE, 255),
        "gray": grey,
        "blur": blurred,
    }
    for background, behind in expected.items():
        view = View("image", background=background, blur_sigma=3)  # type: ignore[arg-type]
        pixels, alpha = make_views(WIDE, [region], view, 12)
        shown = pixels[0, :, 2:10].permute(1, 2, 0).numpy()
        composed = behind.copy()
        composed[1:7, 2:5] = WIDE[1:7, 2:5]
        assert np.array_equal(shown, composed), background
        assert alpha[0, 0].sum() == 255 * 18


def test_background__plain_colours_have_no_borders_and_altered_pictures_have() -> None:
    region = box(2, 1, 5, 7, 8, 12)
    mean, _ = make_views(WIDE, [region], View("image", background="mean"), 12)
    assert (mean[0, :, 0] == torch.tensor([123, 117, 104])[:, None]).all()
    blur, _ = make_views(WIDE, [region], View("image", background="blur", blur_sigma=1), 12)
    assert not blur[0, :, 0].any()


def test_background__soft_edges_mix() -> None:
    mask = np.zeros((8, 12), np.float32)
    mask[:, 6:] = 0.5
    white = np.full((8, 12, 3), 255, np.uint8)
    view = View("image", background="black")
    pixels, _ = make_views(white, [Region.from_mask(mask)], view, 12)
    assert (pixels[0, :, 2:10, :6] == 0).all()
    assert (pixels[0, :, 2:10, 6:].float() - 128).abs().max() <= 1


def test_background__blurred_once_for_all_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    made, blur = [], Image.Image.filter
    monkeypatch.setattr(Image.Image, "filter", lambda *given: made.append(1) or blur(*given))
    cutter = Cutter(WIDE, View("context", background="blur"), 12)
    for left in range(4):
        cutter.cut(box(left, 1, left + 4, 6, 8, 12))
    assert len(made) == 1


def test_background__a_whole_picture_has_none() -> None:
    for view in (View("image", background="mean"), View("squash", marker="circle")):
        plain, _ = make_views(WIDE, [Region.whole_image()], View(view.kind), 12)
        shown, alpha = make_views(WIDE, [Region.whole_image()], view, 12)
        assert torch.equal(plain, shown) and (alpha == 255).all()


def test_circle__is_red_round_the_region_and_leaves_it_alone() -> None:
    image = np.full((200, 300, 3), 90, np.uint8)
    region = box(100, 60, 180, 120, 200, 300)
    pixels, alpha = make_views(image, [region], View("image", marker="circle"), 300)
    shown = pixels[0].permute(1, 2, 0).numpy()[50:250]
    red = (shown == (255, 0, 0)).all(axis=-1)
    assert red.sum() > 200
    assert not red[60:120, 100:180].any()
    assert ((shown == 90).all(axis=-1) | red).all()
    rows, columns = np.nonzero(red)
    # Through the corners: half axes of 80 / sqrt 2 and 60 / sqrt 2, and a line of 3 pixels.
    for found, expected in zip(
        (rows.min(), rows.max(), columns.min(), columns.max()),
        (89.5 - 42.4 - 3, 89.5 + 42.4 + 3, 139.5 - 56.6 - 3, 139.5 + 56.6 + 3),
        strict=True,
    ):
        assert abs(found - expected) <= 1.5
    assert alpha[0, 0].sum() == 255 * 80 * 60


def test_circle__of_a_region_beyond_the_middle_is_not_drawn() -> None:
    view = View("center", marker="circle")
    pixels, _ = make_views(WIDE, [box(0, 0, 2, 8, 8, 12)], view, 8)
    assert torch.equal(pixels[0], planes(np.ascontiguousarray(WIDE[:, 2:10])))


def test_alpha__box_is_round_what_is_seen_and_ones_is_everywhere() -> None:
    mask = np.zeros((8, 12), bool)
    mask[1, 4] = mask[5, 7] = mask[0, 0] = True
    region = Region.from_mask(mask)
    _, seen = make_views(WIDE, [region], View("center", alpha="box"), 8)
    expected = np.zeros((8, 8), np.uint8)
    expected[1:6, 2:6] = 255
    assert np.array_equal(seen[0, 0].numpy(), expected)
    _, all_of_it = make_views(WIDE, [region], View("image", alpha="box"), 12)
    assert all_of_it[0, 0].sum() == 255 * 6 * 8
    _, ones = make_views(WIDE, [region], View("image", alpha="ones"), 12)
    assert (ones == 255).all()


def test_cutter__shares_the_pixels_of_regions_shown_alike() -> None:
    regions = [box(0, 0, 4, 4, 8, 12), box(4, 2, 9, 8, 8, 12), Region.whole_image()]
    for kind in ("image", "squash", "center", "readme"):
        view = View(kind)  # type: ignore[arg-type]
        cutter = Cutter(WIDE, view, 6)
        assert view.is_shared and len({id(cutter.cut(r)[0]) for r in regions}) == 1
    for view in (View("context", least=1), View("image", background="mean")):
        cutter = Cutter(WIDE, view, 6)
        cuts = [cutter.cut(r)[0] for r in regions[:2]]
        assert not view.is_shared and cuts[0] is not cuts[1]


def test_cutter__keeps_a_pixel_of_what_scaling_down_loses() -> None:
    image = np.zeros((3000, 4000, 3), np.uint8)
    region = box(3001, 2001, 3002, 2002, 3000, 4000)
    lost = Cutter(image, View("image"), 32).cut(region)[1]
    kept = Cutter(image, View("image"), 32, keep_tiny=True).cut(region)[1]
    assert not lost.any()
    # The picture is padded by 500 rows; 125 pixels of it are one pixel of the map.
    assert kept.nonzero().tolist() == [[0, 20, 24]]


def drawn_in_full(image: np.ndarray, region: Region, view: View, size: int) -> list[torch.Tensor]:
    """Picture and alpha map as they are defined: padded, drawn and cut in full, then scaled."""
    height, width = image.shape[:2]
    left, top, right, bottom = view.window(region, height, width)
    alpha = torch.from_numpy(region.alpha_window(height, width, (left, top, right, bottom)))[None]
    if view.alpha == "box":
        inside = alpha.nonzero()
        (_, y0, x0), (_, y1, x1) = inside.amin(dim=0).tolist(), inside.amax(dim=0).tolist()
        alpha = torch.zeros_like(alpha)
        alpha[:, y0 : y1 + 1, x0 : x1 + 1] = 255
    beyond = [max(0, -left), max(0, -top), max(0, right - width), max(0, bottom - height)]
    pixels = planes(image)[:, max(0, top) : bottom, max(0, left) : right]
    pixels = functional.pad(pixels, beyond, fill=view.padding_value)
    return [
        functional.resize(pixels, [size, size], transforms.InterpolationMode.BICUBIC),
        functional.resize(alpha, [size, size], transforms.InterpolationMode.BILINEAR),
    ]


@pytest.mark.parametrize("shape", [(300, 400), (41, 40), (5, 200), (1, 1)])
@pytest.mark.parametrize(
    "view",
    [View(), View("context"), View("context", padding="white"), View("squash"), View(alpha="box")],
    ids=str,
)
def test_cutter__is_what_is_drawn_in_full(view: View, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    mask = rng.integers(0, 2, (7, 9), np.uint8)
    boxes = [[0.1, 0.2, 0.6, 0.7], [-0.2, 0.5, 0.5, 2], [0.97, 0.97, 0.001, 0.002], [0, 0, 1, 1]]
    regions = [Region.from_box(one) for one in boxes]
    regions += [Region.from_mask(mask, one) for one in boxes[:2]]
    regions += [Region.from_polygon([[0, 0], [0.9, 0.1], [0.5, 0.8]]), Region.whole_image()]
    cutter = Cutter(image, view, 32)
    for region in regions:
        picture, alpha = cutter.cut(region)
        expected = drawn_in_full(image, region, view, 32)
        assert torch.equal(picture, expected[0])
        assert (alpha.int() - expected[1].int()).abs().max() <= 1


def test_cutter__stretches_a_mask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stretched, resize = [], Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda *a, **o: stretched.append(a) or resize(*a, **o)
    )
    mask = np.eye(5, dtype=bool)
    Cutter(WIDE, View("context"), 6).cut(Region.from_mask(mask, [0.2, 0.2, 0.5, 0.5]))
    assert len(stretched) == 1


def test_cutter__leaves_pictures_alone_that_cannot_be_written() -> None:
    image = WIDE.copy()
    image.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Cutter(image, View("squash"), 6).cut(Region.whole_image())
