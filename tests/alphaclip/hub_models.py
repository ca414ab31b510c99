"""Small models of transformers' real classes with random weights, on disk as transformers keeps
them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SMALL = {
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip
WORDS = [
    "<pad>", "<eos>", "<bos>", "<unk>", "a", "red", "dog", "cat", "house", "on", "the", "hill",
]  # fmt: skip
TEMPLATE = (
    "{% for m in messages %}<im_start> {{ m.role }} {% for c in m.content %}"
    "{% if c.type == 'text' %}{{ c.text }}{% else %}<image>{% endif %} {% endfor %}<im_end> "
    "{% endfor %}{% if add_generation_prompt %}<im_start> assistant{% endif %}"
)
TEXT = {
    "vocab_size": 32, "max_position_embeddings": 16, "eos_token_id": 1, "bos_token_id": 2,
    "pad_token_id": 0,
}  # fmt: skip
PATCHES = {"patch_size": 8, "image_size": 32}
EDGES = {"height": 32, "width": 32}


def save_tiny(kind: str, folder: Path) -> Path:
    """Writes a model of a type, with tokenizer and image processor, and returns its folder."""
    torch.manual_seed(0)
    model = _MODELS[kind]()
    # As initialised, some towers give all pictures nearly one vector.
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
        elif parameter.ndim == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.eval().save_pretrained(folder)
    _tokenizer(kind).save_pretrained(folder)
    _image_processor(kind).save_pretrained(folder)
    return folder


def save_owl(name: str, folder: Path) -> Path:
    """Writes a small detector, OWL-ViT or OWLv2, and returns its folder."""
    import transformers

    narrow = {**SMALL, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    kind = {"owlvit": "OwlViT", "owlv2": "Owlv2"}[name]
    words = ["!", "<|endoftext|>", "<|startoftext|>", "a</w>", "g</w>", *"adog"]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    text = {**narrow, "vocab_size": 20, "max_position_embeddings": 8, "eos_token_id": 1}
    text["bos_token_id"] = 2
    vision = {**narrow, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        text_config=text, vision_config=vision, projection_dim=16
    )
    model = getattr(transformers, f"{kind}ForObjectDetection")(config)
    model.save_pretrained(folder)
    tokenizer = transformers.CLIPTokenizer(vocabulary, [], model_max_length=8)
    images = getattr(transformers, f"{kind}ImageProcessor")(size={"height": 32, "width": 32})
    getattr(transformers, f"{kind}Processor")(images, tokenizer).save_pretrained(folder)
    return folder


def _tokenizer(kind: str) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<im_start>", "<im_end>", "<image>"]
    words = [*WORDS, *special, "system", "user", "assistant", "Represent", "input."]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if kind != "qwen3_vl":
        ends = [("<eos>", 1), ("<bos>", 2)]
        tokenizer.post_processor = processors.TemplateProcessing("<bos> $A <eos>", None, ends)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>",
        unk_token="<unk>", model_max_length=512 if kind == "qwen3_vl" else 16,
        additional_special_tokens=special,
    )  # fmt: skip
    made.model_input_names = ["input_ids"]
    if not kind.startswith("siglip"):
        made.model_input_names.append("attention_mask")
    if kind == "qwen3_vl":
        made.chat_template = TEMPLATE
    return made


def _image_processor(kind: str) -> Any:
    import transformers as t

    if kind == "siglip2":
        return t.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    if kind == "qwen3_vl":
        return t.Qwen2VLImageProcessor(
            patch_size=16, merge_size=2, size={"shortest_edge": 1024, "longest_edge": 1 << 20}
        )
    if kind in ("clip", "metaclip_2"):
        return t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=EDGES)
    return {"siglip": t.SiglipImageProcessor, "tipsv2": t.Tipsv2ImageProcessor}[kind](size=EDGES)


def _clip(kind: str) -> Any:
    import transformers as t

    text = {**SMALL, **TEXT}
    config = {"text_config": text, "vision_config": {**SMALL, **PATCHES}, "projection_dim": 24}
    return getattr(t, f"{kind}Model")(getattr(t, f"{kind}Config")(**config))


def _siglip() -> Any:
    import transformers as t

    config = {"text_config": {**SMALL, **TEXT}, "vision_config": {**SMALL, **PATCHES}}
    return t.SiglipModel(t.SiglipConfig(**config))


def _naflex() -> Any:
    import transformers as t

    vision = {**SMALL, "patch_size": 8, "num_patches": 16}
    return t.Siglip2Model(t.Siglip2Config(text_config={**SMALL, **TEXT}, vision_config=vision))


def _tipsv2() -> Any:
    import transformers as t

    vision = {k: v for k, v in SMALL.items() if k != "intermediate_size"}
    return t.Tipsv2Model(
        t.Tipsv2Config(text_config={**SMALL, **TEXT}, vision_config={**vision, **PATCHES})
    )


def _qwen() -> Any:
    import transformers as t

    text = {
        **SMALL, "vocab_size": 32, "num_key_value_heads": 2, "head_dim": 32,
        "rope_parameters": {
            "rope_type": "default", "mrope_section": [8, 4, 4], "rope_theta": 10_000.0,
        },
    }  # fmt: skip
    vision = {
        "hidden_size": 64, "intermediate_size": 64, "depth": 2, "num_heads": 2, "patch_size": 16,
        "out_hidden_size": 64, "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    config = t.Qwen3VLConfig(
        text_config=text, vision_config=vision, image_token_id=len(WORDS) + 2,
        vision_start_token_id=30, vision_end_token_id=31, video_token_id=29,
    )  # fmt: skip
    return t.Qwen3VLModel(config)


_MODELS = {
    "clip": lambda: _clip("CLIP"),
    "metaclip_2": lambda: _clip("MetaClip2"),
    "siglip": _siglip,
    "siglip2": _naflex,
    "tipsv2": _tipsv2,
    "qwen3_vl": _qwen,
}
KINDS = tuple(_MODELS)
