"""The command ``alphaclip``: finds the houses' subcommands and runs one of them."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any

from alphaclip.errors import AlphaClipError

COMMANDS = "alphaclip.commands"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Each entry point of the group ``alphaclip.commands`` is a function
    ``add_parsers(subparsers) -> None`` whose parsers (see `Command`) set ``run``, a function of
    the parsed arguments that returns the exit status.

    Args:
        argv: the arguments, by default those of the process

    Returns:
        the exit status: 0 for success, 1 for an error that the message on stderr explains;
        wrong usage exits with 2
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(
        prog="alphaclip", description="Find and label regions of images by text."
    )
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Command
    )
    _add_commands(subparsers)
    args = parser.parse_args(argv)
    try:
        status: int = args.run(args)
    except AlphaClipError as error:
        print(f"alphaclip: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


class Command(argparse.ArgumentParser):
    """A subcommand's parser, which may leave its arguments until it is used.

    So a command whose arguments need heavy imports does not slow down the others.
    """

    _later: Callable[[Command], None] | None = None

    def add_later(self, add: Callable[[Command], None]) -> None:
        """Has ``add`` called with this parser before it parses for the first time."""
        self._later = add

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse."""
        if self._later is not None:
            add, self._later = self._later, None
            add(self)
        return super().parse_known_args(args, namespace)


def _add_commands(subparsers: argparse._SubParsersAction) -> None:
    for entry in sorted(entry_points(group=COMMANDS), key=lambda entry: entry.name):
        try:
            add_parsers = entry.load()
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(
                f"alphaclip: the commands of {entry.value} are left out: {reason}", file=sys.stderr
            )
            continue
        add_parsers(subparsers)
