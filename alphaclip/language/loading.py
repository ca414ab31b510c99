"""From the name of a language model to one that is ready to use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alphaclip.arguments import COUNT, checked
from alphaclip.catalog.released import models_folder
from alphaclip.catalog.zoo import NANO_FOLDER
from alphaclip.devices import find_device
from alphaclip.errors import AlphaClipError
from alphaclip.language.alpha_tower import (
    ALPHA_FILE,
    ALPHA_KEY,
    check_fits,
    read_saved_alpha,
    read_tower,
    restore_alpha,
    swap_tower,
)
from alphaclip.language.describer import Describer
from alphaclip.language.dialects import Way, choose_dialect
from alphaclip.language.transformers_model import TransformersModel

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]

logger = logging.getLogger(__name__)

NANO_CAPTIONER = "alphaclip-nano-captioner"
VARIABLE = "ALPHACLIP_LANGUAGE_MODEL"
"""In the environment: the model that ``auto`` takes."""

_OWN_CODE = {"trust_remote_code": False}
"""Where nothing is said, transformers asks in the terminal whether to run a model's code."""


@checked(precision=Precision, batch_size=COUNT)
def load(
    name: str | Path = "auto",
    alpha: str | Path | None = None,
    shown: Way | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "auto",
    batch_size: int | None = None,
) -> Describer:
    """Loads a language model that is shown regions.

    Args:
        name: ``auto``, see :func:`find_auto`; ``alphaclip-nano-captioner``, which ships and reads
            vectors of ``alphaclip-nano``, or a file that ``alphaclip train-captioner`` wrote; else
            of an image-text-to-text model on the Hugging Face Hub, downloaded if need be, such as
            ``Qwen/Qwen2.5-VL-3B-Instruct``; or a folder. Its weights have to be safetensors, and no
            code of its own is run.
        alpha (None): for LLaVA 1.5: a checkpoint with an alpha channel, whose image encoder takes
            the place of LLaVA's; its projector and language model stay
        shown (None): how a region is shown: ``crop``, with what is near; ``outline``, in the whole
            picture, with a red ellipse round it; ``two``, both pictures; ``coordinates``, the whole
            picture and the box in words, which Qwen, Florence-2 and Kosmos-2 read. None takes what
            suits the model.
        device (None): a torch device; None takes a GPU if there is one
        precision: ``auto`` is bf16 or fp16 on a GPU and fp32 on the CPU
        batch_size (None): regions at a time; None takes 8, fewer where the memory does not do;
            256 where it reads vectors

    Raises:
        AlphaClipError: it cannot be had, is of another kind, or cannot be shown regions this way
        ModelNotFoundError, MissingWeightsError: there is no such checkpoint, or it is not installed
        CheckpointError: the checkpoint is not for this model, or a part of a saved one is missing
    """
    chosen = find_device(device)
    if name == "auto":
        name = find_auto()
    if name == NANO_CAPTIONER or str(name).endswith(".safetensors"):
        if alpha is not None or shown is not None:
            raise AlphaClipError(
                f"{name} reads vectors: leave alpha and shown out, which are for models that look "
                "at pictures"
            )
        return _load_captioner(str(name), chosen, batch_size)
    tower = None if alpha is None else read_tower(str(alpha))
    processor, config = _describe(str(name))
    saved = None
    if tower is not None:
        check_fits(config, tower, str(name))
    elif hasattr(config, ALPHA_KEY):
        saved = read_saved_alpha(Path(name))
    has_alpha = tower is not None or saved is not None
    dialect = choose_dialect(processor, config, shown, has_alpha)
    model = _load_weights(str(name), _dtype(precision, chosen))
    if tower is not None:
        swap_tower(model, tower)
    elif saved is not None:
        restore_alpha(model, saved)
    called = str(name) if tower is None else f"{name} with {tower.name}"
    return TransformersModel(processor, model.to(chosen).eval(), called, dialect, batch_size or 8)


def open_describer(
    model: str | Path | Describer, device: str | torch.device | None = None
) -> Describer:
    """A language model by its name, see :func:`load`; one that is loaded already as it is.

    Raises:
        AlphaClipError: it is neither, or cannot be had
    """
    if isinstance(model, Describer):
        return model
    if not isinstance(model, str | Path):
        raise AlphaClipError(
            f"model is {model!r:.80}: expected the name of a language model, or what "
            "alphaclip.language.load(name) gives"
        )
    return load(model, device=device)


def find_auto() -> str:
    """The language model that is here, without a download: what ``ALPHACLIP_LANGUAGE_MODEL``
    names, else a LLaVA with an Alpha-CLIP tower that was saved into the models folder, else
    ``alphaclip-nano-captioner``."""
    saved = sorted(file.parent for file in models_folder().glob(f"*/{ALPHA_FILE}"))
    return os.environ.get(VARIABLE) or (str(saved[0]) if saved else NANO_CAPTIONER)


def _load_captioner(name: str, device: torch.device, batch_size: int | None) -> Describer:
    from alphaclip.language.vector_captioner import load_captioner

    if name != NANO_CAPTIONER:
        return load_captioner(Path(name).expanduser(), name, device, batch_size)
    logger.warning(
        "%s knows drawings, not photographs: it shows how everything works; for your own pictures "
        "name a larger model, such as Qwen/Qwen2.5-VL-3B-Instruct, here or in %s",
        name,
        VARIABLE,
    )
    return load_captioner(
        NANO_FOLDER / "captioner" / "captioner.safetensors", name, device, batch_size
    )


def _describe(name: str) -> tuple[Any, Any]:
    """The processor and the configuration of a model; none of its weights is read."""
    with _failing(name):
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        config: Any = AutoConfig.from_pretrained(name, **_OWN_CODE)
        if type(config) not in AutoModelForImageTextToText._model_mapping:
            stated = ", ".join(config.architectures or [type(config).__name__])
            raise AlphaClipError(
                f"{name} is a {stated}, which does not take a picture and write text: give a "
                "model that transformers lists as image-text-to-text"
            )
        return AutoProcessor.from_pretrained(name, **_OWN_CODE), config


def _load_weights(name: str, dtype: torch.dtype) -> Any:
    with _failing(name):
        from transformers import AutoModelForImageTextToText

        return AutoModelForImageTextToText.from_pretrained(
            name, use_safetensors=True, dtype=dtype, **_OWN_CODE
        )


@contextmanager
def _failing(name: str) -> Iterator[None]:
    """Says what to do where transformers fails to load a model."""
    try:
        yield
    except AlphaClipError:
        raise
    except ImportError as error:
        raise AlphaClipError(
            f"{name} needs a package that is missing ({' '.join(str(error).split())[:300]}): run "
            "`pip install 'alphaclip-fiftyone[language]'`, or install what is named"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise AlphaClipError(
            f"{name} cannot be loaded as an image-text-to-text model "
            f"({' '.join(str(error).split())[:300]}): give one with safetensors weights, and "
            "without code of its own, which is never run, by its name on the Hugging Face Hub or "
            "its folder"
        ) from error


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    import torch

    from alphaclip.network.precisions import gpu_dtype

    if precision == "auto":
        return gpu_dtype() if device.type == "cuda" else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
