"""What a user may choose as the encoder: what is on this machine, was fine-tuned on it, or can be
downloaded; with size and licence, and which one ``auto`` takes and why."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from alphaclip.catalog import zoo
from alphaclip.catalog.candidates import (
    CANDIDATES,
    HUB_MODELS,
    OFFERED,
    Candidate,
    allows_commerce,
)
from alphaclip.catalog.methods import split_name
from alphaclip.catalog.released import models_folder
from alphaclip.errors import AlphaClipError, ModelNotFoundError
from alphaclip.files import read_json
from alphaclip.weights.downloads import Progress

MB = 1_000_000

DOWNLOADS = {zoo.cached_name(one.model): one for one in OFFERED.values()}
"""What is offered, by the name that loads it."""

TUNED, TUNED_RUN, GAIN_FILE = "fine-tuned", "run", "gain.json"
"""The folder of the models folder with a folder for each fine-tune on a dataset; in each, the
folder of the run, and the file that says what came of it."""


@dataclass(frozen=True)
class Choice:
    """A model that may be chosen.

    Attributes:
        name: what loads it
        summary: what it is, in a few words
        licence: what its weights may be used for
        commercial: whether that includes commercial use; None where it is not known here
        installed: whether it is on this machine
        bytes: of its download, about; 0 where nothing can be downloaded
        advice: how to get it, where it can neither be loaded nor downloaded
        why_auto: why ``auto`` takes this one; empty for all others
        warning: what somebody who takes it should know, empty if nothing
        tuned_on: the dataset that it was fine-tuned on, empty if on none
    """

    name: str
    summary: str
    licence: str
    commercial: bool | None
    installed: bool
    bytes: int = 0
    advice: str = ""
    why_auto: str = ""
    warning: str = ""
    tuned_on: str = ""

    @property
    def usable(self) -> bool:
        """Whether it is here, or can be downloaded."""
        return self.installed or self.bytes > 0

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON values."""
        return asdict(self)


def encoder_choices() -> list[Choice]:
    """The encoders that may be chosen: first the one that ``auto`` takes, then the others that are
    here, those that can be downloaded, and those that a user has to get.

    Nothing is downloaded, and no weights are read.
    """
    auto, why = _auto()
    listed = (*tuned_choices(), *_released(), *_downloads(), *_cached(), *_of_the_hub())
    unique = {one.name: one for one in listed}
    if auto in unique:
        unique[auto] = replace(unique[auto], why_auto=why)
    return sorted(
        unique.values(),
        key=lambda one: (one.name != auto, not one.installed, not one.bytes, one.name == zoo.NANO),
    )


def tuned_choices() -> list[Choice]:
    """The encoders that were fine-tuned on datasets on this machine, the newest first."""
    files = [path for path in (models_folder() / TUNED).glob(f"*/{GAIN_FILE}") if path.is_file()]
    files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [choice for path in files if (choice := _tuned(path)) is not None]


def tuned_folder(name: str) -> Path:
    """Where a fine-tune of this name is kept, so that it is offered from then on."""
    return models_folder() / TUNED / name


def download_encoder(name: str, progress: Progress | None = None) -> None:
    """Downloads one of `alphaclip.catalog.candidates`; what was cut off goes on.

    Args:
        name: see :func:`find_candidate`, or ``hf:OWNER/NAME`` or ``hf-hub:OWNER/NAME``
        progress (None): see :func:`alphaclip.weights.downloads.download`

    Raises:
        ModelNotFoundError: it is none of them
        MissingWeightsError: the download failed; says why and what else can be done
    """
    from alphaclip.weights.base_weights import download_base

    base = split_name(name)[0]
    if zoo.hub_config(base) is not None:
        zoo.fetch_hub_model(base, progress)
        return
    architecture, _, tag = find_candidate(name).model.partition("/")
    download_base(architecture, tag, progress)


def find_candidate(name: str) -> Candidate:
    """One of `alphaclip.catalog.candidates`, by the name that loads it, with methods or without.

    Raises:
        ModelNotFoundError: it is none of them
    """
    model = split_name(name)[0].removeprefix(zoo.OPENCLIP_PREFIX)
    for candidate in CANDIDATES:
        if candidate.model == model:
            return candidate
    offered = ", ".join(DOWNLOADS)
    raise ModelNotFoundError(f"{name!r:.120} is not offered for download: take one of {offered}")


def _auto() -> tuple[str, str]:
    """What ``auto`` takes, and why."""
    try:
        spec = zoo.find_auto()
    except AlphaClipError:
        return "", ""
    if not spec.warning:
        return spec.name, "the best for photographs that is here and may be used commercially"
    if spec.name == zoo.NANO:
        return spec.name, "no model for photographs is here"
    return spec.name, "nothing better that may be used commercially is here"


def _released() -> list[Choice]:
    return [
        Choice(
            name=model.name,
            summary=model.summary,
            licence=model.licence,
            commercial=allows_commerce(model.licence),
            installed=model.installed,
            advice=model.advice,
            warning=zoo.NANO_WARNING if model.name == zoo.NANO else "",
        )
        for model in zoo.list_models()
    ]


def _cached() -> list[Choice]:
    return [_of_open_clip(one, installed=True) for one in zoo.find_cached()]


def _downloads() -> list[Choice]:
    return [_of_open_clip(one, installed=False) for one in DOWNLOADS.values()]


def _of_the_hub() -> list[Choice]:
    """transformers' that are here."""
    return [
        Choice(
            name=model.name,
            summary=f"transformers' {model.name.partition('/')[2]}, {model.summary}",
            licence=model.licence,
            commercial=allows_commerce(model.licence),
            installed=True,
        )
        for model in HUB_MODELS
        if zoo.is_here(model.name)
    ]


def _of_open_clip(candidate: Candidate, installed: bool) -> Choice:
    return Choice(
        name=zoo.cached_name(candidate.model),
        summary=f"open_clip's {candidate.model}, with region attention",
        licence=candidate.licence,
        commercial=allows_commerce(candidate.licence),
        installed=installed,
        bytes=0 if installed else candidate.megabytes * MB,
    )


def _tuned(path: Path) -> Choice | None:
    """What a fine-tune led to; None if it is not finished, or cannot be read."""
    with suppress(AlphaClipError, OSError, KeyError, TypeError):
        report, model = read_json(path), path.parent / TUNED_RUN / "last"
        if report["finished"] and model.is_dir():
            licence = zoo.stated_licence(model)
            base = split_name(str(report["base"]))[0]
            return Choice(
                name=str(model),
                summary=f"{path.parent.name}: {Path(base).name}, fine-tuned here",
                licence=licence,
                commercial=allows_commerce(licence),
                installed=True,
                tuned_on=str(report.get("dataset") or path.parent.name),
            )
    return None
