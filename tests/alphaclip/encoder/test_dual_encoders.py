"""transformers' dual encoders against transformers' own outputs, on small random models of the real
classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

import alphaclip
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError, CheckpointError, MissingWeightsError
from alphaclip.regions.region import Region
from alphaclip.views.view import View
from alphaclip.weights.dual_encoders import CLASSES
from tests.alphaclip.hub_models import KINDS, save_tiny

TEXTS = ["a red dog", "the house on a hill " * 9, "cat"]
PICTURE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
SQUASHED = ("siglip", "tipsv2")
BOX = Region.from_box((0.25, 0.2, 0.25, 1 / 3))
"""30 x 30 pixels of the picture."""


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(request.param, tmp_path_factory.mktemp(request.param) / request.param)


@pytest.fixture(scope="module")
def tipsv2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("tipsv2", tmp_path_factory.mktemp("model"))


class Theirs:
    """What transformers makes of pictures and words, as its documentation does it."""

    def __init__(self, folder: Path) -> None:
        import transformers

        self.kind = json.loads((folder / "config.json").read_text())["model_type"]
        self.images = transformers.AutoImageProcessor.from_pretrained(folder)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model: Any = getattr(transformers, CLASSES[self.kind]).from_pretrained(folder).eval()

    @torch.inference_mode()
    def picture(self, picture: np.ndarray, side: int) -> np.ndarray:
        image = Image.fromarray(picture)
        if self.kind == "qwen3_vl":
            processor = self._qwen_processor()
            return self._prompted(processor, {"type": "image"}, [image.resize((side, side))])
        inputs = self.images(images=image, return_tensors="pt")
        return self._unit(self.model.get_image_features(**inputs).pooler_output)

    @torch.inference_mode()
    def text(self, text: str) -> np.ndarray:
        if self.kind == "qwen3_vl":
            return self._prompted(self._qwen_processor(), {"type": "text", "text": text}, None)
        inputs = self.tokenizer(
            [text], padding="max_length", truncation=True, max_length=16, return_tensors="pt"
        )
        return self._unit(self.model.get_text_features(**inputs).pooler_output)

    def _qwen_processor(self) -> Any:
        from transformers import Qwen3VLProcessor, Qwen3VLVideoProcessor

        self.tokenizer.image_token = "<image>"
        self.tokenizer.image_token_id = self.model.config.image_token_id
        self.tokenizer.video_token, self.tokenizer.video_token_id = "<video>", 29
        return Qwen3VLProcessor(
            self.images, self.tokenizer, Qwen3VLVideoProcessor(), self.tokenizer.chat_template
        )

    def _prompted(self, processor: Any, content: dict[str, str], images: Any) -> np.ndarray:
        system = {"type": "text", "text": "Represent the user's input."}
        messages = [
            {"role": "system", "content": [system]}, {"role": "user", "content": [content]},
        ]  # fmt: skip
        prompt = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        inputs = processor(text=[prompt], images=images, return_tensors="pt")
        return self._unit(self.model(**inputs).last_hidden_state[:, -1])

    @staticmethod
    def _unit(vectors: torch.Tensor) -> np.ndarray:
        return normalize(vectors, dim=-1)[0].numpy()


def exact(folder: Path, methods: str = "", view: View | None = None) -> Encoder:
    return alphaclip.load(f"{folder}{methods}", "cpu", "fp32", view)


def encode(encoder: Encoder, region: Region, picture: np.ndarray = PICTURE) -> np.ndarray:
    return encoder.encode_regions(picture, [region])[0]


def test_load__pictures_crops_and_words_are_transformers_own(folder: Path) -> None:
    theirs, encoder = Theirs(folder), exact(folder, "+crop")
    whole = Region.whole_image()
    side = encoder.image_size
    square = np.asarray(Image.fromarray(PICTURE).resize((side, side)))
    assert np.abs(encode(encoder, whole, square) - theirs.picture(square, side)).max() < 1e-5
    if theirs.kind in SQUASHED:
        view = View("squash", scaling=encoder.view.scaling)
        squashed = encode(exact(folder, "+whole", view), whole)
        assert np.abs(squashed - theirs.picture(PICTURE, side)).max() < 1e-5
    if theirs.kind != "qwen3_vl":  # which takes crops as they are, and ours at one size
        crop = theirs.picture(PICTURE[18:48, 30:60], side)
        assert np.abs(encode(encoder, BOX) - crop).max() < 1e-5
    for text, vector in zip(TEXTS, encoder.encode_text(TEXTS), strict=True):
        assert np.abs(vector - theirs.text(text)).max() < 1e-5
    different = (
        [encode(encoder, region) for region in (whole, BOX)],
        encoder.encode_text(TEXTS[::2]),
    )
    assert all(first @ second < 0.999 for first, second in different)


def test_native__regions_at_their_own_aspect_are_transformers_own(tmp_path: Path) -> None:
    folder = save_tiny("siglip2", tmp_path / "naflex")
    theirs, encoder = Theirs(folder), exact(folder, "+native")
    pixels = [(0, 0, 120, 90), (30, 18, 60, 48), (10, 20, 110, 40), (50, 0, 66, 90), (0, 5, 120, 8)]
    regions = [
        Region.from_box((x / 120, y / 90, (r - x) / 120, (b - y) / 90)) for x, y, r, b in pixels
    ]
    vectors = encoder.encode_regions(PICTURE, [*regions[:4], Region.whole_image()])
    for vector, (x, y, r, b) in zip(vectors, [*pixels[:4], pixels[0]], strict=True):
        assert np.abs(vector - theirs.picture(PICTURE[y:b, x:r], 0)).max() < 1e-5
    # What is flatter than 16 pixels keeps so much of its surroundings
    flat = encode(encoder, regions[4])
    around = np.pad(PICTURE[:14], ((2, 0), (0, 0), (0, 0)))
    assert np.abs(flat - theirs.picture(around, 0)).max() < 1e-5
    # Batches mix shapes, and the view comes back from what an index keeps of it
    again = alphaclip.load(f"{folder}+native", "cpu", "fp32", View(**encoder.view.to_dict()))
    assert again.fingerprint == encoder.fingerprint != exact(folder, "+crop").fingerprint
    mixed = [*again.encode_many([(PICTURE, regions), (PICTURE, regions[:2])], None, 3)]
    assert np.abs(np.concatenate(mixed) - [*vectors[:4], flat, *vectors[:2]]).max() < 1e-6


def test_native__is_for_naflex_and_takes_no_patches(folder: Path) -> None:
    with pytest.raises(AlphaClipError, match="own aspect"):
        exact(folder, "+native+maskpool")
    if folder.name != "siglip2":
        with pytest.raises(AlphaClipError, match="only SigLIP 2"):
            exact(folder, "+native")


def test_load__precisions_and_a_second_load_agree(folder: Path) -> None:
    encoder = exact(folder)
    assert encoder.fingerprint == exact(folder).fingerprint != exact(folder, "+crop").fingerprint
    vector = encode(encoder, BOX)
    for precision in ("bf16", "int8"):
        other = encode(alphaclip.load(str(folder), "cpu", precision), BOX)
        assert 0.98 < vector @ other < 1 - 1e-9


@pytest.mark.parametrize("method", ["maskpool", "maskattn", "roialign"])
def test_load__regions_of_the_patches(folder: Path, method: str) -> None:
    if folder.name == "qwen3_vl":
        with pytest.raises(AlphaClipError, match=r"no last attention.*\+crop"):
            exact(folder, f"+{method}")
        return
    encoder = exact(folder, f"+{method}")
    mask = np.zeros((90, 120), bool)
    mask[:, :60] = True
    left, right = Region.from_mask(mask), Region.from_mask(~mask)
    rows = encoder.encode_regions(PICTURE, [left, right, Region.whole_image()])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows[0] @ rows[1] < 1 - 1e-6
    # A whole picture has the vector that the model itself gives it
    assert np.allclose(rows[2], encode(exact(folder, "+whole"), Region.whole_image()), atol=1e-5)


def test_maskpool__tipsv2_means_its_own_patches(tipsv2: Path) -> None:
    picture = PICTURE[:32, :32]
    model = Theirs(tipsv2)
    inputs = model.images(images=Image.fromarray(picture), return_tensors="pt")
    with torch.inference_mode():
        patches = model.model.vision_model(**inputs).last_hidden_state[0, 2:]
    mask = np.zeros((32, 32), bool)
    mask[:, :16] = True  # two of four columns of patches
    inside = patches.unflatten(0, (4, 4))[:, :2].reshape(-1, 64).mean(dim=0)
    expected = normalize(inside, dim=-1).numpy()
    ours = encode(exact(tipsv2, "+maskpool"), Region.from_mask(mask), picture)
    assert np.abs(ours - expected).max() < 1e-5


def test_create_model__an_alpha_channel_changes_nothing_until_it_is_trained(folder: Path) -> None:
    model = alphaclip.create_model(str(folder))
    side = model.image_size
    image, alpha = torch.randn(2, 3, side, side), torch.randn(2, 1, side, side)
    with torch.inference_mode():
        plain = model.encode_image(image, torch.zeros_like(alpha))
        assert torch.equal(model.encode_image(image, alpha), plain)
        for name, parameter in model.clip.visual.named_parameters():
            if name.endswith("_alpha.weight"):
                parameter.normal_(std=0.1)
        assert not torch.allclose(model.encode_image(image, alpha), plain, atol=1e-4)


def change(folder: Path, **settings: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_load__what_cannot_be_used_is_refused_by_name(
    tipsv2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tipsv2, folder)
    with monkeypatch.context() as patch:
        patch.setitem(CLASSES, "tipsv2", "Tipsv3Model")
        with pytest.raises(
            AlphaClipError, match=r"tipsv2, which transformers .* does not have.*5\."
        ):
            exact(folder)
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')\nclass Own: pass\n"
    (folder / "modeling_own.py").write_text(code)
    change(folder, auto_map={"AutoModel": "modeling_own.Own", "AutoConfig": "modeling_own.Own"})
    exact(folder)  # of a class that is known: what it names is left alone
    change(folder, model_type="fgclip2")
    with pytest.raises(AlphaClipError, match="'fgclip2': it needs code of its own, which is never"):
        exact(folder)
    assert not ran.exists()
    change(folder, model_type="tipsv2", auto_map=None)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="merge the adapter"):
        exact(folder)
    (folder / "adapter_config.json").unlink()
    tensors = folder / "model.safetensors"
    tensors.rename(folder / "pytorch_model.bin")
    with pytest.raises(MissingWeightsError, match="no safetensors weights"):
        exact(folder)


def test_load__weights_that_do_not_fit(tipsv2: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tipsv2, folder)
    tensors = load_file(folder / "model.safetensors")
    missing = next(name for name in tensors if name.endswith("norm1.weight"))
    del tensors[missing]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing.*norm1\.weight"):
        exact(folder)


def test_load__weights_in_several_files(tipsv2: Path, tmp_path: Path) -> None:
    from transformers import Tipsv2Model

    shutil.copytree(tipsv2, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    Tipsv2Model.from_pretrained(tipsv2).save_pretrained(tmp_path / "model", max_shard_size="100KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    sharded = exact(tmp_path / "model")
    assert np.array_equal(encode(sharded, BOX), encode(exact(tipsv2), BOX))
    assert sharded.fingerprint == exact(tipsv2).fingerprint
