"""transformers' dual encoders in the shape of open_clip's: SigLIP and SigLIP 2 with NaFlex, CLIP,
MetaCLIP 2, TIPSv2 and Qwen3-VL-Embedding.

Their classes are transformers' own and are named here; no code from a model's repository is run.
Whatever a tower reads its pictures with becomes one convolution of three channels, beside which an
alpha channel can stand, see `alphaclip.weights.alpha_channel`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alphaclip.errors import AlphaClipError, CheckpointError, MissingWeightsError, brief
from alphaclip.files import LARGEST_CONFIG, read_json

SETTINGS = "transformers"
"""In a configuration's settings: what the model's ``config.json`` says."""

_CONFIG = "config.json"

TRIED = "5.24"
"""The version of transformers that all of them were tried with."""

NAFLEX, QWEN = "siglip2", "qwen3_vl"
CLASSES = {
    "clip": "CLIPModel",
    "metaclip_2": "MetaClip2Model",
    "siglip": "SiglipModel",
    NAFLEX: "Siglip2Model",
    "tipsv2": "Tipsv2Model",
    QWEN: "Qwen3VLModel",
}
"""Types of model, as their ``config.json`` calls them, to transformers' classes. The fixed sizes of
SigLIP 2 are of the first SigLIP's class."""

_NOTES = (
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "torch_dtype",
    "transformers_version",
)

INSTRUCTION = "Represent the user's input."
"""What Qwen3-VL-Embedding is told where nothing else is, as its makers have it."""

QWEN_SIDE, QWEN_TOKENS = 448, 512
"""Pixels and tokens of a region and a text; the model itself takes any number."""

_ENDING = 16
"""Tokens at the end of a prompt that stay where a text is cut: they close the template."""


def check_kind(folder: Path, name: str = "") -> str:
    """The type of model that a folder's ``config.json`` states.

    Args:
        folder: of the model
        name: of the model, for messages

    Raises:
        AlphaClipError: no model of that type can be used, or not with the transformers that is
            installed; says what to do
    """
    try:
        import transformers
    except ImportError as error:
        raise AlphaClipError(
            f"{name or folder} needs transformers ({error}): pip install 'transformers>={TRIED}'"
        ) from error
    content = read_json(folder / _CONFIG, LARGEST_CONFIG)
    kind = content.get("model_type") if isinstance(content, dict) else None
    if not isinstance(kind, str) or kind not in CLASSES:
        own = isinstance(content, dict) and content.get("auto_map")
        reason = "it needs code of its own, which is never run" if own else "that is not known here"
        raise AlphaClipError(
            f"{name or folder} is a model of the type {brief(kind)}: {reason}. Known are "
            f"{', '.join(CLASSES)}"
        )
    if not hasattr(transformers, CLASSES[kind]):
        raise AlphaClipError(
            f"{name or folder} is a model of the type {kind}, which transformers "
            f"{transformers.__version__} does not have: pip install 'transformers>={TRIED}'"
        )
    return kind


