"""The command ``alphaclip``, and what it can do without the other houses."""

from alphaclip.cli.main import main

__all__ = ["main"]
