"""Referring expression comprehension: which box is meant? ``alphaclip eval referring``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.sam.sam import SamModel, load_sam
from alphaclip.training.datasets.examples import (
    SIZES,
    Box,
    Example,
    Expression,
    ExpressionSet,
    LabelledRegion,
    RegionSet,
    size_of,
    take_first_expressions,
)
from alphaclip.training.datasets.masks import boxed_region
from alphaclip.training.datasets.phrases import (
    MODEL,
    Entity,
    Sentence,
    load_parser,
    read_entity,
)
from alphaclip.training.datasets.refcoco import SPLITS, read_reclip, read_refs_expressions
from alphaclip.training.evaluation.outcomes import Means, Outcome, Row, percent
from alphaclip.training.evaluation.referring.boxes import (
    REPRESENTATIONS,
    BoxGroup,
    Fits,
    group_boxes,
    group_key,
)
from alphaclip.training.evaluation.referring.relations import decide
from alphaclip.training.evaluation.tasks import Task, data_folder

Parser = Callable[[str], Sentence]

ALL_SPLITS = tuple(f"{name}-{split}" for name, splits in SPLITS.items() for split in splits)


@dataclass(frozen=True)
class ReferringProtocol:
    """ReCLIP's protocol (arXiv 2204.05991) as Alpha-CLIP uses it (arXiv 2312.03818, section 4.2).

    An answer counts where the IoU of its box with the true one is above ``min_iou``, not equal to
    it. How well a text fits the boxes is the softmax over them of ``logit_scale`` times the cosine,
    summed over models and representations.

    Attributes:
        representations: names of
            :data:`~alphaclip.training.evaluation.referring.boxes.REPRESENTATIONS`
        method: ``parse`` adds relations and superlatives, ``plain`` scores the expression alone
        prefix: put before every text, which is made lower case
        logit_scale: CLIP's, whatever the model's own
        min_iou: see above
    """

    representations: tuple[str, ...] = ("full", "blur")
    method: Literal["parse", "plain"] = "parse"
    prefix: str = "a photo of "
    logit_scale: float = 100.0
    min_iou: float = 0.5

    def __post_init__(self) -> None:
        unknown = [name for name in self.representations if name not in REPRESENTATIONS]
        if unknown or not self.representations:
            raise AlphaClipError(
                f"representations are {list(self.representations)}: expected some of "
                f"{', '.join(REPRESENTATIONS)}"
            )


@dataclass(frozen=True)
class ReferringEntry:
    """A split in a setting.

    Attributes:
        expressions: of the split
        protocol: how they are judged
        parser: of expressions in lower case, for the method ``parse``
        parser_name: of the parser, as in reports
        sam: finds the masks of the boxes; None takes the boxes as masks
    """

    expressions: ExpressionSet
    protocol: ReferringProtocol = field(default_factory=ReferringProtocol)
    parser: Parser | None = None
    parser_name: str = ""
    sam: SamModel | None = None

    def __post_init__(self) -> None:
        if self.protocol.method == "parse" and self.parser is None:
            raise AlphaClipError("method 'parse' needs a parser: give one, or take 'plain'")


def run(encoder: str, entry: ReferringEntry, means: Means) -> Outcome:
    """Judges an encoder on a split.

    Args:
        encoder: its name; it is loaded with the view of each representation, over which a method
            in its name lays its own settings
        entry: the split
        means: what to run with

    Returns:
        figures in percent: ``accuracy``, the same by COCO's size of the true box, and
        ``reachable``, the share of expressions with a right box among their proposals; expressions
        whose picture cannot be encoded count in none and are in ``skipped``

    Raises:
        AlphaClipError: if the encoder or the SAM cannot be used
    """
    protocol = entry.protocol
    groups, failed = group_boxes(entry.expressions, entry.sam, means)
    skipped = [*entry.expressions.skipped, *failed]
    meanings = [_Meaning.of(expression, entry.parser) for expression in entry.expressions]
    texts = sorted({text for meaning in meanings for text in meaning.texts()})
    prompts = {text: protocol.prefix + text for text in texts}
    how = protocol.representations, protocol.logit_scale
    fits = Fits(encoder, *how, groups.values(), prompts, means, skipped)
    judged = [_judge(meaning, groups, fits, protocol.min_iou) for meaning in meanings]
    rows = tuple(row for row in judged if row is not None)
    return Outcome(
        task="referring",
        set=entry.expressions.name,
        encoder=encoder,
        metrics=_figures(rows, entry),
        rows=rows,
        settings=_settings(entry),
        skipped=tuple(dict.fromkeys(skipped)),
        primary="accuracy",
    )


def mean_of_splits(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The mean over the splits, each weighing the same, as tables give it.

    Args:
        outcomes: of one encoder, one for each split

    Returns:
        one outcome, its rows grouped by split; none where there are fewer than two splits
    """
    if len(outcomes) < 2:
        return []
    # the data sets share pictures, whose rows stay those of one picture
    rows = (
        replace(row, id=f"{outcome.set}/{row.id}", group=outcome.set)
        for outcome in outcomes
        for row in outcome.rows
    )
    mean = float(np.mean([outcome.metrics["accuracy"] for outcome in outcomes]))
    whole = replace(
        outcomes[0],
        set=f"mean of {len(outcomes)} splits",
        metrics={"accuracy": mean},
        rows=tuple(rows),
        settings={**outcomes[0].settings, "splits": [outcome.set for outcome in outcomes]},
        skipped=tuple(line for outcome in outcomes for line in outcome.skipped),
        estimator="group-mean",
    )
    return [whole]


