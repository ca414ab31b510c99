"""Regions to alpha maps, on pictures small enough to check by hand."""

import numpy as np
import pytest
from pycocotools import mask as coco

from alphaclip import Region
from alphaclip.errors import EmptyRegionError, RegionError
from alphaclip.regions.region import box_texts, text_digest
from alphaclip.regions.rle import decode_rle, encode_rle


def test_from_box__covers_every_pixel_it_touches() -> None:
    alpha = Region.from_box([0.25, 0.5, 0.3, 0.5]).alpha_map(4, 8)
    expected = np.zeros((4, 8), np.uint8)
    expected[2:4, 2:5] = 255
    np.testing.assert_array_equal(alpha, expected)


@pytest.mark.parametrize(
    ("box", "bounds"),
    [
        ([-0.5, -0.5, 1.0, 1.0], (0, 0, 5, 5)),
        ([0.9, 0.0, 0.5, 1.0], (9, 0, 10, 10)),
        ([0.35, 0.35, 1e-5, 1e-5], (3, 3, 4, 4)),
        ([0.3, 0.3, 0.1, 0.1], (3, 3, 4, 4)),
    ],
)
def test_bounds__clipped_and_never_below_a_pixel(box: list[float], bounds: tuple) -> None:
    assert Region.from_box(box).bounds(10, 10) == bounds


@pytest.mark.parametrize(
    "box", [[0, 0, float("nan"), 1], [0, 0, -0.1, 1], [0, 0, 1], "box", None, [10**400, 0, 1, 1]]
)
def test_from_box__malformed(box: object) -> None:
    with pytest.raises(RegionError, match=r"box is .*expected"):
        Region.from_box(box)  # type: ignore[arg-type]


def test_from_box__no_area() -> None:
    with pytest.raises(EmptyRegionError, match="has no area"):
        Region.from_box([0.1, 0.1, 0, 0.2])
    with pytest.raises(EmptyRegionError, match=r"outside the image: .*\[0, 1\]: divide pixel"):
        Region.from_box([1.2, 0.1, 0.1, 0.2]).bounds(10, 10)


@pytest.mark.parametrize("box", [[1e307, 0, 1, 1], [0, 0, 1, 1e308], [0, -2e4, 1, 1]])
def test_from_box__so_far_away_that_pixels_would_overflow(box: list[float]) -> None:
    with pytest.raises(RegionError, match=r"far outside the image: .*divide pixel values"):
        Region.from_box(box)


@pytest.mark.parametrize(
    "mask",
    [
        np.array([[True, False]]),
        np.array([[1, 0]], np.uint8),
        np.array([[255, 0]], np.uint8),
        np.array([[1.0, 0.0]], np.float64),
    ],
)
def test_from_mask__dtypes_agree(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(Region.from_mask(mask).alpha_map(1, 2), [[255, 0]])


def test_from_mask__soft_edges_are_kept() -> None:
    alpha = Region.from_mask(np.array([[0.5, 1.0]], np.float32)).alpha_map(1, 2)
    np.testing.assert_array_equal(alpha, [[128, 255]])


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((2, 2), -1.5), r"dtype float64 and range \[-1.5, -1.5\].*mask > threshold"),
        (np.full((2, 2), np.nan), "range"),
        (np.zeros((2, 2, 5), np.uint8), r"shape \(2, 2, 5\)"),
        (np.zeros((0, 2), bool), r"shape \(0, 2\)"),
        (np.array([["a", "b"]]), r"shape \(1, 2\), dtype <U1"),
        ([[1, 2], [3]], "cannot be read as an array"),
    ],
)
def test_from_mask__bad_input_is_named(mask: np.ndarray, message: str) -> None:
    with pytest.raises(RegionError, match=message):
        Region.from_mask(mask)


def test_from_mask__another_shape_than_the_image() -> None:
    with pytest.raises(
        RegionError, match=r"mask has shape \(4, 6\), image is \(6, 8\).*box=\[0, 0, 1, 1\]"
    ):
        Region.from_mask(np.ones((4, 6), bool)).alpha_map(6, 8)


def test_from_mask__all_zero_has_no_area() -> None:
    with pytest.raises(EmptyRegionError, match="zero everywhere"):
        Region.from_mask(np.zeros((4, 6), bool)).bounds(4, 6)


def test_from_mask__instance_mask_is_stretched_over_its_box() -> None:
    alpha = Region.from_mask(np.array([[1, 0]], bool), box=[0.5, 0, 0.5, 1]).alpha_map(2, 8)
    assert (alpha[:, :4] == 0).all()
    assert (alpha[:, 4] == 255).all()
    assert (alpha[:, 7] == 0).all()


@pytest.mark.parametrize(
    ("box", "bounds"),
    [
        ([0.35, 0.35, 1e-9, 1e-9], (3, 3, 4, 4)),
        ([0.399999999, 0.35, 1e-12, 0.1], (4, 3, 5, 5)),
        ([0.35, 0.35, 5e-324, 5e-324], (3, 3, 4, 4)),
    ],
)
def test_from_mask__instance_mask_in_a_box_below_a_pixel(box: list[float], bounds: tuple) -> None:
    assert Region.from_mask(np.ones((2, 2), bool), box=box).bounds(10, 10) == bounds


