"""How likely texts are to follow a prompt: each prompt is read once, whatever may follow it.

What the prompts about a region share stays in the cache of keys and values, and each text goes on
from a copy of its region's. Nothing is padded in front of it, so positions and masks are those of
the prompt by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Continuation:
    """A text that may follow.

    Attributes:
        row: the number of what it follows in the batch
        ids: the tokens that come after what was read
        scored: how many of the last are the text's; those before are still the prompt's
    """

    row: int
    ids: list[int]
    scored: int


class Reading(Protocol):
    """A batch of prompts that a model has read."""

    def logits(self, rows: Tensor, ids: Tensor) -> Tensor:
        """What was expected in the place of each token, (m, w, vocabulary).

        Args:
            rows: int64 (m,), the prompt of each
            ids: int64 (m, w), the tokens that follow
        """


class DecoderReading:
    """The first tokens of prompts, read by a decoder.

    Args:
        model: of transformers
        inputs: of the prompts, padded at their ends
        length: how many tokens of each are read
    """

    def __init__(self, model: Any, inputs: Mapping[str, Any], length: int) -> None:
        shape = inputs["input_ids"].shape
        read = {k: v[:, :length] if v.shape == shape else v for k, v in inputs.items()}
        if "logits_to_keep" in signature(model.forward).parameters:
            read["logits_to_keep"] = 1
        outputs = model(**read, use_cache=True)
        self._cache, self._next = outputs.cache, outputs.logits[:, -1:]
        # Kosmos-2 as a whole would take the picture again
        self._decoder = getattr(model, "text_model", model)
        # Of Qwen and its kin: how far a picture moves the positions behind it
        self._owner = getattr(model, "model", None)
        self._deltas = getattr(self._owner, "rope_deltas", None)

    def logits(self, rows: Tensor, ids: Tensor) -> Tensor:
        """See :class:`Reading`."""
        import torch

        first = self._next[rows]
        if ids.shape[1] == 1:
            return first
        cache = copy.copy(self._cache)
        cache.layers = [copy.copy(layer) for layer in cache.layers]
        cache.batch_select_indices(rows)
        if self._owner is not None and self._deltas is not None:
            self._owner.rope_deltas = self._deltas[rows]
        rest = self._decoder(input_ids=ids[:, :-1], cache=cache, use_cache=True).logits
        return torch.cat([first, rest], dim=1)


class EncodedReading:
    """Prompts read by an encoder, for a decoder that looks at them.

    Args:
        model: of transformers
        inputs: of the prompts
    """

    def __init__(self, model: Any, inputs: Mapping[str, Any]) -> None:
        self._model = model
        self._mask = inputs["attention_mask"]
        self._start = model.config.get_text_config().decoder_start_token_id
        first = inputs["input_ids"][:, :1] * 0 + self._start
        self._encoded = model(**inputs, decoder_input_ids=first).encoder_last_hidden_state

    def logits(self, rows: Tensor, ids: Tensor) -> Tensor:
        """See :class:`Reading`."""
        from transformers.modeling_outputs import BaseModelOutput

        outputs = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded[rows]),
            attention_mask=self._mask[rows],
            decoder_input_ids=_behind(self._start, ids),
        )
        logits: Tensor = outputs.logits
        return logits


class BlipReading:
    """Pictures read by BLIP, to whose decoder a prompt is the beginning of its text.

    Args:
        model: of transformers
        inputs: of the pictures
    """

    def __init__(self, model: Any, inputs: Mapping[str, Any]) -> None:
        self._decoder = model.text_decoder
        self._start = model.config.text_config.bos_token_id
        self._encoded = model.vision_model(inputs["pixel_values"]).last_hidden_state

    def logits(self, rows: Tensor, ids: Tensor) -> Tensor:
        """See :class:`Reading`."""
        before, encoded = _behind(self._start, ids), self._encoded[rows]
        logits: Tensor = self._decoder(input_ids=before, encoder_hidden_states=encoded).logits
        return logits


def _behind(start: int, ids: Tensor) -> Tensor:
    """What a decoder has read when it is to write each of these tokens."""
    from torch.nn.functional import pad

    return pad(ids[:, :-1], (1, 0), value=start)


def log_likelihoods(
    reading: Reading, texts: Sequence[Continuation], device: Any, at_once: int
) -> np.ndarray:
    """The sum of the log-probabilities of each text's tokens: float32 (n,).

    Args:
        reading: of the prompts
        texts: what may follow them
        device: of the model
        at_once: texts in a pass
    """
    import torch

    sums: list[float] = []
    for start in range(0, len(texts), at_once):
        some = texts[start : start + at_once]
        width = max(len(text.ids) for text in some)
        # What stands behind a text's end is not seen by what stands before it
        ids = [text.ids + text.ids[-1:] * (width - len(text.ids)) for text in some]
        targets = torch.tensor(ids, device=device)
        rows = torch.tensor([text.row for text in some], device=device)
        expected = reading.logits(rows, targets).float().log_softmax(-1)
        every = expected.gather(-1, targets[..., None]).squeeze(-1).cpu()
        for text, row in zip(some, every, strict=True):
            end = len(text.ids)
            sums.append(row[end - text.scored : end].sum().item())
    return np.array(sums, np.float32)


def count_tail(expanded: Sequence[int], plain: Sequence[int], pictures: Collection[int]) -> int:
    """How many tokens at a prompt's end are those of its text alone.

    Args:
        expanded: the prompt's tokens as the processor gives them, with those of pictures
        plain: the same before pictures were put in
        pictures: the tokens that stand for pictures
    """
    count = 0
    for one, other in zip(reversed(expanded), reversed(plain), strict=False):
        if one != other or one in pictures:
            break
        count += 1
    return count


def count_shared(texts: Sequence[Sequence[int]]) -> int:
    """How many tokens at the beginning are the same in all."""
    shortest = min(map(len, texts))
    return next((n for n in range(shortest) if len({text[n] for text in texts}) > 1), shortest)
