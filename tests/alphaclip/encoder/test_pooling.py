"""Regions taken from a picture's tokens, against the same steps written out on the weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from alphaclip import Region
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.pooling import (
    POOLINGS,
    Pooled,
    foreground,
    mask_attention,
    mask_box,
    mask_mean,
)
from alphaclip.errors import AlphaClipError
from alphaclip.network.factory import create_model
from alphaclip.network.fingerprint import fingerprint
from alphaclip.network.model import AlphaCLIP
from alphaclip.network.region_queries import RegionQueries
from alphaclip.network.split_towers import AttentionPool, ClassToken, TimmClassToken, find_tower
from alphaclip.views.view import View
from alphaclip.weights.alpha_channel import join_alpha

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
PLAIN = {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8}
TOWERS = {
    "class token": (PLAIN, ClassToken),
    "class token, norm after": ({**PLAIN, "final_ln_after_pool": True}, ClassToken),
    "timm, class token": (
        {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "token"},
        TimmClassToken,
    ),
    "timm, attention pool": (
        {"image_size": 160, "timm_model_name": "test_vit3", "timm_pool": "map"},
        AttentionPool,
    ),
    "EVA02": (
        {
            "image_size": 336,
            "timm_model_name": "eva02_tiny_patch14_336",
            "timm_pool": "token",
            "timm_proj": None,
        },
        TimmClassToken,
    ),
    "PE": (
        {
            "image_size": 384,
            "timm_model_name": "vit_pe_core_tiny_patch16_384",
            "timm_pool": "map",
            "timm_proj": None,
        },
        AttentionPool,
    ),
}


def build(vision: dict[str, Any]) -> AlphaCLIP:
    """A random model; its weights are large enough that patches differ."""
    torch.manual_seed(0)
    model = create_model(
        {"embed_dim": 16, "vision_cfg": vision, "text_cfg": TEXT, "custom_text": True}
    )
    with torch.no_grad():
        for parameter in model.clip.visual.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.08)
    return model


@pytest.fixture(scope="module", params=list(TOWERS))
def tower_case(request: pytest.FixtureRequest) -> tuple[AlphaCLIP, type]:
    vision, kind = TOWERS[request.param]
    return build(vision), kind


@pytest.fixture(scope="module")
def plain() -> AlphaCLIP:
    return build(PLAIN)


def picture_of(model: AlphaCLIP) -> Tensor:
    """A picture with all-ones alpha, as the trunk takes it."""
    generator = torch.Generator().manual_seed(1)
    size = model.image_size
    image = torch.randn(1, 3, size, size, generator=generator)
    return join_alpha(image, torch.full((1, 1, size, size), 0.5 / 0.26))


def encoder_of(model: AlphaCLIP, pooling: str | None, view: View | None = None) -> Encoder:
    way = Pooled(model, pooling) if pooling else None
    cpu = torch.device("cpu")
    return Encoder(model, "tiny", view or View("image"), cpu, torch.float32, way)


def boxes(count: int) -> list[Region]:
    return [Region.from_box([0.1 + 0.6 * i / count, 0.2, 0.3, 0.5]) for i in range(count)]


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@torch.inference_mode()
def test_tower__in_two_parts_is_the_model(tower_case: tuple[AlphaCLIP, type]) -> None:
    model, kind = tower_case
    tower = find_tower(model.clip.visual, "random")
    assert type(tower) is kind
    joined = picture_of(model)
    tokens = tower.trunk(joined)
    assert tokens.shape[1] == tower.prefix + tower.grid[0] * tower.grid[1]
    expected = model.clip.encode_image(joined)
    assert torch.equal(tower.whole(tokens), expected)
    attended = tower.attend(tokens, [torch.zeros(1, 1, 2, tokens.shape[1] - tower.prefix)])[0]
    torch.testing.assert_close(attended, expected.expand(2, -1), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_tower__attends_to_nothing_but_what_is_allowed(tower_case: tuple[AlphaCLIP, type]) -> None:
    model, _ = tower_case
    tower = find_tower(model.clip.visual, "random")
    tokens = tower.trunk(picture_of(model))
    patches = tokens[0, tower.prefix :]
    bias = torch.zeros(1, 1, 2, len(patches))
    bias[..., 0, 2:] = float("-inf")
    before = tower.attend(tokens, [bias])[0]
    assert (before[0] - before[1]).abs().max() > 1e-3
    patches[2:] += 3 * torch.randn(patches[2:].shape)
    after = tower.attend(tokens, [bias])[0]
    torch.testing.assert_close(after[0], before[0], atol=1e-5, rtol=1e-5)
    assert (after[1] - before[1]).abs().max() > 1e-3


@torch.inference_mode()
def test_tower__a_patch_by_itself_knows_its_own_token_only(
    tower_case: tuple[AlphaCLIP, type],
) -> None:
    model, _ = tower_case
    tower = find_tower(model.clip.visual, "random")
    tokens = tower.trunk(picture_of(model))[0]
    before = tower.patches(tokens)
    assert before.shape == (tower.grid[0] * tower.grid[1], 16)
    tokens[tower.prefix + 3] += 1 + torch.arange(tokens.shape[1])
    changed = (tower.patches(tokens) - before).abs().amax(dim=1) > 1e-4
    assert changed.nonzero().flatten().tolist() == [3]


@torch.inference_mode()
def test_mask_attention__by_the_weights(plain: AlphaCLIP) -> None:
    """The class token's row of the last block, head by head."""
    visual = plain.clip.visual
    tower = find_tower(visual, "plain")
    tokens = tower.trunk(picture_of(plain))[0]
    block = visual.transformer.resblocks[-1]
    maps = torch.zeros(1, 1, 32, 32)
    maps[0, 0, 8:20, 0:8] = 1  # patches 4 and, in part, 8
    seen = [0, 1 + 4, 1 + 8]
    weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
    projected = linear(block.ln_1(tokens), weight, bias).unflatten(-1, (3, 2, 32))
    query, keys, values = projected.unbind(1)
    heads = []
    for head in range(2):
        scores = keys[seen, head] @ query[0, head] / 32**0.5
        heads.append(scores.softmax(0) @ values[seen, head])
    out = tokens[0] + block.attn.out_proj(torch.cat(heads))
    out = out + block.mlp(block.ln_2(out))
    expected = visual.ln_post(out) @ visual.proj
    got = POOLINGS["maskattn"](tower, tokens, maps)[0]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_patches__by_the_weights(plain: AlphaCLIP) -> None:
    """MaskCLIP's dense features: own value, residual, feed-forward layer."""
    visual = plain.clip.visual
    tower = find_tower(visual, "plain")
    tokens = tower.trunk(picture_of(plain))[0]
    block = visual.transformer.resblocks[-1]
    attn = block.attn
    value = linear(block.ln_1(tokens), attn.in_proj_weight[128:], attn.in_proj_bias[128:])
    out = tokens + attn.out_proj(value)
    out = out + block.mlp(block.ln_2(out))
    expected = (visual.ln_post(out) @ visual.proj)[1:]
    torch.testing.assert_close(tower.patches(tokens), expected, atol=1e-5, rtol=1e-4)


