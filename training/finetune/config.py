"""Everything that decides what a fine-tuning run does, in one place."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from alphaclip.errors import AlphaClipError
from alphaclip.files import parse_json


class FinetuneError(AlphaClipError):
    """A fine-tuning run cannot start or go on as it was asked for."""


class ConfigError(FinetuneError):
    """A configuration's field is unknown, missing, of another type or out of range."""


RELEASED: Mapping[str, Any] = {
    "rate": 1e-6,
    "alpha_rate": 1e-4,
    "weight_decay": 1e-2,
    "warm_up": 800,
    "horizon": 5000,
    "label_smoothing": 0.1,
    "antialias": False,
    "precision": "fp16",
}
"""Numbers of the released training code where they are not the paper's.

The rates and the warm-up are its cluster script's; ``weight_decay`` is PyTorch's default, since
the code never passes the paper's on.
"""


def _at_least(least: float, default: Any) -> Any:
    return field(default=default, metadata={"least": least})


def _share(default: float) -> Any:
    return field(default=default, metadata={"least": 0, "most": 1})


@dataclass(frozen=True)
class FinetuneConfig:
    """A fine-tuning run; the defaults are the paper's recipe (arXiv 2312.03818, 3.2 and A.1).

    Attributes:
        model: a name that `alphaclip.create_model` takes: of the zoo, of an open_clip
            architecture, or the path of a configuration
        pairs: the folders of pairs to train on
        output: the folder for checkpoints, logs and curves
        pretrained: the base weights: an open_clip tag of the architecture, or a file
        checkpoint: weights with an alpha channel to start from
        evaluate: folders of held-out pairs
        image_size: side of the pictures that the model takes, in pixels; 0 is as it is. The
            places of its patches are interpolated, see `alphaclip.network.image_sizes`
        method: ``alpha``, the paper's: each region has a pass, its alpha map beside the picture; or
            ``regions``: all regions of a picture are seen in one pass by queries in the last
            blocks, see `alphaclip.network.region_queries`. A step then has ``batch_size``
            pictures, each with its regions, and a share ``whole_share`` of them with the caption
        region_blocks: the last parts of the tower that regions have queries in, an attention
            pool among them; 0 is all. Weights that have queries already keep theirs
        region_bias: whether how much each head keeps to the masks is ``learnt``, or ``fixed``
        region_edge: patches from a mask's edge over which attention falls by a factor of e; with
            0 all that is outside is equally far
        region_alpha: the alpha map is at the input as well, for a pass of each region
        region_count: regions that are taken of a picture at most, drawn anew each time
        region_teacher: weight of drawing a region's vector to the one that the model, as it was,
            has of it in a pass of its own: a square of 1.5 box sides, its alpha map beside it; 0
            is none
        region_negatives: whether the texts of a picture's other regions are wrong for a region
        seed: of the order, the samples' choices and new weights
        epochs: passes over the pairs; counts where ``steps`` is 0
        steps: optimiser steps; 0 follows ``epochs``
        batch_size: pairs in a step, over all processes
        micro_batch: pairs that a process encodes at a time; 0 encodes its whole share at once
        gradient: what ``micro_batch`` does to the loss. ``accumulate``: each micro-batch has its
            own negatives only (with those of the other processes), so the loss is another and
            easier one. ``cache``: all pairs of the step are negatives, for one more forward pass
            (GradCache, Gao et al. 2021, arXiv 2101.06983); the gradient is the whole batch's.
        rate: of all weights but the alpha convolution's, at its highest
        alpha_rate: of the alpha convolution, at its highest
        weight_decay: AdamW's, not on norms, biases and embeddings
        betas: AdamW's
        warm_up: steps in which the rates rise linearly; None is 200 (the released code's
            default), or a tenth of the steps where that is less
        schedule: ``cosine`` to zero, or ``constant``, after the warm-up
        horizon: the step where the cosine reaches zero; 0 is the last step
        clip_norm: gradients are scaled down to this length; 0 leaves them
        whole_share: r_s, the share of samples that are whole pictures with alpha all ones
        unfrozen_blocks: how many of the last transformer blocks are trained, with what comes
            after them; None is all of the image encoder, 0 the alpha convolution alone
        alpha_init: the alpha convolution starts as it is in the model, ``kept``: from zero (the
            paper) unless the weights had an alpha channel already; from ``zero`` whatever they
            had; or from ``random`` values, PyTorch's own for a convolution
        use_alpha: False fine-tunes the plain CLIP: the alpha convolution is zero and stays so
        lora_rank: trains adapters of this rank in place of the weights (through peft); 0 does not
        lora_scale: what an adapter's product is multiplied with
        negatives: texts of a pair that are wrong for it, further columns of image-to-text
        loss: ``infonce``, or ``sigmoid`` (SigLIP's, arXiv 2303.15343)
        label_smoothing: of ``infonce``, in [0, 1)
        reference: what the released code does where it departs from the paper: weight decay on
            all weights; other processes' features without gradient, so that with several
            processes text-to-image has none; equal texts are negatives of each other; the same
            order in each epoch. `from_dict` then takes `RELEASED` for numbers that are not given.
        precision: ``auto`` is bf16 or fp16 on a GPU and fp32 on the CPU
        activation_checkpointing: keeps less for the backward pass and computes it again
        compile: the image encoder through ``torch.compile``
        geometry: ``pad``, the whole picture padded to a square with black, as the paper's;
            ``context``, a square round the region, its side drawn from ``context``; of regions
            that are seen together, a square that several share, see
            `alphaclip.views.view.cover`
        context: least and greatest side of that square, in longer sides of the region
        context_share: share of region samples with that square where ``geometry`` is
            ``context``; the others are padded
        antialias: whether scaling down averages; the released code's does not
        box_share: share of region samples whose alpha map is the box round the region
        flip: mirrors half of the samples, left to right; wrong for texts with a left or right
        workers: processes that make batches; None is one for two processors, 0 makes them here
        checkpoint_every: steps
        evaluate_every: steps; 0 evaluates at the end only
        log_every: steps
        keep: which checkpoints stay: ``last``, ``best`` or both
    """

    model: str
    pairs: tuple[str, ...]
    output: str
    pretrained: str | None = None
    checkpoint: str | None = None
    evaluate: tuple[str, ...] = ()
    image_size: int = _at_least(0, 0)
    method: Literal["alpha", "regions"] = "alpha"
    region_blocks: int = _at_least(0, 3)
    region_bias: Literal["learnt", "fixed"] = "learnt"
    region_edge: float = _at_least(0, 0.0)
    region_alpha: bool = False
    region_count: int = _at_least(1, 16)
    region_teacher: float = _at_least(0, 0.0)
    region_negatives: bool = True
    seed: int = _at_least(0, 0)
    epochs: float = _at_least(0, 6.0)
    steps: int = _at_least(0, 0)
    batch_size: int = _at_least(2, 4096)
    micro_batch: int = _at_least(0, 0)
    gradient: Literal["accumulate", "cache"] = "accumulate"
    rate: float = _at_least(0, 2e-6)
    alpha_rate: float = _at_least(0, 2e-4)
    weight_decay: float = _at_least(0, 2e-2)
    betas: tuple[float, float] = (0.9, 0.999)
    warm_up: int | None = _at_least(0, None)
    schedule: Literal["cosine", "constant"] = "cosine"
    horizon: int = _at_least(0, 0)
    clip_norm: float = _at_least(0, 0.0)
    whole_share: float = _share(0.1)
    unfrozen_blocks: int | None = _at_least(0, None)
    alpha_init: Literal["kept", "zero", "random"] = "kept"
    use_alpha: bool = True
    lora_rank: int = _at_least(0, 0)
    lora_scale: float = _at_least(0, 1.0)
    negatives: int = _at_least(0, 0)
    loss: Literal["infonce", "sigmoid"] = "infonce"
    label_smoothing: float = 0.0
    reference: bool = False
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    activation_checkpointing: bool = False
    compile: bool = False
    geometry: Literal["pad", "context"] = "pad"
    context: tuple[float, float] = (1.1, 1.9)
    context_share: float = _share(1.0)
    antialias: bool = True
    box_share: float = _share(0.0)
    flip: bool = False
    workers: int | None = _at_least(0, None)
    checkpoint_every: int = _at_least(1, 500)
    evaluate_every: int = _at_least(0, 0)
    log_every: int = _at_least(1, 10)
    keep: tuple[str, ...] = ("last", "best")

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for one in fields(self):
            value = _typed(one.name, getattr(self, one.name), hints[one.name])
            object.__setattr__(self, one.name, value)
        for one in fields(self):
            value, limits = getattr(self, one.name), one.metadata
            if value is None or not limits:
                continue
            if "most" in limits and not limits["least"] <= value <= limits["most"]:
                raise ConfigError(f"{one.name} is {value}: a share is from 0 to 1")
            if value < limits["least"]:
                raise ConfigError(f"{one.name} is {value}: expected at least {limits['least']:g}")
        problem = next(self._problems(), None)
        if problem is not None:
            raise ConfigError(problem)

    def _problems(self) -> Iterator[str]:
        """What does not go together, and values without limits of their own."""
        if not self.model:
            yield "model is empty: name one that `alphaclip models` lists, or a path"
        if not self.output:
            yield "output is empty: name the folder for checkpoints and logs"
        if not self.pairs or "" in self.pairs:
            yield "pairs names no folder: give one at least"
        if self.steps == 0 and self.epochs == 0:
            yield "steps and epochs are both 0, so nothing would be trained: set one of them"
        if not 0 <= self.label_smoothing < 1:
            yield "label_smoothing has to be at least 0 and less than 1"
        if not all(0 <= beta < 1 for beta in self.betas):
            yield "betas have to be at least 0 and less than 1, both"
        if not 1 <= self.context[0] <= self.context[1] <= 100:
            yield "context has to be two sides from 1 to 100, the lesser first, such as [1.1, 1.9]"
        if not self.keep or not set(self.keep) <= {"last", "best"}:
            yield "keep has to be a list of 'last', 'best' or both"
        if self.loss == "sigmoid" and self.label_smoothing > 0:
            yield "label_smoothing is for loss 'infonce'; set it to 0 with 'sigmoid'"
        if self.loss == "sigmoid" and self.negatives > 0:
            yield "negatives are further columns of loss 'infonce'; set them to 0 with 'sigmoid'"
        if self.loss == "sigmoid" and self.reference:
            yield "reference is the released code, which has no loss 'sigmoid': set one of them off"
        if self.reference and self.gradient == "cache":
            yield "reference is the released code, which has no gradient 'cache': take 'accumulate'"
        if self.gradient == "cache" and self.micro_batch == 0:
            yield "gradient 'cache' needs a micro_batch: the pairs that fit into memory at once"
        if not self.use_alpha and self.unfrozen_blocks == 0:
            yield (
                "use_alpha is false and unfrozen_blocks 0, so nothing would be trained: change one"
            )
        if not self.use_alpha and self.alpha_init == "random":
            yield "use_alpha is false, so alpha_init cannot be 'random'"
        if self.method == "regions":
            yield from self._region_problems()
        if self.lora_rank > 0 and self.unfrozen_blocks is not None:
            yield (
                "lora_rank trains adapters in every block: leave unfrozen_blocks out, or set the "
                "rank to 0"
            )

    def _region_problems(self) -> Iterator[str]:
        for name in ("reference", "activation_checkpointing", "compile"):
            if getattr(self, name):
                yield f"{name} is for method 'alpha': leave it out with 'regions'"
        if self.region_alpha and not self.use_alpha:
            yield "region_alpha is true and use_alpha false: change one"

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "config") -> FinetuneConfig:
        """A configuration of named values; with ``reference``, `RELEASED` fills in.

        Args:
            content: fields by name; lists are taken for tuples
            source: where they come from, for messages

        Raises:
            ConfigError: a field is unknown, missing or wrong; names it
        """
        names = {field.name for field in fields(cls)}
        unknown = sorted(set(content) - names)
        missing = [name for name in ("model", "pairs", "output") if name not in content]
        if unknown:
            raise ConfigError(
                f"{source}: unknown field {', '.join(unknown)}; "
                f"known are {', '.join(sorted(names))}"
            )
        if missing:
            raise ConfigError(f"{source}: {', '.join(missing)} missing; each run has to state it")
        filled = RELEASED if content.get("reference") is True else {}
        try:
            return cls(**{**filled, **content})
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error

    @classmethod
    def read(cls, path: str | Path) -> FinetuneConfig:
        """Reads a configuration file, see `read_fields` and `from_dict`."""
        return cls.from_dict(read_fields(path), str(path))

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON holds them; `from_dict` gives the same configuration again."""
        content = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in content.items()}


def read_fields(path: str | Path) -> dict[str, Any]:
    """The fields that a configuration file states.

    Args:
        path: ``.json``, or ``.toml`` on Python 3.11 and later

    Raises:
        ConfigError: missing, unreadable, or of another kind
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a configuration: {error}") from error
    try:
        if path.suffix == ".json":
            content = parse_json(text, path)
        elif path.suffix != ".toml":
            raise ConfigError(f"{path}: a configuration is a .json or .toml file")
        elif sys.version_info < (3, 11):
            raise ConfigError(
                f"{path}: TOML needs Python 3.11 or later; write the same as JSON here"
            )
        else:
            import tomllib

            content = tomllib.loads(text)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{path}: not valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds a {type(content).__name__}, expected fields by name")
    return content


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
