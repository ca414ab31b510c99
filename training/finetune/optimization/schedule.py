"""How far the rates are scaled down at a step: a linear warm-up, then half a cosine."""

from __future__ import annotations

from math import cos, pi

from alphaclip.training.finetune.config import ConfigError, FinetuneConfig

_USUAL_WARM_UP = 200


def rate_scale(step: int, steps: int, config: FinetuneConfig) -> float:
    """What the rates are multiplied with at a step.

    Args:
        step: from 0
        steps: of the run
        config: with ``warm_up``, ``schedule`` and ``horizon``

    Returns:
        in [0, 1]: ``(step + 1) / warm_up`` in the warm-up, 1 in the step after it, and 0 from
        the horizon on
    """
    warm_up = _warm_up(steps, config)
    if step < warm_up:
        return (step + 1) / warm_up
    if config.schedule == "constant":
        return 1.0
    horizon = config.horizon or steps
    done = (step - warm_up) / max(1, horizon - warm_up)
    return 0.5 * (1 + cos(pi * min(1.0, done)))


def check_schedule(steps: int, config: FinetuneConfig) -> None:
    """Checks that the schedule leaves something to train with.

    Raises:
        ConfigError: the warm-up, or the horizon, does not fit the number of steps
    """
    if config.schedule == "cosine" and 0 < config.horizon < steps:
        raise ConfigError(
            f"horizon is {config.horizon}, but the run has {steps} steps: from the horizon on the "
            "rates are zero; set it to 0, or the steps to at most as many"
        )
    if _warm_up(steps, config) >= steps:
        raise ConfigError(
            f"warm_up is {config.warm_up}, but the run has {steps} steps only: the rates would "
            "never get to where they should; leave it out, or set it to less"
        )


def _warm_up(steps: int, config: FinetuneConfig) -> int:
    return min(_USUAL_WARM_UP, steps // 10) if config.warm_up is None else config.warm_up
