"""Checkpoints of a run: folders that are there whole or not at all, and that load as models."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from torch import Tensor

from alphaclip.errors import AlphaClipError
from alphaclip.files import (
    check_folder,
    flush_folder,
    read_json,
    write_atomically,
    write_checksums,
    write_text,
)
from alphaclip.network.model import AlphaCLIP
from alphaclip.training.finetune.config import FinetuneConfig, FinetuneError
from alphaclip.weights.architectures import UNNAMED
from alphaclip.weights.checkpoints import write_tensors
from alphaclip.weights.dual_encoders import SETTINGS

LAST, BEST = "last", "best"
TRAINING_FILE = "training.pt"
STATE_FILE = "state.json"

FREE = (
    "model",
    "pretrained",
    "checkpoint",
    "pairs",
    "output",
    "workers",
    "evaluate",
    "checkpoint_every",
    "evaluate_every",
    "log_every",
    "keep",
)
"""Fields of a configuration that a run may go on with others of.

They do not decide the weights, or what they name is compared by its content instead.
"""

_SELF_CHECKED = (".safetensors", ".pt")
"""What states its own checksums: safetensors in its metadata, PyTorch's zip for each member."""

_BESIDE = (
    "merges.txt*", "vocab.*", "tokenizer*", "special_tokens_map.json", "*.model", "chat_template*",
    "*processor_config.json",
)  # fmt: skip
"""Files of tokenizers, and of transformers' processors."""


@dataclass(frozen=True)
class RunState:
    """Where a run is.

    Attributes:
        step: steps done
        world: processes that share each batch
        pairs: fingerprint of the pairs
        base: fingerprint of the model before training
        config: every field
        best: highest value of the figure that picks the best checkpoint; None without one
        best_step: steps done when it was reached
        best_by: the name of that figure
        replaced: pairs that could not be read so far, and in whose place others were
    """

    step: int
    world: int
    pairs: str
    base: str
    config: Mapping[str, Any]
    best: float | None = None
    best_step: int = 0
    best_by: str = ""
    replaced: int = 0

    def check_fits(self, other: RunState, folder: Path) -> None:
        """Checks that a run may go on from this state.

        Args:
            other: of the run as it is asked for
            folder: of the checkpoint, for messages

        Raises:
            FinetuneError: what decides the weights differs; names both values
        """
        ours, theirs = other._identity(), self._identity()
        differences = [
            f"{what} {theirs[what][1]} there and {ours[what][1]} here"
            for what in ours
            if ours[what][0] != theirs[what][0]
        ]
        # A field that came later is as it was before there was a choice.
        before = {field.name: field.default for field in fields(FinetuneConfig)}
        for name in sorted({*self.config, *other.config} - {*FREE}):
            there, here = self.config.get(name, before.get(name)), other.config.get(name)
            if there != here:
                differences.append(f"{name} is {there!r} there and {here!r} here")
        if differences:
            raise FinetuneError(
                f"{folder} is a checkpoint of another run: {'; '.join(differences)}. Go on with "
                "what it was started with, or train into another output folder"
            )

    def _identity(self) -> dict[str, tuple[Any, str]]:
        """What has to agree beside the configuration, and how it is shown."""
        pairs, model = ", ".join(self.config.get("pairs", ())), self.config.get("model")
        return {
            "the number of processes is": (self.world, str(self.world)),
            "the pairs are": (self.pairs, f"{pairs} (fingerprint {self.pairs})"),
            "the model to start from is": (self.base, f"{model} (fingerprint {self.base})"),
        }


