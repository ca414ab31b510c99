"""Whether the values of a configuration are of the right type and range."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from alphaclip.training.finetune.errors import ConfigError

if TYPE_CHECKING:
    from alphaclip.training.finetune.config import FinetuneConfig

_AT_LEAST: Mapping[str, float] = {
    "seed": 0,
    "epochs": 0,
    "steps": 0,
    "batch_size": 2,
    "micro_batch": 0,
    "rate": 0,
    "alpha_rate": 0,
    "weight_decay": 0,
    "warm_up": 0,
    "horizon": 0,
    "clip_norm": 0,
    "unfrozen_blocks": 0,
    "lora_rank": 0,
    "lora_scale": 0,
    "negatives": 0,
    "workers": 0,
    "checkpoint_every": 1,
    "evaluate_every": 0,
    "log_every": 1,
}
_SHARES = ("whole_share", "context_share", "box_share")

_Rule = tuple[Callable[["FinetuneConfig"], bool], str]

_RULES: tuple[_Rule, ...] = (
    (lambda c: not c.model, "model is empty: name one that `alphaclip models` lists, or a path"),
    (lambda c: not c.output, "output is empty: name the folder for checkpoints and logs"),
    (lambda c: not c.pairs or "" in c.pairs, "pairs names no folder: give one at least"),
    (
        lambda c: c.steps == 0 and c.epochs == 0,
        "steps and epochs are both 0, so nothing would be trained: set one of them",
    ),
    (
        lambda c: not 0 <= c.label_smoothing < 1,
        "label_smoothing has to be at least 0 and less than 1",
    ),
    (
        lambda c: not all(0 <= beta < 1 for beta in c.betas),
        "betas have to be at least 0 and less than 1, both",
    ),
    (
        lambda c: not 1 <= c.context[0] <= c.context[1] <= 100,
        "context has to be two sides from 1 to 100, the lesser first, such as [1.1, 1.9]",
    ),
    (
        lambda c: not c.keep or not set(c.keep) <= {"last", "best"},
        "keep has to be a list of 'last', 'best' or both",
    ),
    (
        lambda c: c.loss == "sigmoid" and c.label_smoothing > 0,
        "label_smoothing is for loss 'infonce'; set it to 0 with 'sigmoid'",
    ),
    (
        lambda c: c.loss == "sigmoid" and c.negatives > 0,
        "negatives are further columns of loss 'infonce'; set them to 0 with 'sigmoid'",
    ),
    (
        lambda c: c.loss == "sigmoid" and c.reference,
        "reference is the released code, which has no loss 'sigmoid': set one of them off",
    ),
    (
        lambda c: c.reference and c.gradient == "cache",
        "reference is the released code, which has no gradient 'cache': take 'accumulate'",
    ),
    (
        lambda c: c.gradient == "cache" and c.micro_batch == 0,
        "gradient 'cache' needs a micro_batch: the pairs that fit into memory at once",
    ),
    (
        lambda c: not c.use_alpha and c.unfrozen_blocks == 0,
        "use_alpha is false and unfrozen_blocks 0, so nothing would be trained: change one",
    ),
    (
        lambda c: not c.use_alpha and c.alpha_init == "random",
        "use_alpha is false, so alpha_init cannot be 'random'",
    ),
    (
        lambda c: c.lora_rank > 0 and c.unfrozen_blocks is not None,
        "lora_rank trains adapters in every block: leave unfrozen_blocks out, or set the rank to 0",
    ),
)


def typed_fields(config: FinetuneConfig) -> dict[str, Any]:
    """The configuration's values, lists made tuples and whole numbers made floats where due.

    Raises:
        ConfigError: a value is of another type; names the field
    """
    hints = get_type_hints(type(config))
    names = [field.name for field in fields(config)]
    return {name: _typed(name, getattr(config, name), hints[name]) for name in names}


def check_rules(config: FinetuneConfig) -> None:
    """Checks that values are in range and fit each other.

    Raises:
        ConfigError: they do not; names the field and what is expected
    """
    for name, least in _AT_LEAST.items():
        value = getattr(config, name)
        if value is not None and value < least:
            raise ConfigError(f"{name} is {value}: expected at least {least:g}")
    for name in _SHARES:
        if not 0 <= getattr(config, name) <= 1:
            raise ConfigError(f"{name} is {getattr(config, name)}: a share is from 0 to 1")
    for is_wrong, message in _RULES:
        if is_wrong(config):
            raise ConfigError(message)


def _typed(name: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (kind for kind in get_args(hint) if kind is not NoneType)
        return None if value is None else _typed(name, value, hint)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            expected = ", ".join(map(repr, get_args(hint)))
            raise ConfigError(f"{name} is {value!r}: expected {expected}")
        return value
    if get_origin(hint) is tuple:
        return _typed_tuple(name, value, get_args(hint))
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        raise ConfigError(f"{name} is {value!r}: expected {_WORDS[hint]}")
    return value


def _typed_tuple(name: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{name} is {value!r}: expected a list")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise ConfigError(f"{name} has {len(value)} values: expected {len(kinds)}")
    return tuple(_typed(name, item, kind) for item, kind in zip(value, kinds, strict=True))


_WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
