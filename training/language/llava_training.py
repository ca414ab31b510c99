"""LLaVA's two stages with an Alpha-CLIP tower: first the projector, then the language model.

Source: Sun et al., "Alpha-CLIP", 2023 (arXiv 2312.03818), section 4.3, whose authors say of their
code: the projector is LLaVA's own, from the original CLIP; then Alpha-CLIP takes the tower's place,
tower and projector are frozen, and the language model is fine-tuned on regions' descriptions.
Rates, batches, warm-up and adapters are LLaVA 1.5's (Liu et al. 2023, arXiv 2310.03744).
"""

from __future__ import annotations

import json
import math
import os
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alphaclip.errors import AlphaClipError
from alphaclip.files import write_text
from alphaclip.language.dialects import choose_dialect, picture_size
from alphaclip.language.inputs import Inputs
from alphaclip.language.loading import load
from alphaclip.language.transformers_model import TransformersModel
from alphaclip.training.finetune.checkpoints import replace_folder, settle_folder
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.finetune.logs import REPORT, RunLogs
from alphaclip.training.finetune.processes import Ranks, StopRequest, only_run
from alphaclip.training.language.conversations import Conversations, count_units
from alphaclip.training.language.llava_config import FREE, LlavaConfig
from alphaclip.training.pairs.format.jobs import Progress, agree
from alphaclip.training.pairs.format.reading import PairSet, open_pairs

MODEL, PLAN = "model", "plan.json"
"""In the output folder: the trained model, and what the run was begun with."""


@dataclass(frozen=True)
class LlavaReport:
    """A run, after its last step or where it was stopped.

    Attributes:
        output: the run's folder
        stage: 1 or 2
        trained: what was, in words
        weights: how many of the model's weights, or of adapters to them, were trained
        steps: that it has in all
        done: steps that are done
        batch_size: conversations in a step
        units: pairs, or in stage 1 pictures, that it trains on
        losses: the first and the last that were logged, nats for each token of an answer
    """

    output: Path
    stage: int
    trained: str
    weights: int
    steps: int
    done: int
    batch_size: int
    units: int
    losses: tuple[float, float]

    @property
    def finished(self) -> bool:
        """Whether all steps are done, and the model is there."""
        return self.done == self.steps

    def write(self) -> None:
        """Writes ``report.json`` into the run's folder."""
        content = asdict(self) | {"output": str(self.output)}
        write_text(self.output / REPORT, json.dumps(content, indent=1) + "\n")

    def lines(self) -> list[str]:
        """What a person should know, a line each."""
        what = "pictures" if self.stage == 1 else "pairs"
        return [
            f"stage {self.stage}: trained {self.trained}, {self.weights:,} weights; all else is as "
            "it was",
            f"{self.done} of {self.steps} steps of {self.batch_size} on {self.units:,} {what}; "
            f"loss {self.losses[0]:.3f} at first, {self.losses[1]:.3f} at last",
        ]


def train_llava(config: LlavaConfig, progress: Progress | None = None) -> LlavaReport:
    """Trains one stage.

    The output folder gets ``model/``, which `alphaclip.language.load` takes, when all steps are
    done; ``log.csv``, the same for TensorBoard, and ``report.json``. Interrupted at any moment, the
    same call goes on from the last checkpoint that is whole; on the CPU the weights at the end are
    then the same bit for bit. Ctrl-C and SIGTERM stop the run after a step. Processes that
    ``torchrun`` started share each batch.

    Args:
        config: everything that decides the weights
        progress (None): called with steps done and steps in all

    Returns:
        what came of it; ``finished`` is False where it was stopped

    Raises:
        FinetuneError: it cannot start or go on as asked for, or the loss is not finite
        PairError: there are no pairs to read, or the folder holds another run
        AlphaClipError: the model cannot be loaded, or packages are missing
    """
    _require_packages()
    pairs = open_pairs(*map(Path, config.pairs))
    rank = int(os.environ.get("RANK", 0))
    with only_run(Path(config.output), Ranks(rank)):
        return _train(config, pairs, rank == 0, progress)


def _require_packages() -> None:
    try:
        import accelerate  # noqa: F401
        import peft  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise AlphaClipError(
            f"training a language model needs a package that is missing ({error}): run `pip "
            "install 'alphaclip-fiftyone[language]'`"
        ) from error