class Checkpoints:
    """The checkpoints of a run, ``last`` and ``best`` in its output folder.

    Each is a model's folder that `alphaclip.load` takes: weights of both towers, configuration,
    tokenizer files and card. ``last`` has the training's own state beside it. A new one is written
    beside its place, flushed to the disk, and only then put there.

    Args:
        folder: the run's output folder
        model: whose configuration and tokenizer files the checkpoints get
        card: what ``card.json`` says of the model, see `alphaclip.catalog.zoo`
    """

    def __init__(self, folder: Path, model: AlphaCLIP, card: Mapping[str, Any]) -> None:
        self.folder = folder
        self._model = model
        self._card = card
        self.last, self.best = folder / LAST, folder / BEST
        self._saved = "there is none yet"

    def settle(self) -> None:
        """Ends what a kill interrupted; for one process, before any of them reads."""
        for path in (self.last, self.best):
            settle_folder(path)

    def read(self) -> tuple[RunState, dict[str, Any]] | None:
        """State and training state of ``last``; None where no checkpoint is.

        Raises:
            FinetuneError: it is damaged
        """
        if not self.last.is_dir():
            return None
        try:
            check_folder(self.last)
            content = read_json(self.last / STATE_FILE)
            state = RunState(**{field.name: content[field.name] for field in fields(RunState)})
            training = read_training(self.last / TRAINING_FILE)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FinetuneError(
                f"{self.last} is damaged ({error}): train into another folder, or remove this one "
                "to begin again"
            ) from error
        self._saved = f"of step {state.step}"
        return state, training

    def save_last(
        self, weights: Mapping[str, Tensor], training: Mapping[str, Any], state: RunState
    ) -> None:
        """Puts the run's state in the place of the one before.

        Args:
            weights: of both towers, under open_clip's names
            training: what is needed to go on; tensors, numbers, texts, lists and dicts
            state: where the run is

        Raises:
            FinetuneError: it cannot be written, as on a full disk; the one before stays
        """

        def write(folder: Path) -> None:
            self._write_model(folder, weights, state.step)
            write_training(folder / TRAINING_FILE, training)
            write_json(folder / STATE_FILE, asdict(state))

        self._replace(self.last, write, state.step)
        self._saved = f"of step {state.step}"

    def save_best(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Puts a model in the place of the best one before; otherwise as `save_last`."""
        self._replace(self.best, lambda folder: self._write_model(folder, weights, step), step)

    def drop_last(self) -> None:
        """Removes ``last``, for runs that are over and keep only the best."""
        shutil.rmtree(self.last, ignore_errors=True)

    def _write_model(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        metadata = {"steps": str(step), "licence": str(self._card["licence"])}
        tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
        write_tensors(tensors, folder / "model.safetensors", metadata)
        write_json(folder / "card.json", {**self._card, "steps": step})
        write_configuration(self._model, folder)

    def _replace(self, path: Path, write: Callable[[Path], None], step: int) -> None:
        def write_noted(folder: Path) -> None:
            write(folder)
            names = [file.name for file in folder.iterdir() if file.suffix not in _SELF_CHECKED]
            write_checksums(folder, names)

        try:
            replace_folder(path, write_noted)
        except (OSError, RuntimeError, SafetensorError, AlphaClipError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            reason = getattr(cause, "strerror", None) or error
            raise FinetuneError(
                f"{path}: the checkpoint of step {step} cannot be written ({reason}); the one "
                f"before stays: {self._saved}. See to that, then run again to go on"
            ) from error


def write_training(path: Path, content: Mapping[str, Any]) -> None:
    """Writes tensors, numbers, texts, lists and dicts, whole or not at all.

    Raises:
        AlphaClipError: it cannot be written, as on a full disk
    """
    write_atomically(path, lambda stream: torch.save(dict(content), stream))


def read_training(path: Path) -> dict[str, Any]:
    """Reads what `write_training` wrote, on the CPU; no code in the file is run.

    Raises:
        FinetuneError: it is damaged
    """
    try:
        # PyTorch writes the checksum of each member of its zip, and does not look at it.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} has another checksum")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise FinetuneError(f"{path} is damaged ({error}): remove it to begin again") from error
    return content


def write_configuration(model: AlphaCLIP, folder: Path) -> None:
    """Writes a model's configuration, and the tokenizer files that lie beside its own.

    Args:
        model: the configuration of a dict or of open_clip's own becomes a file as well
        folder: exists
    """
    config, named = model.config.path, model.config.name
    name = f"{'model' if named == UNNAMED else named}.json" if config is None else config.name
    write_json(folder / name, model.config.settings.get(SETTINGS) or open_clip_content(model))
    copy_tokenizer(model, folder)


def copy_tokenizer(model: AlphaCLIP, folder: Path) -> None:
    """Copies what lies beside a model's own configuration into a folder, see `_BESIDE`."""
    config = model.config.path
    if config is not None:
        for source in (s for pattern in _BESIDE for s in sorted(config.parent.glob(pattern))):
            write_atomically(folder / source.name, partial(_copy, source))


def open_clip_content(model: AlphaCLIP) -> dict[str, Any]:
    """What open_clip's configuration of a model holds on the Hugging Face hub."""
    return {
        "model_cfg": dict(model.config.settings),
        "preprocess_cfg": {"mean": list(model.mean), "std": list(model.std)},
    }


def replace_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a folder beside its place, and puts it there once it is whole.

    A folder that is there already stays until then. Where a kill interrupts this,
    `settle_folder` tells what is whole.

    Args:
        path: of the folder; its parents are made if need be
        write: fills a new folder, by `alphaclip.files`; what it raises leaves all as it was
    """
    new, old = _beside(path)
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        write(new)
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        new.rename(path)
        flush_folder(path.parent)
    except Exception:
        shutil.rmtree(new, ignore_errors=True)
        settle_folder(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def settle_folder(path: Path) -> None:
    """Ends what interrupted `replace_folder`: one leaves its place only when another is whole."""
    new, old = _beside(path)
    if not path.exists() and old.exists():
        (new if new.exists() else old).rename(path)
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a small file whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}.new"), path.with_name(f"{path.name}.old")


def _copy(source: Path, stream: BinaryIO) -> None:
    with source.open("rb") as content:
        shutil.copyfileobj(content, stream)
