"""A fine-tuning run from its configuration to its report; run again after a stop, it goes on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alphaclip.catalog.zoo import resolve
from alphaclip.errors import AlphaClipError
from alphaclip.network.factory import create_model
from alphaclip.network.fingerprint import fingerprint
from alphaclip.network.image_sizes import set_image_size
from alphaclip.network.model import AlphaCLIP
from alphaclip.training.finetune.batches import Drawn, PairBatches, sample_count, step_count
from alphaclip.training.finetune.checkpoints import Checkpoints, RunState
from alphaclip.training.finetune.config import FinetuneConfig, FinetuneError
from alphaclip.training.finetune.evaluating import Evaluate, HeldOut, Twin, evaluation_view
from alphaclip.training.finetune.logs import FinetuneReport, RunLogs, draw_curves
from alphaclip.training.finetune.loop import Figures, Pace, run_steps
from alphaclip.training.finetune.optimization.optimizer import make_optimizer
from alphaclip.training.finetune.optimization.precision import find_dtype
from alphaclip.training.finetune.optimization.schedule import check_schedule, rate_scale
from alphaclip.training.finetune.optimization.steps import NotFiniteError, TrainingStep
from alphaclip.training.finetune.optimization.trainable import prepare, start_regions, state_to_save
from alphaclip.training.finetune.processes import Ranks, StopRequest, joined_processes, only_run
from alphaclip.training.pairs.format.jobs import Progress
from alphaclip.training.pairs.format.reading import open_pairs

logger = logging.getLogger(__name__)

_DETAILS = 100
"""Lines of the report for pairs that were replaced: enough to see what is wrong with the set."""


def finetune(
    config: FinetuneConfig,
    model: AlphaCLIP | None = None,
    evaluate: Evaluate | None = None,
    best_by: str | None = None,
    progress: Progress | None = None,
) -> FinetuneReport:
    """Trains a model's image encoder on region-text pairs.

    The output folder gets ``last/`` and ``best/``, models that `alphaclip.load` takes; ``log.csv``
    and ``evaluation.csv``, the same for TensorBoard; ``curves.png`` and ``report.json`` at the end.
    Interrupted at any moment, the same call goes on from ``last/``; on the CPU the weights at the
    end are then the same bit for bit. Ctrl-C and SIGTERM stop the run after a step. Started by
    ``torchrun``, the processes share each batch.

    Args:
        config: everything that decides the weights
        model (None): to train, changed in place; None builds the configuration's
        evaluate (None): measures the model in training, in the first process; None measures on
            the configuration's held-out pairs, see
            `alphaclip.training.finetune.evaluating.HeldOut`
        best_by (None): the figure whose highest value picks ``best/``; None is the first one
        progress (None): called with steps done and steps in all

    Returns:
        what came of it; ``finished`` is False where it was stopped

    Raises:
        FinetuneError: it cannot start, go on or write as asked for, or the loss is not finite
        PairError: there are no pairs to read
    """
    with joined_processes() as (ranks, device), only_run(Path(config.output), ranks):
        run = _Run(config, ranks, device, model, evaluate, best_by)
        return run.run(progress)


class _Run:
    """A run in one of its processes.

    Of several processes the first alone measures, logs and saves; all read the same output folder.
    """

    def __init__(
        self,
        config: FinetuneConfig,
        ranks: Ranks,
        device: torch.device,
        model: AlphaCLIP | None,
        evaluate: Evaluate | None,
        best_by: str | None,
    ) -> None:
        self.config, self.ranks, self.device, self.best_by = config, ranks, device, best_by
        self.folder, self.is_first = Path(config.output), ranks.rank == 0
        self.pairs = open_pairs(*map(Path, config.pairs))
        self.count = sample_count(config, self.pairs)
        self.steps = step_count(config, self.count)
        check_schedule(self.steps, config)
        if model is None:
            model = create_model(config.model, config.checkpoint, config.pretrained)
        self.teacher = deepcopy(model) if config.region_teacher else None
        set_image_size(model, config.image_size or model.image_size)
        start_regions(model, config)
        self.evaluate, self.twin = evaluate, None
        if self.is_first and (evaluate is not None or config.evaluate):
            folders = [Path(folder) for folder in config.evaluate]
            self.evaluate = evaluate or HeldOut(folders, self.folder / "evaluation")
            dtype = find_dtype(config.precision, device)
            self.twin = Twin(model, config.output, evaluation_view(config), device, dtype)
        self.state = RunState(
            step=0,
            world=ranks.world,
            pairs=self.pairs.fingerprint,
            base=fingerprint(model, None),
            config=config.to_dict(),
        )
        self.checkpoints = Checkpoints(self.folder, model, _card(config))
        self.trainable = prepare(model, config, self.teacher).to(device)
        self.optimizer = make_optimizer(self.trainable.trained(), config)
        self.step = TrainingStep(self.trainable, self.optimizer, config, ranks)
        self.replaced: list[str] = []
        self.details: list[str] = []
        self.paced = Pace()

    def run(self, progress: Progress | None) -> FinetuneReport:
        first = self._resume()
        with closing(RunLogs(self.folder, first, writes=self.is_first)) as self.logs:
            if first == 0:
                self._measure(0, None)
            with StopRequest() as stop:
                pace = self._train(first, stop, progress)
        return self._report(first, pace)

    def _resume(self) -> int:
        """The step to go on from."""
        if self.is_first:
            self.checkpoints.settle()
        self.ranks.any(False, self.device)  # Nobody reads before that.
        checkpoint = self.checkpoints.read()
        if checkpoint is None:
            return 0
        state, training = checkpoint
        state.check_fits(self.state, self.checkpoints.last)
        self.step.load_state_dict(training)
        self.state = replace(state, config=self.state.config)
        if self.is_first:
            logger.info("%s: going on after step %d", self.checkpoints.last, state.step)
        return state.step

    def _train(self, first: int, stop: StopRequest, progress: Progress | None) -> Pace:
        if first == self.steps:
            return Pace()
        model, config = self.trainable.model.config, self.config
        size = self.trainable.image_size
        near = 0 if self.teacher is None else self.teacher.image_size

        def after(done: int) -> bool:
            """Measures and saves where it is time to."""
            stops = self.ranks.any(stop.requested, self.device)
            ends = done == self.steps
            if self.twin is not None and (ends or _is_due(done, config.evaluate_every)):
                self._measure(done, state_to_save(self.trainable))
            if ends or stops or _is_due(done, config.checkpoint_every):
                self._save(done)
            if progress is not None:
                progress(done, self.steps)
            return stops

        return run_steps(
            name="fine-tuning",
            steps=range(first, self.steps),
            batches=PairBatches(self.pairs, config, model, size, first, self.ranks, near),
            step=self._step,
            log=self._log,
            after=after,
            log_every=config.log_every,
            workers=config.workers,
            show=self.is_first,
        )

    def _step(self, index: int, drawn: Drawn) -> Figures:
        self.replaced += drawn.replaced
        try:
            return vars(self.step.run(drawn.batch, rate_scale(index, self.steps, self.config)))
        except NotFiniteError as error:
            path = self.folder / f"bad-batch-{self.ranks.rank}.safetensors"
            drawn.batch.save(path)
            raise FinetuneError(
                f"step {index}: {error}. The batch is kept in {path}. Other settings need another "
                f"output folder; model {str(self.checkpoints.last)!r} starts from the last "
                "checkpoint"
            ) from error

    def _log(self, index: int, figures: Figures, pace: Pace) -> Mapping[str, str]:
        recent, self.paced = pace.since(self.paced), replace(pace)
        row = {"step": index, "epoch": index * self.config.batch_size / self.count}
        row |= {name: float(value) for name, value in figures.items() if name != "samples"}
        rates = {group["name"]: group["lr"] for group in self.optimizer.param_groups}
        row |= {"rate": rates.get("weights", 0.0), "alpha_rate": rates.get("alpha", 0.0)}
        if recent.seconds > 0:
            row["samples_per_second"] = recent.steps * figures["samples"] / recent.seconds
            row["waiting"] = recent.waiting / recent.seconds
        row["seconds"] = pace.seconds
        # Six digits are what float32 sums are good for, and rows stay readable.
        self.logs.add_step({name: float(f"{value:.6g}") for name, value in row.items()})
        speed = f"{row.get('samples_per_second', 0.0):.1f}/s"
        return {"loss": f"{row['loss']:.3f}", "hit": f"{row['hit']:.2f}", "samples": speed}

    def _save(self, done: int) -> None:
        lines, self.replaced = self.ranks.gather_lines(self.replaced), []
        self.details = [*self.details, *lines][:_DETAILS]
        self.state = replace(self.state, step=done, replaced=self.state.replaced + len(lines))
        if self.is_first:
            weights = state_to_save(self.trainable)
            self.checkpoints.save_last(weights, self.step.state_dict(), self.state)

    def _measure(self, done: int, weights: Mapping[str, Tensor] | None) -> None:
        """Measures, and keeps the weights if they are the best so far; None is before training."""
        if self.evaluate is None or self.twin is None:
            return
        figures = self.evaluate(self.twin.encoder(weights))
        self.logs.add_evaluation({"step": done, **figures})
        name = self.best_by or next(iter(figures))
        if name not in figures:
            raise FinetuneError(f"best_by is {name!r}, but what is measured is {list(figures)}")
        best = self.state.best if self.state.best_by == name else None
        if weights is not None and not (best is not None and figures[name] <= best):
            self.state = replace(self.state, best=figures[name], best_step=done, best_by=name)
            if "best" in self.config.keep:
                self.checkpoints.save_best(weights, done)

    def _report(self, first: int, pace: Pace) -> FinetuneReport:
        measured = self.logs.evaluation.rows() if self.is_first else []
        figures = [{n: v for n, v in row.items() if n != "step"} for row in measured]
        report = FinetuneReport(
            output=self.folder,
            steps=self.steps,
            done=self.state.step,
            first=first,
            pairs=len(self.pairs),
            samples_per_second=pace.steps * self.config.batch_size / max(pace.seconds, 1e-9),
            waiting=pace.waiting / max(pace.seconds, 1e-9),
            before=figures[0] if figures else {},
            after=figures[-1] if figures else {},
            best=self.state.best,
            best_step=self.state.best_step,
            replaced=self.state.replaced,
            left_out=tuple(self.pairs.left_out),
            details=tuple(self.details),
        )
        if self.is_first:
            report.write()
            draw_curves(self.logs.steps, self.logs.evaluation, self.folder / "curves.png")
            if report.finished and "last" not in self.config.keep:
                self.checkpoints.drop_last()
        return report


def _is_due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


def _card(config: FinetuneConfig) -> dict[str, Any]:
    """What the checkpoints say of themselves, see `alphaclip.catalog.zoo`."""
    try:
        licence = resolve(config.model).licence
    except AlphaClipError:
        licence = "not stated"
    return {
        "name": Path(config.output).resolve().name,
        "licence": f"fine-tuned from {config.model}, whose licence is: {licence}",
        "default_view": evaluation_view(config).to_dict(),
        "recipe": config.to_dict(),
    }