class FieldTower:
    """Patches whose vectors are known."""

    prefix = 1

    def __init__(self, field: Tensor) -> None:
        self.grid = (field.shape[0], field.shape[1])
        self._field = field

    def patches(self, tokens: Tensor) -> Tensor:
        return self._field.flatten(0, 1)


def test_mask_mean__weighs_patches_by_how_much_is_covered() -> None:
    tower: Any = FieldTower(torch.eye(4).view(2, 2, 4))
    maps = torch.zeros(3, 1, 8, 8)
    maps[0, 0, :4, :4] = 1
    maps[0, 0, :4, 4:6] = 1
    maps[1, 0, 7, 7] = 0.2
    got = mask_mean(tower, torch.empty(0), maps)
    expected = torch.tensor([[2 / 3, 1 / 3, 0, 0], [0, 0, 0, 1], [0.25] * 4])
    torch.testing.assert_close(got, expected)


def test_mask_box__of_a_ramp_is_its_value_in_the_middle_of_the_box() -> None:
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    tower: Any = FieldTower(torch.stack((rows, columns), dim=-1))
    maps = torch.zeros(2, 1, 32, 32)
    maps[0, 0, 8:16, 4:24] = 1  # in patches: rows 1 to 2, columns 0.5 to 3
    maps[1, 0, 10, 10] = maps[1, 0, 21, 17] = 1
    got = mask_box(tower, torch.empty(0), maps)
    # A patch's value stands at its middle, half a patch from its edge.
    expected = torch.tensor([[1.0, 1.25], [16 / 8 - 0.5, 14 / 8 - 0.5]])
    torch.testing.assert_close(got, expected)