def true_regions(entry: ReferringEntry) -> RegionSet:
    """The boxes that are meant, each with its expression's id and text, by picture."""
    by_picture: dict[str, Example] = {}
    for expression in entry.expressions:
        example, box = expression.example, expression.truth
        meant = LabelledRegion(
            expression.id,
            boxed_region(box, example.width, example.height),
            box[2] * box[3],
            texts=(expression.text,),
        )
        before = by_picture.get(example.id, replace(example, regions=()))
        by_picture[example.id] = replace(before, regions=(*before.regions, meant))
    return RegionSet(entry.expressions.name, tuple(by_picture.values()))


def overlaps(boxes: Sequence[Box], truth: Box) -> np.ndarray:
    """Intersection over union of each box with a true one: float64 (boxes,)."""
    from pycocotools import mask as coco_mask

    shared = coco_mask.iou(np.array(boxes, np.float64), np.array([truth], np.float64), [0])
    return np.asarray(shared, np.float64).reshape(len(boxes))


@dataclass(frozen=True)
class _Meaning:
    expression: Expression
    text: str
    entity: Entity | None

    @classmethod
    def of(cls, expression: Expression, parser: Parser | None) -> _Meaning:
        text = expression.text.lower()
        return cls(expression, text, read_entity(parser(text)) if parser else None)

    def texts(self) -> Iterator[str]:
        yield self.text
        if self.entity is not None:
            yield from self.entity.texts()


def _judge(
    meaning: _Meaning, groups: Mapping[str, BoxGroup], fits: Fits, min_iou: float
) -> Row | None:
    """The answer to an expression; None where its picture could not be encoded."""
    expression = meaning.expression
    group = groups.get(group_key(expression))
    likely = group and fits.over(group, set(meaning.texts()))
    if not likely:
        return None
    chosen = decide(meaning.text, meaning.entity, likely, expression.proposals)
    answer = int(chosen.argmax())
    box = expression.proposals[answer]
    return Row(
        id=expression.id,
        example=expression.example.id,
        correct=float(overlaps([box], expression.truth)[0] > min_iou),
        predicted=_spell(box),
        truth=f"{expression.text} {_spell(expression.truth)}",
        score=float(chosen[answer]),
        group=size_of(expression.truth[2] * expression.truth[3]),
    )


