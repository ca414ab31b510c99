"""Region embeddings from a CLIP with an alpha channel (Alpha-CLIP, arXiv 2312.03818)."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphaclip.encoder.load import load
    from alphaclip.network.factory import create_model
    from alphaclip.regions.region import Region
    from alphaclip.weights.checkpoints import convert_checkpoint

__all__ = ["Region", "__version__", "convert_checkpoint", "create_model", "load"]

_HOMES = {
    "Region": "alphaclip.regions.region",
    "convert_checkpoint": "alphaclip.weights.checkpoints",
    "create_model": "alphaclip.network.factory",
    "load": "alphaclip.encoder.load",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that ``import alphaclip`` stays fast."""
    if name == "__version__":
        return version("alphaclip-fiftyone")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
