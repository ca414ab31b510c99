"""transformers' trainer for a stage of LLaVA: it keeps what is trained, and goes on from it."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from alphaclip.errors import AlphaClipError
from alphaclip.files import CHECKSUMS, check_folder, write_checksums
from alphaclip.language.inputs import Inputs
from alphaclip.training.finetune.config import FinetuneError
from alphaclip.training.finetune.logs import RunLogs
from alphaclip.training.finetune.optimization.precision import find_dtype
from alphaclip.training.finetune.processes import StopRequest
from alphaclip.training.language.conversations import Conversation, Conversations
from alphaclip.training.language.llava_config import LlavaConfig
from alphaclip.training.pairs.format.jobs import Progress
from alphaclip.weights.checkpoints import read_tensors, write_tensors

_TRAINED = "trained.safetensors"
"""In a checkpoint: the weights in training alone."""

_CHECKPOINT = "checkpoint-"
"""How transformers names the folder of one, before its step."""


def training_arguments(config: LlavaConfig, steps: int) -> TrainingArguments:
    """What transformers' trainer is told of a stage.

    Raises:
        FinetuneError: the processes cannot share a batch evenly, or the device cannot train in the
            precision
    """
    is_gpu = torch.cuda.is_available()
    dtype = find_dtype(config.precision, torch.device("cuda" if is_gpu else "cpu"))
    world = int(os.environ.get("WORLD_SIZE", 1))
    each = min(config.micro_batch, max(1, config.batch // world))
    if config.batch % (each * world):
        raise FinetuneError(
            f"batch_size is {config.batch}, which is no multiple of {world} process(es) times a "
            f"micro_batch of {each}: change one of them"
        )
    arguments = TrainingArguments(
        output_dir=config.output,
        max_steps=steps,
        per_device_train_batch_size=each,
        gradient_accumulation_steps=config.batch // (each * world),
        learning_rate=config.peak_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        seed=config.seed,
        bf16=dtype is torch.bfloat16,
        fp16=dtype is torch.float16,
        use_cpu=not is_gpu,
        activation_checkpointing=is_gpu,
        activation_checkpointing_kwargs={"use_reentrant": False},
        save_steps=config.checkpoint_every,
        # The one before stays until the last is known to be whole
        save_total_limit=2,
        logging_steps=config.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to="none",
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        dataloader_num_workers=config.workers,
        dataloader_pin_memory=is_gpu,
        label_names=["labels"],
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # Several by torchrun alone
    return arguments


def last_checkpoint(folder: Path, clears: bool) -> tuple[str | None, int]:
    """The last checkpoint of a run that is whole, and its step; None and 0 where there is none.

    Args:
        folder: of the run
        clears: whether what a kill left half-written is deleted
    """
    numbered = {
        int(path.name.removeprefix(_CHECKPOINT)): path
        for path in folder.glob(f"{_CHECKPOINT}*")
        if path.name.removeprefix(_CHECKPOINT).isdecimal()
    }
    whole = [step for step in sorted(numbered, reverse=True) if _is_whole(numbered[step])]
    for step in numbered.keys() - {*whole} if clears else ():
        shutil.rmtree(numbered[step], ignore_errors=True)
    return (str(numbered[whole[0]]), whole[0]) if whole else (None, 0)


def _is_whole(checkpoint: Path) -> bool:
    try:
        check_folder(checkpoint)
    except AlphaClipError:
        return False
    return (checkpoint / CHECKSUMS).is_file()


class StageTrainer(Trainer):
    """Trains what has gradients, and keeps no more than that.

    A whole model in each checkpoint would be ten times as large, and transformers would give its
    tensors names under which it does not find them again.

    Args:
        network: to train
        arguments: see `training_arguments`
        conversations: in the order in which they are trained on
        inputs: makes batches of them
        logs: of the run
        stop: of the run
        progress: called with steps done and steps in all
    """

    def __init__(
        self,
        network: Any,
        arguments: TrainingArguments,
        conversations: Conversations,
        inputs: Inputs,
        logs: RunLogs,
        stop: StopRequest,
        progress: Progress | None,
    ) -> None:
        self._network = network
        super().__init__(
            network,
            arguments,
            data_collator=Collator(inputs),
            train_dataset=conversations,
            callbacks=[_Following(logs, stop, progress)],
        )

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if output_dir is None or not self.args.should_save:
            return
        tensors = self._network.state_dict() if state_dict is None else state_dict
        trained = [name for name, p in self._network.named_parameters() if p.requires_grad]
        folder = Path(output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors({name: tensors[name] for name in trained}, folder / _TRAINED, {})

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        tensors = read_tensors(Path(resume_from_checkpoint) / _TRAINED)
        self._network.load_state_dict(tensors, strict=False)


class Collator:
    """Makes a batch of conversations, in whatever process."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def __call__(self, rows: Sequence[Conversation]) -> dict[str, Tensor]:
        prompts = [(row.shown, row.prompt) for row in rows]
        return self._inputs.with_answers(prompts, [row.answer for row in rows])


class _Following(TrainerCallback):
    """Logs, stops, and marks each checkpoint as whole, which is the last that is written of it."""

    def __init__(self, logs: RunLogs, stop: StopRequest, progress: Progress | None) -> None:
        self._logs, self._stop, self._progress = logs, stop, progress

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self._progress is not None:
            self._progress(state.global_step, state.max_steps)
        control.should_log |= state.global_step == state.max_steps
        if self._stop.requested:
            control.should_save = control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return
        step = state.global_step - 1
        if not math.isfinite(logs["loss"]):
            raise FinetuneError(
                f"step {step}: the loss is not finite. Take a lower rate or precision 'fp32', and "
                "another output folder"
            )
        names = {"loss": "loss", "learning_rate": "rate", "grad_norm": "gradient"}
        row = {own: float(f"{logs[name]:.6g}") for name, own in names.items() if name in logs}
        self._logs.add_step({"step": step, **row})

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if args.should_save:
            folder = Path(str(args.output_dir)) / f"{_CHECKPOINT}{state.global_step}"
            write_checksums(folder, [file.name for file in folder.iterdir() if file.is_file()])