def test_foreground__touched_patches_and_one_for_the_smallest() -> None:
    maps = torch.zeros(4, 1, 8, 8)
    maps[0, 0, 3:5, 1] = 1
    maps[1, 0, 6, 6] = 0.01
    maps[2, 0, :, :4] = 0.4
    maps[2, 0, :4, 4] = 0.6
    assert foreground(maps, (2, 2)).tolist() == [
        [True, False, True, False],
        [False, False, False, True],
        [False, True, False, False],
        [True, True, True, True],
    ]


@pytest.mark.parametrize(
    "vision",
    [
        {"image_size": 160, "timm_model_name": "test_convnext", "timm_pool": "avg"},
        {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "avg"},
        {"image_size": 64, "layers": [1, 1, 1, 1], "width": 32},
        {**PLAIN, "pool_type": "avg"},
        {**PLAIN, "attentional_pool": True},
        {**PLAIN, "qk_norm": True},
    ],
)
def test_pooled__other_towers_are_refused_and_told_what_works(vision: dict) -> None:
    with pytest.raises(AlphaClipError, match=r"maskpool: its image encoder .*SigLIP.*\+near"):
        Pooled(build(vision), "maskpool")


@pytest.fixture
def trunk_runs(plain: AlphaCLIP) -> Iterator[list[int]]:
    """How many pictures each run of the first block has had."""
    runs: list[int] = []

    def count(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        runs.append(len(given[0]))

    handle = plain.clip.visual.transformer.resblocks[0].register_forward_pre_hook(count)
    yield runs
    handle.remove()


@pytest.mark.parametrize("pooling", list(POOLINGS))
@pytest.mark.parametrize("kind", ["image", "squash", "center"])
def test_encode_regions__runs_the_trunk_once_for_a_picture(
    plain: AlphaCLIP, trunk_runs: list[int], picture: np.ndarray, pooling: str, kind: Any
) -> None:
    encoder = encoder_of(plain, pooling, View(kind))
    # More than a chunk of the cutter and than two batches.
    vectors = encoder.encode_regions(picture, [*boxes(99), Region.whole_image()])
    assert trunk_runs == [1]
    assert vectors.shape == (100, 16) and np.isfinite(vectors).all()


def test_encode_many__pictures_share_batches_and_each_runs_once(
    plain: AlphaCLIP, trunk_runs: list[int], picture: np.ndarray
) -> None:
    encoder = encoder_of(plain, "maskattn")
    others = [np.roll(picture, 7 * i, axis=0) for i in range(5)]
    counts = [3, 0, 5, 1, 2]
    items = [(image, boxes(n)) for image, n in zip(others, counts, strict=True)]
    rows = list(encoder.encode_many(items, batch_size=4))
    # Batches of 4 regions: 3 + 1, 4, 1 + 2; the last picture of each is kept for the next.
    assert trunk_runs == [2, 2] and sum(trunk_runs) == 4
    assert [len(r) for r in rows] == counts
    for (image, regions), got in zip(items, rows, strict=True):
        np.testing.assert_allclose(got, encoder.encode_regions(image, regions), atol=1e-5)


@pytest.mark.parametrize(("alpha", "runs"), [("ones", [1]), ("region", [6])])
def test_encode_regions__of_everything_runs_once_by_itself(
    plain: AlphaCLIP, trunk_runs: list[int], picture: np.ndarray, alpha: Any, runs: list[int]
) -> None:
    view = View("squash", alpha=alpha)
    encoder = Encoder(plain, "tiny", view, torch.device("cpu"), torch.float32)
    vectors = encoder.encode_regions(picture, [*boxes(5), Region.whole_image()])
    assert trunk_runs == runs and encoder.fingerprint == fingerprint(plain, view)
    whole = encoder.encode_regions(picture, [Region.whole_image()])
    np.testing.assert_allclose(vectors[5], whole[0], atol=1e-6)
    if alpha == "ones":
        np.testing.assert_array_equal(vectors, np.repeat(whole, 6, axis=0))


def test_encode_many__views_of_their_own_each_run(
    plain: AlphaCLIP, trunk_runs: list[int], picture: np.ndarray
) -> None:
    encoder_of(plain, "maskattn", View("context")).encode_regions(picture, boxes(5))
    assert trunk_runs == [5]


@pytest.mark.parametrize("pooling", ["maskattn", None])
def test_encode_views__a_cpu_runs_a_few_at_a_time(
    plain: AlphaCLIP, trunk_runs: list[int], pooling: str | None
) -> None:
    encoder = encoder_of(plain, pooling, View("context"))
    pixels = torch.arange(393 * 3 * 32 * 32).reshape(393, 3, 32, 32) * 7 % 256
    maps = torch.full((393, 1, 32, 32), 255, dtype=torch.uint8)
    vectors = encoder.encode_views(pixels, maps)
    assert trunk_runs == [392, 1]  # As many pixels as eight pictures of 224 x 224 have.
    alone = encoder.encode_views(pixels[-1:], maps[-1:])
    np.testing.assert_allclose(vectors[-1], alone[0], atol=1e-6)


def test_encode_many__equal_arrays_are_pictures_of_their_own(
    plain: AlphaCLIP, trunk_runs: list[int], picture: np.ndarray
) -> None:
    encoder = encoder_of(plain, "maskattn")
    list(encoder.encode_many([(picture, boxes(2)), (picture, boxes(2))]))
    assert sum(trunk_runs) == 2


@pytest.mark.parametrize("pooling", list(POOLINGS))
@pytest.mark.parametrize("kind", ["image", "context"])
def test_encode_regions__a_whole_image_is_exactly_the_models(
    plain: AlphaCLIP, picture: np.ndarray, pooling: str, kind: Any
) -> None:
    view = View(kind)
    model = Encoder(plain, "tiny", view, torch.device("cpu"), torch.float32)
    expected = model.encode_regions(picture, [Region.whole_image()])
    encoder = encoder_of(plain, pooling, view)
    regions = [*boxes(3), Region.whole_image(), *boxes(2)]
    assert np.array_equal(encoder.encode_regions(picture, [Region.whole_image()]), expected)
    np.testing.assert_allclose(encoder.encode_regions(picture, regions)[3], expected[0], atol=1e-6)


def test_encode_regions__maskattn_of_everything_is_the_models(
    plain: AlphaCLIP, picture: np.ndarray
) -> None:
    whole, box = encoder_of(plain, "maskattn").encode_regions(
        picture, [Region.whole_image(), Region.from_box([0, 0, 1, 1])]
    )
    np.testing.assert_allclose(box, whole, atol=1e-6)


def test_encode_regions__base_model_sees_no_alpha_map(plain: AlphaCLIP) -> None:
    """With an alpha channel, too, all regions share a trunk that looks at everything."""
    model = build(PLAIN)
    nn.init.normal_(model.clip.visual.conv1_alpha.weight, std=0.5)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    box = Region.from_box([0, 0, 1, 1])
    ones = Encoder(model, "t", View("image", alpha="ones"), torch.device("cpu"), torch.float32)
    got = encoder_of(model, "maskattn").encode_regions(picture, [box])
    np.testing.assert_allclose(got, ones.encode_regions(picture, [box]), atol=1e-6)
    assert np.abs(got - encoder_of(plain, "maskattn").encode_regions(picture, [box])).max() > 1e-3


@pytest.mark.parametrize("pooling", list(POOLINGS))
@pytest.mark.parametrize("antialias", [True, False])
def test_encode_regions__a_region_smaller_than_a_pixel_keeps_its_patch(
    plain: AlphaCLIP, pooling: str, antialias: bool
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    view = View("squash", antialias=antialias)
    # One pixel in the second patch of the third row, and that patch, 500 pixels wide.
    tiny = Region.from_box([750 / 2000, 1250 / 2000, 1 / 2000, 1 / 2000])
    patch = Region.from_box([0.25, 0.5, 0.25, 0.25])
    whole = Region.whole_image()
    got = encoder_of(plain, pooling, view).encode_regions(image, [tiny, patch, whole])
    # Scaling down with antialias spreads the patch's edges over its neighbours a little.
    assert got[0] @ got[1] > (0.9 if pooling == "roialign" else 0.9999)
    assert got[0] @ got[2] < 0.999


def test_encode_regions__looks_at_the_region(plain: AlphaCLIP) -> None:
    """What is beyond the region's patches changes nothing but through the trunk."""
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 16:] = 255
    halves = [Region.from_box([0, 0, 0.5, 1]), Region.from_box([0.5, 0, 0.5, 1])]
    for pooling in POOLINGS:
        left, right = encoder_of(plain, pooling).encode_regions(picture, halves)
        assert np.abs(left - right).max() > 1e-2, pooling


def test_encode_views__as_the_stream_does(plain: AlphaCLIP, picture: np.ndarray) -> None:
    from alphaclip.views.cutter import make_views

    regions = [*boxes(3), Region.whole_image()]
    for pooling in POOLINGS:
        encoder = encoder_of(plain, pooling)
        pixels, maps = make_views(picture, regions, encoder.view, 32)
        got = encoder.encode_views(pixels, maps, [False] * 3 + [True])
        np.testing.assert_allclose(got, encoder.encode_regions(picture, regions), atol=1e-6)


def test_pooled__siglip_by_its_own_configuration(tmp_path: Path) -> None:
    """open_clip's SigLIP settings at a small size: no class token, attention pool, no head."""
    vision = {"image_size": 160, "timm_model_name": "test_vit3", "timm_pool": "map"}
    config = {"embed_dim": 96, "vision_cfg": {**vision, "timm_proj": "none"}, "text_cfg": TEXT}
    path = tmp_path / "siglip.json"
    path.write_text(json.dumps({**config, "custom_text": True}))
    encoder = encoder_of(create_model(path), "maskattn")
    image = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    vectors = torch.from_numpy(encoder.encode_regions(image, [*boxes(2), Region.whole_image()]))
    assert vectors.shape == (3, 96)
    torch.testing.assert_close(normalize(vectors), vectors, atol=1e-5, rtol=0)


def random_queries(tower: Any) -> RegionQueries:
    """Such as training may end with: heads that keep to the mask in different degrees."""
    queries = RegionQueries(tower, edge=2.0)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in queries.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.1)
    return queries


