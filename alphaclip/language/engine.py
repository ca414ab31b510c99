"""Prompts with pictures through a model of transformers: texts out, or how likely texts are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.language.batches import NOT_FINITE
from alphaclip.language.choices import (
    BlipReading,
    Continuation,
    DecoderReading,
    EncodedReading,
    Reading,
    count_shared,
    count_tail,
    log_likelihoods,
)
from alphaclip.language.describer import Caption, clean
from alphaclip.language.dialects import Dialect
from alphaclip.language.inputs import Inputs, Prompt
from alphaclip.language.shown import Shown

if TYPE_CHECKING:
    from torch import Tensor

_BOTH_WAYS = ("paligemma",)
"""Models that read a prompt forwards and backwards, so that no part of it is read by itself."""

_NEVER_PADDED = ("blip", "kosmos-2")
"""BLIP overwrites the first token of a prompt and drops the last; Kosmos-2 counts what is padded as
positions while it writes. So what is written together has prompts of one length."""

Batch = tuple[Reading, list[Continuation]]
"""What was read, and what may follow it, in order of region, prompt and choice."""


@dataclass(frozen=True)
class Scored:
    """Prompts about one region that differ in their text alone, and what may follow each."""

    shown: Shown
    prompts: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]

    def apart(self) -> list[Scored]:
        """One for each prompt."""
        pairs = zip(self.prompts, self.choices, strict=True)
        return [Scored(self.shown, (prompt,), (choices,)) for prompt, choices in pairs]


class Engine:
    """Runs a model of transformers.

    Args:
        processor: of transformers
        model: of transformers, on its device
        dialect: how it is spoken to
        has_alpha: whether its image encoder takes the alpha map with the picture
    """

    def __init__(self, processor: Any, model: Any, dialect: Dialect, has_alpha: bool) -> None:
        self._kind = model.config.model_type
        self._is_blip = self._kind == "blip"
        self._prepare = Inputs(processor, dialect, has_alpha, self._is_blip)
        self.tokens = self._prepare.tokens
        self._tokenizer = processor.tokenizer
        self._model = model
        self._dialect = dialect
        token = getattr(model.config, "image_token_id", None)
        self._pictures = () if token is None else (int(token),)

    def write(self, prompts: Sequence[Prompt], max_tokens: int) -> list[Caption | AlphaClipError]:
        """What the model writes, the likeliest token at a time."""
        lengths = {len(self.tokens.of(text)) for _, text in prompts}
        if self._kind in _NEVER_PADDED and len(lengths) > 1:
            return [caption for one in prompts for caption in self.write([one], max_tokens)]
        # A decoder goes on behind its prompt; an encoder counts positions from the first token
        encodes = self._model.config.is_encoder_decoder
        inputs, watch = self._inputs(prompts, "right" if encodes else "left"), _Watch()
        if "input_ids" in inputs and not encodes:
            self._check_length(inputs["input_ids"].shape[1] + max_tokens)
        options = {"max_new_tokens": max_tokens, "do_sample": False, "num_beams": 1}
        tokens = self._run(self._model.generate, **inputs, **options, logits_processor=[watch])
        new = tokens[:, -len(watch.best) :]
        texts = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        logliks = np.stack(watch.best, axis=1)
        rows = zip(texts, logliks, self._count_written(new), strict=True)
        return [self._caption(text, row[:count]) for text, row, count in rows]

    def score(self, rows: Sequence[Scored], at_once: int) -> list[list[np.ndarray]]:
        """The log-likelihood of each choice, the sum over its tokens.

        Args:
            rows: of regions
            at_once: texts in a pass

        Returns:
            for each row and prompt, float32 (c,)

        Raises:
            AlphaClipError: choices have the same tokens, or are too long for the model
        """
        alone = [one for row in rows for one in row.apart()]
        if self._is_blip:
            batches = [self._read_pictures(rows)]
        elif self._model.config.is_encoder_decoder:
            batches = [self._read_by_encoder(alone)]
        elif self._model.config.model_type in _BOTH_WAYS:
            batches = [self._read_beginnings([one]) for one in alone]
        else:
            batches = [self._read_beginnings(rows)]
        sums = [
            self._run(log_likelihoods, reading, texts, self._model.device, at_once)
            for reading, texts in batches
        ]
        ends = np.cumsum([len(one.choices[0]) for one in alone])
        each = iter(np.split(np.concatenate(sums), ends[:-1]))
        return [[next(each) for _ in row.prompts] for row in rows]

    def _read_beginnings(self, rows: Sequence[Scored]) -> Batch:
        """Reads what all prompts about a region begin with, as far as it goes for every region."""
        inputs = self._inputs([(row.shown, row.prompts[0]) for row in rows], "right")
        given = zip(inputs["input_ids"].tolist(), inputs["attention_mask"].tolist(), strict=True)
        prompts: list[list[list[int]]] = []
        heads = []
        for row, (ids, mask) in zip(rows, given, strict=True):
            first = self.tokens.of(row.prompts[0])
            tail = count_tail(ids[: sum(mask)], first, self._pictures)
            head, skipped = ids[: sum(mask) - tail], len(first) - tail
            prompts.append([[*head, *self.tokens.of(one)[skipped:]] for one in row.prompts])
            heads.append(len(head))
        length = min(map(count_shared, prompts))
        if length < max(heads):
            raise AlphaClipError(
                f"{self._kind} models cannot be asked: where a picture ends in their prompts is "
                "not known here; describe() may do"
            )
        texts = [
            Continuation(number, [*prompt, *ids][length:], len(ids))
            for number, (row, its) in enumerate(zip(rows, prompts, strict=True))
            for text, prompt, choices in zip(row.prompts, its, row.choices, strict=True)
            for ids in self.tokens.following(text, choices)
        ]
        self._check_length(length + max(len(text.ids) for text in texts))
        return self._run(DecoderReading, self._model, inputs, length), texts

    def _read_by_encoder(self, alone: Sequence[Scored]) -> Batch:
        inputs = self._inputs([(one.shown, one.prompts[0]) for one in alone], "right")
        texts = [
            Continuation(number, ids, self.tokens.count_words(ids))
            for number, one in enumerate(alone)
            for ids in self.tokens.decoded(one.choices[0])
        ]
        return self._run(EncodedReading, self._model, inputs), texts

    def _read_pictures(self, rows: Sequence[Scored]) -> Batch:
        inputs = self._inputs([(row.shown, "") for row in rows], "right")
        texts = [
            Continuation(number, [*self.tokens.of(prompt), *ids], len(ids))
            for number, row in enumerate(rows)
            for prompt, choices in zip(row.prompts, row.choices, strict=True)
            for ids in self.tokens.following(prompt, choices)
        ]
        self._check_length(max(len(text.ids) for text in texts))
        return self._run(BlipReading, self._model, inputs), texts

    def _inputs(self, prompts: Sequence[Prompt], side: str) -> Any:
        """What the model takes of a batch, on its device; ``side`` is where it is padded."""
        inputs = self._run(self._prepare.of, prompts, side)
        return inputs.to(self._model.device, dtype=self._model.dtype)

    def _check_length(self, length: int) -> None:
        most = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if most and length > most:
            raise AlphaClipError(
                f"prompt and answer have {length} tokens, the model takes {most}: the rest would "
                "be cut; ask for less, or show a crop alone"
            )

    def _count_written(self, tokens: Tensor) -> list[int]:
        """How many tokens of each row are the text's, with the one that ends it."""
        stated = self._model.generation_config.eos_token_id
        ends = set(stated if isinstance(stated, list) else [stated])
        ends |= {self._tokenizer.eos_token_id, self._tokenizer.pad_token_id}
        ends |= {self._tokenizer.sep_token_id}
        return [
            next((at + 1 for at, token in enumerate(row) if token in ends), len(row))
            for row in tokens.tolist()
        ]

    def _caption(self, text: str, logliks: np.ndarray) -> Caption | AlphaClipError:
        if not np.isfinite(logliks).all():
            return AlphaClipError(NOT_FINITE)
        cleaned = clean(self._dialect.reads(text))
        if not cleaned:
            return AlphaClipError("the model wrote nothing: give it another prompt")
        return Caption(cleaned, float(logliks.mean()))

    def _run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls what is transformers' own, whose kinds of models fail in ways of their own."""
        import torch

        try:
            with torch.inference_mode():
                return function(*args, **kwargs)
        except (torch.OutOfMemoryError, MemoryError, AlphaClipError):
            raise
        except Exception as error:
            raise AlphaClipError(
                f"{self._kind} models cannot be used like this: {type(error).__name__}: "
                f"{error!s:.300}"
            ) from error


class _Watch:
    """Looks on while a model writes: the log-probability of each token that it chooses."""

    def __init__(self) -> None:
        self.best: list[np.ndarray] = []

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        self.best.append(scores.float().log_softmax(-1).amax(-1).cpu().numpy())
        return scores
