"""The captioner that ships: it describes regions by the vectors of an index, and their boxes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alphaclip.arguments import checked
from alphaclip.catalog.zoo import NANO
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import load
from alphaclip.errors import AlphaClipError, CheckpointError, brief
from alphaclip.files import parse_json
from alphaclip.language.batches import (
    NO_CAPTION,
    NOT_FINITE,
    Prepare,
    TaskT,
    run_batches,
    run_questions,
)
from alphaclip.language.captioner_network import (
    END,
    Cache,
    CaptionerConfig,
    CaptionerNetwork,
    pad_in_front,
    write,
)
from alphaclip.language.captioner_words import Words
from alphaclip.language.choices import Continuation, log_likelihoods
from alphaclip.language.describer import Answers, Caption, Describer, Item, clean
from alphaclip.language.questions import Question, fill, listed_questions
from alphaclip.language.region_vectors import RegionVectors, Sight, look
from alphaclip.language.tokens import told_apart
from alphaclip.views.prefetch import OnError
from alphaclip.weights.checkpoints import check_tensors, read_metadata, read_tensors, write_tensors

_CONFIG, _ENCODER, _LEARNT = "captioner", "encoder_fingerprint", "learnt"
"""In a file: its metadata's configuration and encoder, and the tensor of what words it has."""

_TEXTS = 256
"""That are scored in a pass."""

Prompted = tuple[Sight, tuple[int, ...]]
"""A region and the tokens of a prompt."""
Asked = tuple[Sight, tuple[tuple[int, ...], ...], tuple[tuple[str, ...], ...]]
"""A region, the tokens of each question about it, and the choices of each."""