def depths_of(model: AlphaCLIP) -> list[int]:
    """One, two and all parts of a tower."""
    return [1, 2, find_tower(model.clip.visual, "random", 0).depth]


@torch.inference_mode()
def test_queries__of_everything_are_the_model(tower_case: tuple[AlphaCLIP, type]) -> None:
    model, _ = tower_case
    joined = picture_of(model).expand(2, -1, -1, -1) * torch.tensor([1.0, 0.5]).view(2, 1, 1, 1)
    expected = model.clip.encode_image(joined)
    maps = torch.ones(2, 3, 1, model.image_size, model.image_size)
    for depth in depths_of(model):
        tower = find_tower(model.clip.visual, "random", depth)
        assert len(tower.heads) == tower.depth == depth
        tokens = tower.trunk(joined)
        assert torch.equal(tower.whole(tokens), expected)
        found = RegionQueries(tower).attend(tower, tokens, maps)
        close = {"atol": 2e-5, "rtol": 1e-4}
        torch.testing.assert_close(found, expected[:, None].expand(-1, 3, -1), **close)


@torch.inference_mode()
def test_queries__of_a_hard_mask_in_one_part_are_mask_attention(
    tower_case: tuple[AlphaCLIP, type],
) -> None:
    model, _ = tower_case
    tower = find_tower(model.clip.visual, "random", 1)
    tokens = tower.trunk(picture_of(model))[0]
    maps = torch.zeros(2, 1, *tower.grid)
    maps[0, 0, 1:, 1:3] = maps[1, 0, 0, 0] = 1
    maps = torch.nn.functional.interpolate(maps, size=(model.image_size,) * 2)
    queries = RegionQueries(tower)
    queries.scale[0].fill_(1e4)
    expected = mask_attention(tower, tokens, maps)
    torch.testing.assert_close(
        queries.attend_one(tower, tokens, maps), expected, atol=1e-5, rtol=1e-4
    )