def _train(
    config: LlavaConfig, pairs: PairSet, is_first: bool, progress: Progress | None
) -> LlavaReport:
    from alphaclip.training.language import llava_trainer

    folder, units = Path(config.output), count_units(pairs, config.stage == 1)
    steps = config.steps or max(1, round(config.epochs * units / config.batch))
    arguments = llava_trainer.training_arguments(config, steps)
    described = _load(config, arguments.device)
    _agree(config, pairs, described, steps)
    dtype = described.model.dtype
    network, trained = _prepare(described.model, config)
    weights = sum(p.numel() for p in network.parameters() if p.requires_grad)
    conversations, inputs = _conversations(described, config, pairs, steps)
    last, done = llava_trainer.last_checkpoint(folder, is_first)
    with closing(RunLogs(folder, done, is_first)) as logs, StopRequest() as stop:
        trainer = llava_trainer.StageTrainer(
            network, arguments, conversations, inputs, logs, stop, progress
        )
        trainer.train(resume_from_checkpoint=last)
        losses = [row["loss"] for row in logs.steps.rows()] or [math.nan]
    report = LlavaReport(
        folder, config.stage, trained, weights, steps, trainer.state.global_step, config.batch,
        units, (losses[0], losses[-1]),
    )  # fmt: skip
    if is_first and report.finished:
        (network.merge_and_unload() if config.lora else network).to(dtype)
        settle_folder(folder / MODEL)
        replace_folder(folder / MODEL, described.save)
    if is_first:
        report.write()
    return report


def _agree(config: LlavaConfig, pairs: PairSet, described: TransformersModel, steps: int) -> None:
    """Keeps what the run is begun with, or compares it with what it was begun with."""
    stated = {name: value for name, value in asdict(config).items() if name not in FREE}
    content = {"pairs": pairs.fingerprint, "model": described.fingerprint, "steps": steps}
    agree(Path(config.output) / PLAN, {**stated, **content})


def _load(config: LlavaConfig, device: torch.device) -> TransformersModel:
    described = load(config.model, config.tower, device=device, precision=config.precision)
    if not isinstance(described, TransformersModel) or described.model.config.model_type != "llava":
        raise FinetuneError(
            f"{config.model} is no LLaVA 1.5, whose two stages these are: name one, such as "
            "llava-hf/llava-1.5-7b-hf"
        )
    if config.stage == 2 and described.sees != "alpha":
        raise FinetuneError(
            f"{config.model} has no alpha channel, without which it sees no region: name a "
            "checkpoint as the tower, such as alphaclip-vit-l14-336-grit20m"
        )
    return described


def _prepare(model: Any, config: LlavaConfig) -> tuple[Any, str]:
    """Freezes what is not trained, in place; the network to train, and what it trains in words."""
    model.requires_grad_(False)
    if config.stage == 1:
        return _thawed(model, model.model.multi_modal_projector), "the projector"
    speaker = model.model.language_model
    if config.lora is None:
        return _thawed(model, speaker, model.lm_head), "the language model"
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(config.seed)
    prefix = next(name for name, module in model.named_modules() if module is speaker)
    layers = [
        f"{prefix}.{name}" for name, one in speaker.named_modules() if isinstance(one, nn.Linear)
    ]
    adapters = LoraConfig(
        r=config.lora, lora_alpha=2 * config.lora, lora_dropout=0.05, target_modules=layers
    )
    return get_peft_model(model, adapters), f"adapters of rank {config.lora} on the language model"


def _thawed(model: Any, *parts: nn.Module) -> Any:
    for parameter in (p for part in parts for p in part.parameters()):
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return model


def _conversations(
    described: TransformersModel, config: LlavaConfig, pairs: PairSet, steps: int
) -> tuple[Conversations, Inputs]:
    processor = described.processor
    # The whole picture, also before the tower has its alpha channel
    dialect = choose_dialect(processor, described.model.config, None, has_alpha=True)
    inputs = Inputs(processor, dialect, described.sees == "alpha")
    conversations = Conversations(
        pairs, inputs, picture_size(processor), config.stage == 1, config.alpha, config.seed,
        steps * config.batch,
    )  # fmt: skip
    return conversations, inputs