class VectorCaptioner(Describer):
    """Describes regions by their vectors and boxes; made by :func:`alphaclip.language.load`.

    Where it is given pictures, it has their regions encoded by nano first.

    Args:
        network: on its device
        words: that it has learnt
        name: loads the same again
        encoder_fingerprint: `Encoder.text_fingerprint` of the encoder whose vectors it reads
        batch_size: regions at a time
    """

    sees = "vectors"

    def __init__(
        self,
        network: CaptionerNetwork,
        words: Words,
        name: str,
        encoder_fingerprint: str,
        batch_size: int = 256,
    ) -> None:
        self.name = name
        self._network = network.eval()
        self._words = words
        self._encoder_fingerprint = encoder_fingerprint
        self._batch_size = batch_size
        self._priors = lru_cache(maxsize=1024)(self._compute_priors)
        self._cut_choices = lru_cache(maxsize=1024)(self._cut)

    @cached_property
    def fingerprint(self) -> str:
        """Of weights, words and encoder."""
        content = hashlib.sha256(f"{self._encoder_fingerprint} {self._words.learnt}".encode())
        for name, tensor in sorted(self._network.state_dict().items()):
            content.update(f"{name} {tuple(tensor.shape)}".encode())
            content.update(tensor.half().cpu().numpy().tobytes())
        return content.hexdigest()[:32]

    def check_encoder(self, encoder: Encoder) -> None:
        """Checks that it reads the vectors of an encoder, such as an index's.

        Raises:
            AlphaClipError: it does not; says whose it reads
        """
        if encoder.text_fingerprint != self._encoder_fingerprint:
            raise AlphaClipError(
                f"{self.name} reads vectors of {NANO}, and these are of {encoder.name}: build an "
                f"index with {NANO}, or take a model that looks at the pictures"
            )

    @checked(max_tokens=(1, 1000))
    def describe_many(
        self,
        items: Iterable[Item],
        prompt: str | None = None,
        max_tokens: int = 40,
        on_error: OnError | None = None,
    ) -> Iterator[list[Caption]]:
        """See :meth:`Describer.describe_many`. Without a prompt it says how large a region is, of
        which colour, what and where; as a prompt it takes a question, ``what is it?``."""

        def prompted(sight: Sight, attributes: Mapping[str, Any]) -> Prompted:
            return sight, self._prompt(fill(prompt or "", attributes))

        def work(tasks: Sequence[Prompted]) -> list[Caption | AlphaClipError]:
            most = min(max_tokens, self._network.config.text)
            with torch.inference_mode():
                texts, logliks = write(self._network, *self._inputs(tasks), most)
            return list(map(self._caption, texts, logliks))

        vectors = self._vectors(items, on_error)
        return run_batches(
            vectors, _looking(prompted), work, self._batch_size, NO_CAPTION, vectors.on_error, _same
        )

    def ask_many(
        self,
        items: Iterable[Item],
        questions: Sequence[Question],
        on_error: OnError | None = None,
    ) -> Iterator[list[Answers]]:
        """See :meth:`Describer.ask_many`."""
        several = listed_questions(questions)
        for question in several:
            self._cut_choices(question.choices)

        def asked(sight: Sight, attributes: Mapping[str, Any]) -> Asked:
            filled = [fill(question.text, attributes) for question in several]
            prompts = tuple(map(self._prompt, filled))
            return sight, prompts, tuple(question.choices for question in several)

        def priors(task: Asked) -> list[np.ndarray]:
            return self._priors(*task[1:])

        vectors = self._vectors(items, on_error)
        return run_questions(
            vectors, several, _looking(asked), self._score, priors, self._batch_size,
            vectors.on_error, _same,
        )  # fmt: skip

    def _vectors(self, items: Iterable[Item], on_error: OnError | None) -> RegionVectors:
        return RegionVectors(
            items, lambda: self._encoder, self._network.config.dim, self.name, on_error
        )

    @cached_property
    def _encoder(self) -> Encoder:
        encoder = load(NANO, self._device, precision="fp32")
        self.check_encoder(encoder)
        return encoder

    @property
    def _device(self) -> torch.device:
        return self._network.positions.device

    def _prompt(self, text: str) -> tuple[int, ...]:
        ids, most = self._words.of(text), self._network.config.prompt
        if len(ids) > most:
            raise AlphaClipError(
                f"{brief(text)} has {len(ids)} tokens, {self.name} takes {most}: ask for less"
            )
        return ids

    def _cut(self, choices: tuple[str, ...]) -> list[list[int]]:
        """The tokens of choices, each with the end."""
        every = [[*ids, END] for ids in told_apart(choices, self._words.of)]
        longest, most = max(map(len, every)), self._network.config.text
        if longest > most:
            raise AlphaClipError(
                f"a choice of {brief(choices)} has {longest} tokens with its end, {self.name} "
                f"takes {most}: choose shorter ones"
            )
        return every

    def _caption(self, ids: list[int], loglik: float) -> Caption | AlphaClipError:
        text = clean(self._words.text(ids))
        if not np.isfinite(loglik):
            return AlphaClipError(NOT_FINITE)
        return Caption(text, loglik) if text else AlphaClipError("it wrote nothing: ask otherwise")

    def _score(self, tasks: Sequence[Asked]) -> list[list[np.ndarray]]:
        """Of each region and question the log-likelihoods of the choices."""
        every = [
            ((sight, prompt), self._cut_choices(choices))
            for sight, prompts, several in tasks
            for prompt, choices in zip(prompts, several, strict=True)
        ]
        texts = [
            Continuation(row, ids, len(ids)) for row, (_, cut) in enumerate(every) for ids in cut
        ]
        room = max(len(text.ids) for text in texts)
        with torch.inference_mode():
            inputs = self._inputs([prompted for prompted, _ in every])
            reading = _Reading(self._network, *self._network.read(*inputs, room))
            sums = log_likelihoods(reading, texts, self._device, _TEXTS)
        ends = np.cumsum([len(cut) for _, cut in every])
        each = iter(np.split(sums, ends[:-1]))
        return [[next(each) for _ in task[1]] for task in tasks]

    def _compute_priors(
        self, prompts: tuple[tuple[int, ...], ...], choices: tuple[tuple[str, ...], ...]
    ) -> list[np.ndarray]:
        nothing = Sight(np.zeros(self._network.config.dim, np.float32), (0.0,) * 4)
        (scores,) = self._score([(nothing, prompts, choices)])
        return scores

    def _inputs(self, several: Sequence[Prompted]) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors, boxes and prompts of a batch, on the device."""
        vectors = np.stack([sight.vector for sight, _ in several])
        boxes = torch.tensor([sight.box for sight, _ in several])
        prompts = pad_in_front([prompt for _, prompt in several])
        device = self._device
        return torch.from_numpy(vectors).to(device), boxes.to(device), prompts.to(device)


class _Reading:
    """See `alphaclip.language.choices.Reading`."""

    def __init__(self, network: CaptionerNetwork, cache: Cache, expected: Tensor) -> None:
        self._network, self._cache, self._expected = network, cache, expected

    def logits(self, rows: Tensor, ids: Tensor) -> Tensor:
        first = self._expected[rows]
        if ids.shape[1] == 1:
            return first
        rest = self._network.read_on(self._cache.of(rows), ids[:, :-1])
        return torch.cat([first, rest], dim=1)


def _looking(make: Callable[[Sight, Mapping[str, Any]], TaskT]) -> Prepare[TaskT]:
    """The tasks of items that `RegionVectors` gives."""
    return lambda _: lambda region, known: make(look(region, known[0]), known[1])


def _same(name: str) -> str:
    """In the place of opening a picture."""
    return name


def load_captioner(
    path: Path, name: str, device: torch.device, batch_size: int | None = None
) -> VectorCaptioner:
    """Reads a captioner.

    Args:
        path: of what `save_captioner` wrote
        name: of the captioner
        device: where it is to be
        batch_size (None): regions at a time

    Raises:
        CheckpointError: it is missing, damaged, or something else
    """
    tensors, metadata = read_tensors(path), read_metadata(path)
    try:
        config = CaptionerConfig(**parse_json(metadata[_CONFIG], path))
        fingerprint, learnt = metadata[_ENCODER], tensors.pop(_LEARNT).tolist()
    except (AlphaClipError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is no captioner: give a file that `alphaclip train-captioner` wrote"
        ) from error
    network = CaptionerNetwork(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_tensors(tensors, shapes, str(path), "captioner")
    network.load_state_dict(tensors)
    network.requires_grad_(False).to(device)
    return VectorCaptioner(network, Words(learnt, name), name, fingerprint, batch_size or 256)


def save_captioner(
    network: CaptionerNetwork, words: Words, encoder: Encoder, path: Path, licence: str
) -> None:
    """Writes a captioner as float16 safetensors.

    Args:
        network: trained
        words: that it has learnt
        encoder: whose vectors it reads
        path: of the file
        licence: of the weights
    """
    tensors = {name: t.half().contiguous() for name, t in network.state_dict().items()}
    metadata = {
        _CONFIG: json.dumps(asdict(network.config)),
        _ENCODER: encoder.text_fingerprint,
        "encoder": encoder.name,
        "licence": licence,
    }
    write_tensors({**tensors, _LEARNT: torch.tensor(words.learnt)}, path, metadata)