def test_from_polygon__even_odd_hole() -> None:
    outer = [[0, 0], [0.9, 0], [0.9, 0.9], [0, 0.9]]
    hole = [[0.3, 0.3], [0.6, 0.3], [0.6, 0.6], [0.3, 0.6]]
    alpha = Region.from_polygon([outer, hole]).alpha_map(10, 10)
    assert alpha[1, 1] == 255
    assert alpha[4, 4] == 0


def test_from_polygon__malformed() -> None:
    with pytest.raises(RegionError, match="at least three"):
        Region.from_polygon([[0, 0], [1, 1]])
    with pytest.raises(RegionError, match=r"shape \(3, 3\): expected .* \[x, y\] points"):
        Region.from_polygon([[0, 0, 0], [1, 1, 0], [1, 0, 0]])
    with pytest.raises(RegionError, match="far outside the image"):
        Region.from_polygon([[0, 0], [1e300, 0.5], [0, 1]])


SQUARE = [[0, 0], [0.4, 0], [0.4, 0.4], [0, 0.4]]


@pytest.mark.parametrize("stray", [[], [[0.9, 0.9]], [[0.9, 0.9], [0.8, 0.8]], [[None, 0.5]]])
@pytest.mark.parametrize("first", [True, False])
def test_from_polygon__a_stray_ring_is_left_out(stray: list, first: bool) -> None:
    region = Region.from_polygon([stray, SQUARE] if first else [SQUARE, stray])
    assert len(region.rings) == 1
    assert region.digest() == Region.from_polygon(SQUARE).digest()


@pytest.mark.parametrize("points", [[], [[]], [[[0.1, 0.1]], [[0.2, 0.2], [0.3, 0.3]]]])
def test_from_polygon__nothing_but_stray_rings(points: list) -> None:
    with pytest.raises(RegionError, match="at least three"):
        Region.from_polygon(points)


@pytest.mark.parametrize("wrong", [None, "a", float("nan"), 10**400, [], {}, 1j])
def test_from_polygon__a_coordinate_that_is_no_number(wrong: object) -> None:
    for point in ([wrong, 0.5], wrong):
        with pytest.raises(RegionError, match="expected"):
            Region.from_polygon([SQUARE, [[0.5, 0.5], point, [0.9, 0.9], [0.8, 0.6]]])


def test_from_polygon__a_hundred_thousand_points() -> None:
    angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    round_about = 0.5 + 0.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    alpha = Region.from_polygon(round_about).alpha_map(100, 100)
    assert (alpha > 0).mean() == pytest.approx(np.pi * 0.16, rel=0.03)
    scribble = np.random.default_rng(0).random((100_000, 2))
    with pytest.raises(RegionError, match=r"100,000 points .*picture sides, the limit is 1,000"):
        Region.from_polygon(scribble)


def test_from_polygon__thousands_of_rings() -> None:
    corners = np.array([[0, 0], [0.01, 0], [0.01, 0.01], [0, 0.01]])
    across, down = np.meshgrid(np.arange(50) / 50, np.arange(50) / 50)
    rings = [corners + at for at in np.stack([across.ravel(), down.ravel()], axis=1)]
    alpha = Region.from_polygon(rings).alpha_map(400, 400)
    single = Region.from_polygon(corners).alpha_map(8, 8)
    assert alpha.sum(dtype=int) > 2000 * 255
    assert single.any()


@pytest.mark.parametrize(
    "points", [[[0, 0], [1, 1], [1]], [[[0, 0], [1]]], [[0, 0], [1, "x"], [1, 0]], None, {}, "abc"]
)
def test_from_polygon__not_points_at_all(points: object) -> None:
    with pytest.raises(RegionError, match=r"polygon .*expected"):
        Region.from_polygon(points)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "points",
    [
        [[0.5, 0.5]] * 3,
        [[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]],
        [[[0.5, 0.5]] * 3, [[0.1, 0.7], [0.3, 0.7], [0.2, 0.7]]],
    ],
)
def test_from_polygon__no_area(points: list) -> None:
    with pytest.raises(EmptyRegionError, match="has no area"):
        Region.from_polygon(points)


def test_from_polygon__figure_of_eight_has_area() -> None:
    alpha = Region.from_polygon([[0, 0], [0.9, 0.9], [0.9, 0], [0, 0.9]]).alpha_map(10, 10)
    assert alpha[5, 1] == alpha[5, 8] == 255
    assert alpha[0, 5] == 0


def test_from_polygon__one_flat_ring_beside_another() -> None:
    square = [[0, 0], [0.4, 0], [0.4, 0.4], [0, 0.4]]
    assert Region.from_polygon([[[0.9, 0.9]] * 3, square]).alpha_map(10, 10)[2, 2] == 255


