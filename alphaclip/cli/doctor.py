"""``alphaclip doctor``: what is there, and what to do about each thing missing."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Literal

CHECKS = "alphaclip.doctor"

Status = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what was looked at
        status: ``ok``; ``warn`` for something that works but could be better, or is optional;
            ``missing`` for something without which the product does not work
        detail: what was found
        advice: what to do, empty where nothing needs doing
    """

    name: str
    status: Status
    detail: str
    advice: str = ""


def add_parsers(subparsers: argparse._SubParsersAction) -> None:
    """Adds the subcommand ``doctor``."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what is installed, and what to do about what is missing",
        description="Says what is installed and what to do about each thing missing. "
        "Exits with 1 where something indispensable is missing.",
    )
    parser.set_defaults(run=_run)


def run_checks() -> list[Check]:
    """Runs the checks of every house.

    Each entry point of the group ``alphaclip.doctor`` is a function without arguments that
    returns a list of `Check`.

    Returns:
        all checks, house by house; a house whose checks fail is itself a missing thing
    """
    checks: list[Check] = []
    for entry in sorted(entry_points(group=CHECKS), key=lambda entry: entry.name):
        try:
            checks += entry.load()()
        except Exception as error:
            advice = "install the package again: pip install alphaclip-fiftyone"
            detail = f"{type(error).__name__}: {error}"
            checks.append(Check(entry.name, "missing", detail, advice))
    return checks


def package_check(package: str) -> Check:
    """The version of a distribution, by the name that pip knows, or how to install it."""
    try:
        return Check(package, "ok", version(package))
    except PackageNotFoundError:
        return Check(package, "missing", "not installed", f"pip install {package}")


def _run(args: argparse.Namespace) -> int:
    checks = run_checks()
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        print(f"{check.status:<8}{check.name:<{width}}  {check.detail}")
        if check.advice:
            print(f"{'':<8}{'':<{width}}  -> {check.advice}")
    return int(any(check.status == "missing" for check in checks))
