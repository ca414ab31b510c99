"""Captions that a describer writes of a set's regions, scored: ``alphaclip eval describe``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from alphaclip.language.describer import Item
from alphaclip.training.datasets.examples import RegionSet
from alphaclip.training.evaluation.captions.captions import caption_outcome
from alphaclip.training.evaluation.outcomes import Means, Outcome
from alphaclip.training.evaluation.tasks import Task
from alphaclip.training.language.responses import collect, open_subject
from alphaclip.training.language.sets import add_set_options, read_set
from alphaclip.views.prefetch import OnError


@dataclass(frozen=True)
class DescribeEntry:
    """Regions with texts, and how descriptions of them are asked for."""

    regions: RegionSet
    prompt: str | None = None
    max_tokens: int = 40


def run(subject: str, entry: DescribeEntry, means: Means | None = None) -> Outcome:
    """Has every region that has texts described, and compares what is said with them.

    Args:
        subject: a describer's name, see `alphaclip.training.language.responses.open_subject`
        entry: what is described
        means: cache, progress, device

    Returns:
        scores as :func:`~alphaclip.training.evaluation.captions.captions.caption_outcome` gives
        them; a region's references are all its texts

    Raises:
        AlphaClipError: the describer cannot be loaded, or fewer than two regions can be described
    """
    means = means or Means()
    opened, skipped = open_subject(subject, means), list(entry.regions.skipped)
    describer, prompt, most = opened.describer, entry.prompt, entry.max_tokens

    def say(items: Iterable[Item], on_error: OnError) -> Iterator[list[str]]:
        for captions in describer.describe_many(items, prompt, most, on_error):
            yield [caption.text for caption in captions]

    rows = list(entry.regions.regions)
    attributes = [{"label": region.label or None} for _, region in rows]
    asked = f"describe {prompt} {most}"
    said = collect(opened, entry.regions, asked, say, attributes, means, skipped)
    described = [(*row, text) for row, text in zip(rows, said, strict=True) if text]
    return caption_outcome(
        "describe",
        entry.regions.name,
        subject,
        {region.id: text for _, region, text in described},
        {region.id: region.texts for _, region, _ in described},
        {region.id: example.id for example, region, _ in described},
        {
            "setting": f'"{prompt}"' if prompt else "",
            "max_tokens": most,
            "sees": describer.sees,
            "fingerprint": describer.fingerprint,
        },
        skipped,
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_set_options(parser)
    parser.add_argument("--prompt", help="what to say of a region (default: the model's own)")
    parser.add_argument(
        "--max-tokens", type=int, default=40, help="of a description (default: %(default)s)"
    )


def _load(args: argparse.Namespace) -> Sequence[DescribeEntry]:
    return [DescribeEntry(read_set(args), args.prompt, args.max_tokens)]


DESCRIBE = Task(
    name="describe",
    help="have language models describe regions, and score it: CIDEr, METEOR, ROUGE-L, BLEU",
    add_arguments=_add_arguments,
    load=_load,
    run=run,
    subjects="model",
)
"""Describers, not encoders."""