def describe(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a model of transformers' is built from, and how its own processor prepares pictures.

    Returns:
        settings, with ``embed_dim`` as open_clip's; and ``size``, ``mean``, ``std``, ``scaling``
        and ``patch``, see `alphaclip.views.view.View`

    Raises:
        AlphaClipError: it is of a type that is not known, or its files are not what they should be
    """
    kind = check_kind(folder)
    content = read_json(folder / _CONFIG, LARGEST_CONFIG)
    try:
        config = _config(content)
        preprocess = _preprocessing(folder, kind, config)
        part = config.text_config if kind == QWEN else config.vision_config
        dim = getattr(config, "projection_dim", None) or part.hidden_size
    except Exception as error:  # transformers has an error for each thing that may be wrong
        raise AlphaClipError(f"{folder}: not a model of the type {kind}: {_line(error)}") from error
    return {"embed_dim": int(dim), SETTINGS: _deciding(content)}, preprocess


def build(settings: Mapping[str, Any], folder: Path, size: int, pretrained: bool) -> DualEncoder:
    """Builds a dual encoder.

    Args:
        settings: from `describe`
        folder: of the model
        size: side of its pictures
        pretrained: whether it gets the weights that lie in the folder, under transformers' names;
            they are random otherwise

    Raises:
        CheckpointError: the weights do not fit, or are none
    """
    import transformers

    content = settings[SETTINGS]
    kind = str(content["model_type"])
    model_class: Any = getattr(transformers, CLASSES[kind])
    # Other implementations may be code of the hub's.
    options: dict[str, Any] = {"attn_implementation": "sdpa"}
    try:
        if not pretrained:
            model = model_class._from_config(_config(content), **options)
        else:
            model, loaded = model_class.from_pretrained(
                folder,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
            if wrong := [*loaded["missing_keys"], *loaded["mismatched_keys"]]:
                raise ValueError(f"missing or of another shape: {', '.join(map(str, wrong[:5]))}")
        model = model.float().eval()
        if kind == QWEN:
            prompt = _Prompts(folder).with_picture(model.config, size)
            return DualEncoder(model, QwenPictures(model, size, prompt), QwenTexts(model))
        pictures = NaFlexPictures if kind == NAFLEX else Pictures
        return DualEncoder(model, pictures(model, size), Texts(model))
    except Exception as error:
        raise CheckpointError(f"{folder}: cannot be built as {kind}: {_line(error)}") from error


class DualEncoder(nn.Module):
    """A model of transformers' with the parts that open_clip's have: an image and a text tower and
    a temperature. ``visual`` takes (N, 4, R, R), see `alphaclip.weights.alpha_channel`."""

    def __init__(self, model: Any, visual: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        if hasattr(model, "temperature"):
            scale = -model.temperature.detach().log()
        else:
            scale = getattr(model, "logit_scale", torch.tensor(math.log(1 / 0.07))).detach()
        self.logit_scale = nn.Parameter(scale.reshape(()).clone())
        bias = getattr(model, "logit_bias", None)
        self.logit_bias = None if bias is None else nn.Parameter(bias.detach().reshape(()).clone())

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """As open_clip's, never normalised."""
        encoded: Tensor = self.visual(image)
        return encoded

    def encode_text(self, tokens: Tensor, normalize: bool = False) -> Tensor:
        """As open_clip's, never normalised; of tokens from `build_tokenizer`."""
        encoded: Tensor = self.text(tokens)
        return encoded


class Pictures(nn.Module):
    """A vision transformer of transformers', with what projects its output.

    Attributes:
        tower: transformers' own module
        image_size: R, the side of the pictures
        grid: patches in a column and in a row
    """

    def __init__(self, model: Any, size: int) -> None:
        super().__init__()
        self.tower = model.vision_model
        self.projection = getattr(model, "visual_projection", None) or nn.Identity()
        self.image_size = size
        self.grid = (size // self.tower.config.patch_size,) * 2
        if hasattr(self.tower.embeddings, "patch_embeddings"):
            # TIPSv2 counts the channels; the alpha map is one more.
            self.tower.embeddings.patch_embeddings.num_channels = 4

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks of the transformer."""
        encoder = self.tower.encoder
        blocks: nn.ModuleList = encoder.layers if hasattr(encoder, "layers") else encoder.layer
        return blocks

    def inputs(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """What the tower is called with."""
        return (pictures,)

    def tokens(self, pictures: Tensor) -> Tensor:
        """Its last hidden states: (N, 4, R, R) to (N, L, W)."""
        tokens: Tensor = self.tower(*self.inputs(pictures)).last_hidden_state
        return tokens

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 4, R, R) to (N, dim)."""
        encoded: Tensor = self.projection(self.tower(*self.inputs(pictures)).pooler_output)
        return encoded

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """As open_clip's towers have it."""
        tower = self.tower
        (tower.gradient_checkpointing_enable if enable else tower.gradient_checkpointing_disable)()


class NaFlexPictures(Pictures):
    """SigLIP 2's NaFlex, whose patches reach it in a row, of pictures of any aspect."""

    def __init__(self, model: Any, size: int) -> None:
        super().__init__(model, size)
        linear, side = self.tower.embeddings.patch_embedding, self.tower.config.patch_size
        weight = linear.weight.detach().unflatten(1, (side, side, 3)).permute(0, 3, 1, 2)
        self.stem = _convolution(weight, linear.bias)
        self.tower.embeddings.patch_embedding = _Embedded()

    def inputs(self, pictures: Tensor) -> tuple[Tensor, ...]:
        field = self.stem(pictures)
        patches = field.flatten(2).mT
        shapes = torch.tensor([field.shape[2:]], device=field.device).expand(len(field), 2)
        return patches, patches.new_ones(patches.shape[:2], dtype=torch.int32), shapes


class Texts(nn.Module):
    """A text transformer of transformers', with what projects its output."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower = model.text_model
        self.projection = getattr(model, "text_projection", None) or nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """(M, L), below 0 where there is no token, to (M, dim)."""
        there = tokens >= 0
        # SigLIP's texts are padded with tokens that count, and have no mask.
        mask = None if bool(there.all()) else there.long()
        outputs = self.tower(input_ids=tokens.clamp(min=0), attention_mask=mask)
        encoded: Tensor = self.projection(outputs.pooler_output)
        return encoded


class QwenPictures(nn.Module):
    """Qwen3-VL-Embedding on pictures: the last hidden state of a prompt that holds one.

    The language model is a part of the text tower: it stays as it is while this one is trained.
    """

    prompt: Tensor

    def __init__(self, model: Any, size: int, prompt: Tensor) -> None:
        super().__init__()
        self._model = (model,)
        self.tower = model.visual
        self.image_size = size
        cells = size // self.tower.config.patch_size
        self.grid = (cells, cells)
        self.register_buffer("prompt", prompt, persistent=False)
        # A picture is a film of two frames that are alike.
        embed = self.tower.patch_embed.proj
        self.stem = _convolution(embed.weight.detach().sum(dim=2), embed.bias)
        self.tower.patch_embed = nn.Identity()

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 4, R, R) to (N, dim)."""
        (model,), side = self._model, self.tower.config.spatial_merge_size
        field = self.stem(pictures).unflatten(3, (-1, side)).unflatten(2, (-1, side))
        patches = field.permute(0, 2, 4, 3, 5, 1).flatten(0, -2)
        ids = self.prompt.expand(len(pictures), -1)
        outputs = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == model.config.image_token_id).int(),
            pixel_values=patches,
            image_grid_thw=torch.tensor([[1, *self.grid]], device=ids.device).expand(len(ids), 3),
            use_cache=False,
        )
        last: Tensor = outputs.last_hidden_state[:, -1]
        return last


