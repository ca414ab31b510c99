"""AdamW with the paper's two rates (arXiv 2312.03818, A.1)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.optim import AdamW, Optimizer

from alphaclip.network.region_queries import NAME
from alphaclip.training.finetune.config import FinetuneConfig
from alphaclip.weights.alpha_channel import ALPHA_SUFFIX

_EMBEDDINGS = (
    "class_embedding",
    "positional_embedding",
    "cls_token",
    "reg_token",
    "pos_embed",
    "latent",
)
"""Of open_clip's and timm's towers; the latent is the query of an attention pool."""


def make_optimizer(parameters: Mapping[str, nn.Parameter], config: FinetuneConfig) -> Optimizer:
    """AdamW over the parameters in training.

    Args:
        parameters: by their names in the image encoder, see
            `alphaclip.training.finetune.optimization.trainable.Trainable.trained`
        config: rates, weight decay and betas; with ``reference`` the weight decay is on all

    Returns:
        the optimiser; each group's ``name`` is ``alpha``, ``regions`` (new as that, so at its
        rate), ``weights`` or ``undecayed``, and its full rate stands in ``initial_lr``
    """
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        groups.setdefault(_group(name, parameter), []).append(parameter)
    rates = {"alpha": config.alpha_rate, "regions": config.alpha_rate}
    decays = {} if config.reference else {"undecayed": 0.0, "regions": 0.0}
    settings = [
        {
            "name": name,
            "params": members,
            "lr": rates.get(name, config.rate),
            "initial_lr": rates.get(name, config.rate),
            "weight_decay": decays.get(name, config.weight_decay),
        }
        for name, members in groups.items()
    ]
    return AdamW(settings, betas=config.betas)


def scale_rates(optimizer: Optimizer, scale: float) -> None:
    """Sets each group's rate to its full one, scaled."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * scale


def _group(name: str, parameter: nn.Parameter) -> str:
    if name.endswith(f"{ALPHA_SUFFIX}.weight"):
        return "alpha"
    if name.startswith(f"{NAME}."):
        return "regions"
    is_embedding = name.rpartition(".")[2] in _EMBEDDINGS
    return "undecayed" if parameter.ndim <= 1 or is_embedding else "weights"