def _figures(rows: Sequence[Row], entry: ReferringEntry) -> dict[str, float]:
    judged = {row.id for row in rows}
    best = [
        overlaps(expression.proposals, expression.truth).max()
        for expression in entry.expressions
        if expression.id in judged
    ]
    figures = {"accuracy": percent([row.correct for row in rows])}
    for size in SIZES:
        figures[f"accuracy {size}"] = percent([r.correct for r in rows if r.group == size])
    return figures | {"reachable": percent([iou > entry.protocol.min_iou for iou in best])}


def _settings(entry: ReferringEntry) -> dict[str, Any]:
    protocol = entry.protocol
    masks = "boxes as masks" if entry.sam is None else f"masks by {Path(entry.sam.name).stem}"
    short = f"{entry.expressions.proposals} boxes, {'+'.join(protocol.representations)}"
    views = {name: REPRESENTATIONS[name].to_dict() for name in protocol.representations}
    return {
        "setting": f"{short}, {protocol.method}, {masks}",
        "masks": masks,
        "correct": f"IoU > {protocol.min_iou}",
        "views": views,
        "parser": entry.parser_name,
        **asdict(protocol),
    }


def _spell(box: Box) -> str:
    return "[" + ", ".join(f"{side:.1f}" for side in box) + "]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what to judge on and how."""
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=ALL_SPLITS,
        default=list(ALL_SPLITS),
        metavar="SPLIT",
        help=f"default: all eight, {', '.join(ALL_SPLITS)}",
    )
    parser.add_argument(
        "--proposals",
        choices=("detector", "annotated"),
        default="detector",
        help="boxes to choose from: MAttNet's (the published protocol), or the annotated objects",
    )
    parser.add_argument(
        "--refs",
        action="store_true",
        help="read refer's files, refs(unc).p and so on, not ReCLIP's; annotated objects only",
    )
    parser.add_argument(
        "--method",
        choices=("parse", "plain"),
        default="parse",
        help=f"parse: relations and superlatives, needs spaCy and {MODEL}; plain: without",
    )
    parser.add_argument("--parser", default=MODEL, metavar="MODEL", help=f"default: {MODEL}")
    parser.add_argument(
        "--representations",
        nargs="+",
        choices=list(REPRESENTATIONS),
        default=["full", "blur"],
        help="how a box is shown; their scores are added (default: full blur)",
    )
    parser.add_argument(
        "--sam",
        metavar="NAME",
        help="finds the boxes' masks, such as sam-vit-h (published); without it boxes are masks",
    )


def load(args: argparse.Namespace) -> Sequence[ReferringEntry]:
    """Reads the splits."""
    data_folder(args, "ReCLIP's or refer's files")
    if args.refs and args.proposals != "annotated":
        raise AlphaClipError("--refs has no detector's boxes: add `--proposals annotated`")
    protocol = ReferringProtocol(tuple(args.representations), args.method)
    parser, version = load_parser(args.parser) if args.method == "parse" else (None, "")
    sam = load_sam(args.sam, args.device) if args.sam else None
    entries = []
    for name in args.splits:
        dataset, split = name.rsplit("-", 1)
        if args.refs:
            expressions = read_refs_expressions(args.data, dataset, split)
        else:
            expressions = read_reclip(args.data, dataset, split, args.proposals)
        first = take_first_expressions(expressions, args.limit)
        entries.append(ReferringEntry(first, protocol, parser, version, sam))
    return entries


TASK = Task(
    name="referring",
    help="which box is meant? RefCOCO, RefCOCO+ and RefCOCOg by ReCLIP's protocol",
    add_arguments=add_arguments,
    load=load,
    run=run,
    summarize=mean_of_splits,
    regions=true_regions,
)
