"""The indexing house's part of the command line and of ``alphaclip doctor``."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError, version

from alphaclip.doctor import Check


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds this house's commands; there are none yet."""


def checks() -> list[Check]:
    """FiftyOne and FAISS: which versions, and whether FAISS can use a GPU."""
    return [_package("fiftyone"), _faiss()]


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "missing", "not installed", f"pip install {name}")


def _faiss() -> Check:
    try:
        import faiss
    except ImportError:
        advice = "pip install faiss-cpu (on Linux x86-64: faiss-gpu, never both)"
        return Check("faiss", "missing", "not installed", advice)
    build = "with GPU support" if hasattr(faiss, "StandardGpuResources") else "CPU only"
    return Check("faiss", "ok", f"{faiss.__version__}, {build}")