def test_from_rle__agrees_with_pycocotools() -> None:
    rng = np.random.default_rng(0)
    mask = np.asfortranarray((rng.random((37, 53)) > 0.7).astype(np.uint8))
    compressed = coco.encode(mask)
    np.testing.assert_array_equal(Region.from_rle(compressed).alpha_map(37, 53), mask * 255)
    text = {"size": compressed["size"], "counts": compressed["counts"].decode()}
    np.testing.assert_array_equal(Region.from_rle(text).alpha_map(37, 53), mask * 255)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_encode_rle__is_what_pycocotools_makes(share: float) -> None:
    for seed in range(5):
        blots = np.random.default_rng(seed).random((30, 41)) < share
        mask = np.kron(blots, np.ones((seed + 1, 7 * seed + 1))).astype(bool)
        made = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        expected = {"size": list(mask.shape), "counts": made["counts"].decode()}
        assert encode_rle(mask) == expected
        np.testing.assert_array_equal(decode_rle(encode_rle(mask)), mask)


def test_from_rle__list_of_runs() -> None:
    alpha = Region.from_rle({"size": [2, 2], "counts": [1, 2, 1]}).alpha_map(2, 2)
    np.testing.assert_array_equal(alpha, [[0, 255], [255, 0]])


@pytest.mark.parametrize(
    "rle",
    [
        None,
        {"size": [2, 2]},
        {"size": None, "counts": [4]},
        {"size": [-2, -2], "counts": [4]},
        {"size": [2, 2], "counts": [5]},
        {"size": [2, 2], "counts": [-1, 5]},
        {"size": [2, 2], "counts": [2**62] * 4 + [4]},
    ],
)
def test_from_rle__malformed(rle: dict) -> None:
    with pytest.raises(RegionError, match="RLE"):
        Region.from_rle(rle)


@pytest.mark.parametrize("text", ["o" * 1_000_000 + "0", "P" * 7 + "0"])
def test_from_rle__a_number_without_end(text: str) -> None:
    with pytest.raises(RegionError, match=r"a number of [\d]+ digits at 0, the limit is 7"):
        Region.from_rle({"size": [2, 2], "counts": text})


def test_from_rle__many_runs() -> None:
    stripes = np.arange(1_000_000).reshape(1000, 1000) % 2 == 0
    np.testing.assert_array_equal(decode_rle(encode_rle(stripes)), stripes)
    with pytest.raises(RegionError, match="add up to 0"):
        decode_rle({"size": [2, 2], "counts": "0" * 1_500_000})


def test_from_rle__more_pixels_than_a_picture() -> None:
    with pytest.raises(RegionError, match="RLE size is 1000000 x 1000000: the limit is"):
        decode_rle({"size": [10**6, 10**6], "counts": [10**12]})


@pytest.mark.parametrize(
    "counts",
    [None, 4, ["a"], [None], [1.5, 2.5], [float("nan")], [[4]], "\x00\xff", "\ud800", b"zz"],
)
def test_from_rle__garbage_counts(counts: object) -> None:
    with pytest.raises(RegionError, match="RLE counts"):
        Region.from_rle({"size": [2, 2], "counts": counts})


def test_from_rgba__takes_the_alpha_channel() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 1, 3] = 200
    np.testing.assert_array_equal(Region.from_rgba(pixels).alpha_map(2, 2), [[0, 200], [0, 0]])
    with pytest.raises(RegionError, match="alpha channel"):
        Region.from_rgba(pixels[..., :3])
    with pytest.raises(RegionError, match="cannot be read as an array"):
        Region.from_rgba([[1], [2, 3]])


def test_digest__follows_the_geometry() -> None:
    box = [0.1, 0.2, 0.3, 0.4]
    assert Region.from_box(box).digest() == Region.from_box(box).digest()
    others = [Region.from_box([0.1, 0.2, 0.3, 0.5]), Region.from_mask(np.ones((2, 2)), box=box)]
    assert len({r.digest() for r in [Region.from_box(box), Region.whole_image(), *others]}) == 4


def test_box_texts__are_those_of_single_boxes() -> None:
    rng = np.random.default_rng(0)
    sizes = 10 ** rng.uniform(-9, 4, (2000, 2))
    boxes = np.hstack([rng.uniform(-1, 1, (2000, 2)) * sizes, sizes])
    boxes[::5] = boxes[::5].round(3)
    boxes[::5, 2:] += 1
    edges = [1e-4, np.nextafter(1e-4, 0), 9999.999999999999, 1e4, 5e-324, 1.0, 0.1, 1 / 3]
    odd = [[x, y, w, w] for x in (*edges, 0.0, -0.0, -1e-5, -1.0) for y in (0.5, x) for w in edges]
    boxes = np.vstack([boxes, odd, rng.uniform(0.001, 1, (2000, 4)).astype(np.float32)])
    expected = [Region.from_box(box).digest() for box in boxes.tolist()]
    assert [text_digest(text) for text in box_texts(boxes)] == expected
    assert box_texts(boxes[:0]) == []