class QwenTexts(nn.Module):
    """Qwen3-VL-Embedding on words."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = (model,)
        self.tower = model.language_model

    def forward(self, tokens: Tensor) -> Tensor:
        """(M, L), below 0 where there is no token, to (M, dim)."""
        tokens = tokens[:, (tokens >= 0).any(dim=0)]
        outputs = self._model[0](
            input_ids=tokens.clamp(min=0), attention_mask=(tokens >= 0).long(), use_cache=False
        )
        last: Tensor = outputs.last_hidden_state[:, -1]
        return last


def build_tokenizer(settings: Mapping[str, Any], folder: Path) -> HubTokenizer:
    """The tokenizer that lies in a model's folder.

    Raises:
        MissingWeightsError: there is none, or it would need code of its own
    """
    try:
        content = settings[SETTINGS]
        if content["model_type"] == QWEN:
            return _Prompts(folder)
        tokenizer = _auto("AutoTokenizer", folder)
        return HubTokenizer(tokenizer, int(_config(content).text_config.max_position_embeddings))
    except Exception as error:
        raise MissingWeightsError(
            f"{folder}: its tokenizer cannot be loaded ({_line(error)}): tokenizer.json and "
            "tokenizer_config.json have to lie in that folder"
        ) from error


class HubTokenizer:
    """A tokenizer of transformers', called as open_clip's: texts to int64 (n, context length), -1
    where its attention mask leaves a token out."""

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self._tokenizer = tokenizer
        self._length = min(context_length, tokenizer.model_max_length)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        content = self._tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self._length,
            return_tensors="pt",
        )
        ids: Tensor = content["input_ids"]
        mask = content.get("attention_mask")
        return ids if mask is None else ids.masked_fill(mask == 0, -1)

    def encode(self, text: str) -> list[int]:
        """A text's own tokens, however many."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