@torch.inference_mode()
def test_queries__of_several_blocks_see_neither_each_other_nor_less_of_the_picture(
    tower_case: tuple[AlphaCLIP, type],
) -> None:
    """The vector of a region is the same whatever regions and pictures are beside it."""
    model, _ = tower_case
    size = model.image_size
    joined = picture_of(model).expand(2, -1, -1, -1) * torch.tensor([1.0, 0.5]).view(2, 1, 1, 1)
    maps = torch.zeros(2, 3, 1, size, size)
    maps[:, 0, 0, : size // 2], maps[:, 1, 0, :, : size // 3] = 1, 0.5
    maps[:, 2, 0, size // 2, size // 2] = 1
    for depth in depths_of(model)[1:]:
        tower = find_tower(model.clip.visual, "random", depth)
        queries, tokens = random_queries(tower), tower.trunk(joined)
        found = queries.attend(tower, tokens, maps)
        assert torch.pdist(normalize(found, dim=-1)[0]).min() > 1e-3
        for picture in range(2):
            for region in range(3):
                one = tokens[picture : picture + 1], maps[picture : picture + 1, [region]]
                alone = queries.attend(tower, *one)[0, 0]
                close = {"atol": 2e-5, "rtol": 1e-3}
                torch.testing.assert_close(found[picture, region], alone, **close)


def test_queries__bias_by_hand(plain: AlphaCLIP) -> None:
    """Four patches in a row: covered, half covered, not, not."""
    queries = RegionQueries(find_tower(plain.clip.visual, "plain"))
    maps = torch.zeros(1, 1, 1, 4, 16)
    maps[..., :6] = 1
    logs = [0.0, np.log(0.5), np.log(1e-4), np.log(1e-4)]
    torch.testing.assert_close(queries(maps, (1, 4))[0][0, 0, 0], torch.tensor(logs).float())
    queries.edge.fill_(2.0)
    queries.scale[0].data.copy_(torch.tensor([1.0, 2.0]))
    by_edge = torch.tensor([0.0, -0.5, -1.0, -1.5])
    torch.testing.assert_close(
        queries(maps, (1, 4))[0][0, :, 0], torch.stack([by_edge, 2 * by_edge])
    )
    assert not queries(torch.zeros_like(maps), (1, 4))[0].any()


def test_encode_regions__a_cover_runs_once_for_each_square(
    plain: AlphaCLIP, trunk_runs: list[int]
) -> None:
    """Two far corners with regions in turn: two squares, whatever the batch."""
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    corners = [[0.01 * i + 0.7 * (i % 2), 0.02, 0.1, 0.1] for i in range(8)]
    regions = [Region.from_box(box) for box in corners]
    encoder = encoder_of(plain, "regions", View("cover", context=3.0))
    vectors = next(encoder.encode_many([(picture, regions)], batch_size=3))
    assert sum(trunk_runs) == 2
    near = encoder_of(plain, "regions", View("context", context=3.0))
    assert (vectors * near.encode_regions(picture, regions)).sum(1).min() > 0.5
