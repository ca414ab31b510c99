"""Prompts with pictures as tensors that a model takes, and with answers, as a loss takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from alphaclip.language.dialects import Dialect
from alphaclip.language.shown import Shown
from alphaclip.language.tokens import Tokens

if TYPE_CHECKING:
    from torch import Tensor

Prompt = tuple[Shown, str]
"""What is shown of a region, and the text with it."""

_NOT_COUNTED = -100
"""The label of a token that a loss of transformers leaves out."""


class Inputs:
    """Makes batches, on the CPU.

    Args:
        processor: of transformers
        dialect: how the model is spoken to
        has_alpha: whether its image encoder takes the alpha map with the picture
        is_blip: whether a prompt is the beginning of a text that may be missing
    """

    def __init__(
        self, processor: Any, dialect: Dialect, has_alpha: bool, is_blip: bool = False
    ) -> None:
        self.tokens = Tokens(processor.tokenizer)
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self.dialect = dialect
        self._has_alpha = has_alpha
        self._is_blip = is_blip

    def of(self, prompts: Sequence[Prompt], side: str) -> Any:
        """A batch; ``side`` is where it is padded."""
        from PIL import Image

        self._tokenizer.padding_side = side
        images: list[Any] = [
            [Image.fromarray(picture) for picture in shown.pictures] for shown, _ in prompts
        ]
        if not self.dialect.nested:
            images = [one for several in images for one in several]
        texts = [text for _, text in prompts]
        options: dict[str, Any] = {"text": texts}
        if self._is_blip and not any(texts):
            options = {}
        elif (first := self._tokenizer.bos_token) and texts[0].startswith(first):
            options["add_special_tokens"] = False  # The chat template has written it
        inputs = self._processor(images=images, padding=True, return_tensors="pt", **options)
        if self._has_alpha:
            inputs["pixel_values"] = _with_alpha(inputs["pixel_values"], prompts)
        return inputs

    def with_answers(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> dict[str, Tensor]:
        """A batch to train a decoder on, in which the answers alone count.

        An answer has the tokens whose likelihood the model is asked for later, and the mark that
        ends a text.

        Args:
            prompts: of regions
            answers: what is to be said to each
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        inputs = self.of(prompts, "right")
        masks = inputs["attention_mask"].sum(1).tolist()
        heads = [ids[:n] for ids, n in zip(inputs["input_ids"].tolist(), masks, strict=True)]
        tails = [
            [*self.tokens.following(text, [answer])[0], self._tokenizer.eos_token_id]
            for (_, text), answer in zip(prompts, answers, strict=True)
        ]
        rows = [(head + tail, len(head)) for head, tail in zip(heads, tails, strict=True)]

        def padded(each: Iterable[list[int]], value: int) -> Tensor:
            return pad_sequence([torch.tensor(row) for row in each], True, value)

        return {
            "input_ids": padded((ids for ids, _ in rows), self._tokenizer.pad_token_id),
            "attention_mask": padded(([1] * len(ids) for ids, _ in rows), 0),
            "labels": padded(([_NOT_COUNTED] * n + ids[n:] for ids, n in rows), _NOT_COUNTED),
            "pixel_values": inputs["pixel_values"],
        }


def _with_alpha(pixels: Tensor, prompts: Sequence[Prompt]) -> Tensor:
    import torch

    from alphaclip.weights.alpha_channel import ALPHA_MEAN, ALPHA_STD, join_alpha

    maps = torch.stack([shown.alpha for shown, _ in prompts])
    return join_alpha(pixels, (maps.float() / 255 - ALPHA_MEAN) / ALPHA_STD)