class _Prompts(HubTokenizer):
    """What Qwen3-VL-Embedding reads: texts and pictures in the template of a conversation. Texts
    are padded in front, since the last token has the vector."""

    def __init__(self, folder: Path) -> None:
        super().__init__(_auto("AutoTokenizer", folder), QWEN_TOKENS)
        self._template = _template(folder)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        rows = torch.full((len(texts), self._length), -1)
        for row, text in zip(rows, texts, strict=True):
            ids = self._ids({"type": "text", "text": text})
            if len(ids) > len(row):
                ids = ids[: len(row) - _ENDING] + ids[-_ENDING:]
            row[len(row) - len(ids) :] = torch.tensor(ids)
        return rows

    def with_picture(self, config: Any, size: int) -> Tensor:
        """The prompt that holds a picture of a size: int64 (1, L)."""
        cells = size // (config.vision_config.patch_size * config.vision_config.spatial_merge_size)
        ids: list[int] = []
        for number in self._ids({"type": "image"}):
            ids += [number] * (cells**2 if number == config.image_token_id else 1)
        return torch.tensor([ids])

    def _ids(self, content: dict[str, str]) -> list[int]:
        messages = [
            {"role": "system", "content": [{"type": "text", "text": INSTRUCTION}]},
            {"role": "user", "content": [content]},
        ]
        prompt = self._tokenizer.apply_chat_template(
            messages, self._template, add_generation_prompt=True, tokenize=False
        )
        return self.encode(prompt)


def _template(folder: Path) -> str | None:
    """Of conversations, where it does not lie with the tokenizer; None where it does."""
    path = folder / "chat_template.json"
    return str(read_json(path, LARGEST_CONFIG)["chat_template"]) if path.is_file() else None


class _Embedded(nn.Identity):
    """Stands where patches were embedded, and what is asked of that."""

    weight = torch.empty(0)


def _convolution(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    width, _, high, wide = weight.shape
    stem = nn.Conv2d(3, width, (high, wide), (high, wide), bias=bias is not None)
    stem.weight = nn.Parameter(weight.contiguous())
    if bias is not None:
        stem.bias = nn.Parameter(bias.detach().clone())
    return stem


def _preprocessing(folder: Path, kind: str, config: Any) -> dict[str, Any]:
    """What the model's own image processor does to a square picture, in our words."""
    processor = _auto("AutoImageProcessor", folder)
    if kind == QWEN:
        cell = config.vision_config.patch_size * config.vision_config.spatial_merge_size
        sides = [max(1, QWEN_SIDE // cell) * cell] * 2
    elif kind == NAFLEX:
        sides = [math.isqrt(processor.max_num_patches) * processor.patch_size] * 2
    else:
        cropped = getattr(processor, "do_center_crop", False)
        size = dict(processor.crop_size if cropped else processor.size)
        sides = [size["height"], size["width"]]
    if sides[0] != sides[1]:
        raise ValueError(f"it takes {sides[0]} x {sides[1]} pixels, not a square")
    # Ours are in [0, 1] before they are normalised.
    unit = 255 * (processor.rescale_factor if processor.do_rescale else 1)
    mean, std = processor.image_mean, processor.image_std
    if not processor.do_normalize:
        mean, std = (0.0,) * 3, (1.0,) * 3
    return {
        "size": int(sides[0]),
        "mean": [value / unit for value in mean],
        "std": [value / unit for value in std],
        "scaling": "bilinear" if int(processor.resample) == 2 else "bicubic",
        "patch": int(processor.patch_size) if kind == NAFLEX else 0,
    }


def _deciding(content: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what is another in each copy of the same model."""
    return {
        name: _deciding(value) if isinstance(value, dict) else value
        for name, value in content.items()
        if name not in _NOTES
    }


def _config(content: Mapping[str, Any]) -> Any:
    import transformers

    model_class: Any = getattr(transformers, CLASSES[str(content["model_type"])])
    return model_class.config_class.from_dict(dict(content))


def _auto(name: str, folder: Path) -> Any:
    import transformers

    loader: Any = getattr(transformers, name)
    return loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _line(error: Exception) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:300]
