"""Regions by descriptions, and descriptions by regions: ``alphaclip eval retrieval``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.load import load
from alphaclip.errors import AlphaClipError
from alphaclip.training.datasets.examples import (
    SIZES,
    Example,
    LabelledRegion,
    RegionSet,
    with_texts,
)
from alphaclip.training.evaluation.outcomes import Means, Outcome, Row, percent
from alphaclip.training.evaluation.retrieval.ranking import Ranking, average_precision, rank
from alphaclip.training.evaluation.tasks import Task, add_described_options, read_described
from alphaclip.training.evaluation.vectors import region_vectors, text_vectors

Direction = Literal["text to region", "region to text"]
DIRECTIONS: tuple[Direction, ...] = ("text to region", "region to text")

PRIMARY = "mAP"
CUTS = (1, 5, 10, 100)
MIXED = "mixed sizes"


def retrieve(
    encoder: str | Encoder,
    regions: RegionSet,
    direction: Direction = "text to region",
    templates: Sequence[str] | None = None,
    means: Means | None = None,
) -> Outcome:
    """Ranks all regions of a set for each description, or all descriptions for each region.

    Descriptions that are equal but for case and space are one: each region that has it is right
    for it, and it is right for each of them. A query is a description, or a region. All regions
    of all pictures are ranked together. Ties go against the encoder, see
    `alphaclip.training.evaluation.retrieval.ranking.rank`. By size, a query of texts is judged by
    its regions of that size, and its regions of other sizes are taken out of the list.

    Args:
        encoder: its name, or an encoder
        regions: with texts; those without are left out
        direction: what is asked with what
        templates: that descriptions are put into; None takes them as they are
        means: cache, progress, device

    Returns:
        in percent, ``recall@k`` (any right answer among the first k) and ``mAP``; ``median rank``
        of the first right answer; ``recall@1`` and ``mAP`` again by COCO's sizes; ``queries`` and
        ``gallery``. A row's ``correct`` is its average precision; a description's row is of the
        first picture that has it, and its group says whether all its regions are of one size

    Raises:
        AlphaClipError: if no region with a description can be encoded
    """
    means = means or Means()
    loaded = load(encoder, means.device, means.precision) if isinstance(encoder, str) else encoder
    described, skipped = with_texts(regions), list(regions.skipped)
    vectors = region_vectors(loaded, described, means.cache, means.progress, skipped.append)
    pairs = _Pairs.of(described, vectors)
    texts = text_vectors(loaded, pairs.texts, templates, means.cache)
    judge = _texts_to_regions if direction == "text to region" else _regions_to_texts
    judged = judge(pairs, texts)
    return Outcome(
        task="retrieval",
        set=regions.name,
        encoder=encoder if isinstance(encoder, str) else encoder.name,
        metrics=judged.metrics(),
        rows=tuple(judged.rows),
        settings={
            "setting": ", ".join([direction, *map(repr, templates or ())]),
            "templates": None if templates is None else list(templates),
            "ties": "against the encoder",
            "equal descriptions": "right for each other's regions",
            "fingerprint": loaded.fingerprint,
        },
        skipped=tuple(skipped),
        primary=PRIMARY,
    )


def _texts(region: LabelledRegion) -> list[str]:
    return [text for text in region.texts if text.strip()]


@dataclass(frozen=True)
class _Pairs:
    """Regions with vectors, distinct texts, and which belong together.

    Attributes:
        regions: with their pictures
        vectors: float32 (regions, dim)
        texts: each as it is first written
        of_region: numbers of each region's texts
        of_text: rows of each text's regions
    """

    regions: Sequence[tuple[Example, LabelledRegion]]
    vectors: np.ndarray
    texts: list[str]
    of_region: list[np.ndarray]
    of_text: list[np.ndarray]

    @classmethod
    def of(cls, described: RegionSet, vectors: np.ndarray) -> _Pairs:
        fine = ~np.isnan(vectors).any(axis=1)
        regions = [pair for pair, usable in zip(described.regions, fine, strict=True) if usable]
        if not regions:
            raise AlphaClipError(
                f"{described.name} has no region with a description that can be encoded: nothing "
                "can be retrieved"
            )
        texts: dict[str, str] = {}
        for _, region in regions:
            for text in _texts(region):
                texts.setdefault(_key(text), text)
        number = {key: number for number, key in enumerate(texts)}
        keys = ({_key(text) for text in _texts(region)} for _, region in regions)
        of_region = [np.array(sorted(number[key] for key in own)) for own in keys]
        of_text: list[list[int]] = [[] for _ in texts]
        for row, own in enumerate(of_region):
            for text_number in own:
                of_text[text_number].append(row)
        return cls(
            regions, vectors[fine], list(texts.values()), of_region, list(map(np.array, of_text))
        )


def _key(text: str) -> str:
    """What makes two descriptions equal."""
    return " ".join(text.casefold().split())


@dataclass
class _Judged:
    """What has been ranked so far.

    Attributes:
        gallery: how many items each query ranks
        rows: one a query
        ranks: of each query's right answers
        by_size: ranks of each query's right answers of a size
    """

    gallery: int
    rows: list[Row] = field(default_factory=list)
    ranks: list[np.ndarray] = field(default_factory=list)
    by_size: dict[str, list[np.ndarray]] = field(default_factory=lambda: {s: [] for s in SIZES})

    def add(
        self, key: str, example: Example, ranking: Ranking, answer: str, truth: str, group: str
    ) -> None:
        precision = average_precision(ranking.ranks)
        self.rows.append(Row(key, example.id, precision, answer, truth, ranking.score, group))
        self.ranks.append(ranking.ranks)

    def metrics(self) -> dict[str, float]:
        metrics = _figures(self.ranks)
        for size, ranks in self.by_size.items():
            if ranks:
                figures = _figures(ranks)
                metrics |= {f"{name} {size}": figures[name] for name in (PRIMARY, "recall@1")}
        return metrics | {"queries": float(len(self.rows)), "gallery": float(self.gallery)}


def _figures(ranks: Sequence[np.ndarray]) -> dict[str, float]:
    firsts = np.array([own[0] for own in ranks])
    return {
        PRIMARY: percent([average_precision(own) for own in ranks]),
        **{f"recall@{cut}": percent(firsts <= cut) for cut in CUTS},
        "median rank": float(np.median(firsts)),
    }


def _texts_to_regions(pairs: _Pairs, texts: np.ndarray) -> _Judged:
    judged = _Judged(len(pairs.regions))
    sizes = np.array([region.size for _, region in pairs.regions])
    rankings = rank(texts, pairs.vectors, pairs.of_text)
    for text, right, ranking in zip(pairs.texts, pairs.of_text, rankings, strict=True):
        own = sizes[ranking.items]
        example, _ = pairs.regions[right[0]]
        answer = " / ".join(_texts(pairs.regions[ranking.first][1]))
        group = f"only {own[0]}" if len(set(own)) == 1 else MIXED
        judged.add(_key(text), example, ranking, answer, text, group)
        for size in set(own):
            judged.by_size[size].append(ranking.among(own == size))
    return judged


def _regions_to_texts(pairs: _Pairs, texts: np.ndarray) -> _Judged:
    judged = _Judged(len(pairs.texts))
    rankings = rank(pairs.vectors, texts, pairs.of_region)
    for (example, region), ranking in zip(pairs.regions, rankings, strict=True):
        answer, truth = pairs.texts[ranking.first], " / ".join(_texts(region))
        judged.add(region.id, example, ranking, answer, truth, region.size)
        judged.by_size[region.size].append(ranking.ranks)
    return judged


@dataclass(frozen=True)
class RetrievalEntry:
    """Described regions in a direction, the descriptions put into templates, if any."""

    regions: RegionSet
    direction: Direction
    templates: tuple[str, ...] | None


def _run(encoder: str, entry: RetrievalEntry, means: Means) -> Outcome:
    return retrieve(encoder, entry.regions, entry.direction, entry.templates, means)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_described_options(parser)
    parser.add_argument(
        "--template",
        nargs="+",
        help='that descriptions are put into, such as "a photo of {}" (default: as they are)',
    )


def _load(args: argparse.Namespace) -> Sequence[RetrievalEntry]:
    regions = read_described(args)
    templates = tuple(args.template) if args.template else None
    return [RetrievalEntry(regions, direction, templates) for direction in DIRECTIONS]


RETRIEVAL = Task(
    name="retrieval",
    help="find regions by their descriptions, and descriptions by their regions",
    add_arguments=_add_arguments,
    load=_load,
    run=_run,
    regions=attrgetter("regions"),
)
"""Text to region and region to text."""
