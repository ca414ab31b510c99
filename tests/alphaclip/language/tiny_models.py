"""Small random models of transformers' own classes, written to folders as the hub has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

KINDS = ("llava", "qwen2_5_vl", "smolvlm", "blip", "florence2", "kosmos-2")

TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 1024,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
LETTERS = 260
"""Tokens before those of a model's own marks."""
SIZE = {"height": 32, "width": 32}
LLAVA = (
    "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>\n"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %} ASSISTANT:"
)
QWEN = (
    "{% for m in messages %}<|im_start|>user\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{{ '<|im_start|>assistant\n' }}"
)
SMOL = (
    "{% for m in messages %}User:{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}Assistant:"
)


def write_model(kind: str, folder: Path) -> Path:
    """Writes a model of a kind, the same each time; returns the folder."""
    from transformers.models.smolvlm import processing_smolvlm

    # Which SmolVLM's processor wants for videos alone, and need not be here
    processing_smolvlm.num2words = processing_smolvlm.num2words or str
    torch.manual_seed(0)
    processor, model = globals()[f"_{kind.replace('-', '_')}"]()
    spread(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def spread(model: Any) -> None:
    """Larger weights than transformers begins with, so that what is seen decides what is said, and
    smaller ones for marks, so that letters are written."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    head = model.get_output_embeddings()
    if head is not None:  # BLIP's has no marks
        head.weight.data[LETTERS:] *= 0.3


def tokenizer(specials: list[str], around: tuple[str, str] | None = None, **named: Any) -> Any:
    """A tokenizer of bytes, with marks of its own in front of them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: number for number, text in enumerate([*marks, *letters])}
    inner = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    if around is not None:
        pairs = [(mark, vocabulary[mark]) for mark in around if mark]
        single = f"{around[0]} $A {around[1]}".strip()
        inner.post_processor = processors.TemplateProcessing(single, special_tokens=pairs)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        unk_token="<unk>", additional_special_tokens=specials, **named,
    )  # fmt: skip


def _ids() -> dict[str, int]:
    return {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}


def _llava() -> tuple[Any, Any]:
    return make_llava(VISION)


def make_llava(vision: dict[str, Any]) -> tuple[Any, Any]:
    """A LLaVA with an image encoder of these settings."""
    import transformers as t

    words = tokenizer(["<image>"], ("<s>", ""))
    text = t.LlamaConfig(vocab_size=len(words), **TEXT, **_ids())
    config = t.LlavaConfig(
        vision_config=t.CLIPVisionConfig(**{"hidden_act": "quick_gelu", **vision}),
        text_config=text,
        image_token_index=words.convert_tokens_to_ids("<image>"), image_seq_length=16,
    )  # fmt: skip
    images = t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE)
    processor = t.LlavaProcessor(
        images, words, patch_size=8, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=LLAVA,
    )  # fmt: skip
    return processor, t.LlavaForConditionalGeneration(config)


def _qwen2_5_vl() -> tuple[Any, Any]:
    import transformers as t

    marks = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    words = tokenizer([*marks, "<|im_start|>", "<|im_end|>"])
    number = words.convert_tokens_to_ids
    rope = {"type": "mrope", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = t.Qwen2_5_VLConfig(
        text_config={**TEXT, **_ids(), "vocab_size": len(words), "rope_parameters": rope},
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2,
            "patch_size": 14, "out_hidden_size": 32, "fullatt_block_indexes": [1],
            "window_size": 56,
        },
        image_token_id=number("<|image_pad|>"), video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )  # fmt: skip
    limits = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
    processor = t.Qwen2_5_VLProcessor(
        t.Qwen2VLImageProcessor(size=limits), words, t.Qwen2VLVideoProcessor(), chat_template=QWEN
    )
    return processor, t.Qwen2_5_VLForConditionalGeneration(config)


def _smolvlm() -> tuple[Any, Any]:
    import transformers as t

    marks = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    words = tokenizer(marks)
    text = t.LlamaConfig(vocab_size=len(words), **TEXT, **_ids())
    config = t.SmolVLMConfig(
        vision_config=VISION, text_config=text, scale_factor=2, pad_token_id=1,
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    images = t.SmolVLMImageProcessor(
        size={"longest_edge": 32}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    )
    processor = t.SmolVLMProcessor(
        images, words, t.SmolVLMVideoProcessor(), image_seq_len=4, chat_template=SMOL
    )
    return processor, t.SmolVLMForConditionalGeneration(config)


def _blip() -> tuple[Any, Any]:
    import transformers as t

    words = tokenizer([], ("<s>", "</s>"))
    config = t.BlipConfig(
        text_config={
            **TEXT, **_ids(), "sep_token_id": 2, "vocab_size": len(words),
            "encoder_hidden_size": 32,
        },
        vision_config=VISION, projection_dim=16,
    )  # fmt: skip
    processor = t.BlipProcessor(t.BlipImageProcessor(size=SIZE), words)
    return processor, t.BlipForConditionalGeneration(config)


def _florence2() -> tuple[Any, Any]:
    import transformers as t

    # Places have no tokens of their own here, so that prompts differ in length
    words = tokenizer([], ("<s>", "</s>"), extra_special_tokens={"image_token": "<image>"})
    text = t.BartConfig(
        vocab_size=len(words), d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=48,
        decoder_ffn_dim=48, max_position_embeddings=256, decoder_start_token_id=2,
        forced_bos_token_id=0, forced_eos_token_id=2, **_ids(),
    )  # fmt: skip
    vision = t.Florence2VisionConfig(
        depths=[1, 1, 1, 1], embed_dim=[8, 8, 8, 16], num_heads=[1, 1, 1, 2],
        num_groups=[1, 1, 1, 2], window_size=2, projection_dim=32, max_position_embeddings=20,
    )  # fmt: skip
    config = t.Florence2Config(
        text_config=text, vision_config=vision, image_token_id=words.image_token_id
    )
    images = t.CLIPImageProcessor(size=SIZE, crop_size=SIZE, do_center_crop=False)
    images.image_seq_length = 2
    return t.Florence2Processor(images, words), t.Florence2ForConditionalGeneration(config)


def _kosmos_2() -> tuple[Any, Any]:
    import transformers as t

    words = tokenizer([])
    processor = t.Kosmos2Processor(
        t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIZE), words
    )
    text = {
        "embed_dim": 32, "layers": 2, "ffn_dim": 48, "attention_heads": 2,
        "max_position_embeddings": 1024, "vocab_size": len(words), **_ids(),
    }  # fmt: skip
    config = t.Kosmos2Config(text_config=text, vision_config=VISION, latent_query_num=64)
    return processor, t.Kosmos2ForConditionalGeneration(config)
