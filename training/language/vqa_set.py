"""Questions about regions whose answers a set knows: from labels, texts, and where regions are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alphaclip.errors import AlphaClipError
from alphaclip.language.questions import Question
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet
from alphaclip.training.datasets.words import (
    COLORS,
    NUMBERS,
    PLACES,
    SIZES,
    article,
    position_words,
    size_word,
)

YES_NO = ("yes", "no")

WORDING = {
    "kind": "what is it?",
    "is": "is it {name}?",
    "fits": "does it show {text}?",
    "color": "what color is it?",
    "place": "where is it?",
    "size": "how large is it?",
    "count": "how many objects are there?",
}
"""The kinds of questions: the class, among the most frequent ones; whether it is of a class, for
half of the regions a wrong one; whether a text is one of its own, for half another region's; the
one color that its texts name; where the middle of its bounds is, and their longer side as a share
of the picture's; and how many regions the picture has, where a set has all of its objects."""

MOST_CLASSES = 20


@dataclass(frozen=True)
class VqaSet:
    """Questions with answers.

    Attributes:
        regions: that are asked about
        questions: by kind
        attributes: of each region, what stands in the questions' braces
        truths: of each region, the right choice by kind; a kind that it has no answer to is missing
    """

    regions: RegionSet
    questions: Mapping[str, Question]
    attributes: Sequence[Mapping[str, str]]
    truths: Sequence[Mapping[str, str]]


def make_vqa_set(regions: RegionSet, kinds: Sequence[str]) -> VqaSet:
    """Asks of each region what the set has an answer to; the same set, the same questions.

    Args:
        regions: with texts, and labels or none
        kinds: of :data:`WORDING`

    Raises:
        AlphaClipError: nothing can be asked
    """
    counts = Counter(region.label for _, region in regions.regions if region.label)
    classes = tuple(name for name, _ in counts.most_common(MOST_CLASSES))
    every_name = list(counts)
    every_text = list(dict.fromkeys(t for _, region in regions.regions for t in region.texts))
    names, texts = ({one: n for n, one in enumerate(every)} for every in (every_name, every_text))
    rng = np.random.default_rng(0)
    attributes, truths = [], []
    for example, region in regions.regions:
        name, is_so = _claim([region.label] if region.label else [], names, every_name, rng)
        text, fits = _claim(region.texts, texts, every_text, rng)
        attributes.append({"name": article(name or "thing"), "text": text or "a thing"})
        facts = {**_facts(example, region), "is": is_so, "fits": fits}
        if region.label in classes and len(classes) > 1:
            facts["kind"] = region.label
        truths.append({kind: fact for kind in kinds if (fact := facts.get(kind))})
    choices = {
        "kind": classes, "color": COLORS, "place": PLACES, "size": SIZES, "count": NUMBERS
    }  # fmt: skip
    questions = {
        kind: Question(WORDING[kind], choices.get(kind, YES_NO))
        for kind in kinds
        if any(kind in truth for truth in truths)
    }
    if not questions:
        raise AlphaClipError(
            f"{regions.name} has no answer to questions of the kind {', '.join(kinds)}: ask others"
        )
    return VqaSet(regions, questions, attributes, truths)


def _claim(
    own: Sequence[str], numbers: Mapping[str, int], every: Sequence[str], rng: np.random.Generator
) -> tuple[str | None, str | None]:
    """One of a region's own words, or as often one of the others', and whether that is so; None
    where there are none. ``numbers`` are those of words in ``every``: a set has a million."""
    its = sorted({numbers[one] for one in own})
    if not its or len(its) == len(every):
        return None, None
    if rng.random() < 0.5:
        return own[int(rng.integers(len(own)))], YES_NO[0]
    number = int(rng.integers(len(every) - len(its)))
    for one in its:  # which are stepped over
        number += one <= number
    return every[number], YES_NO[1]


def _facts(example: Example, region: LabelledRegion) -> dict[str, str | None]:
    """What is known of a region without its label."""
    x0, y0, x1, y1 = region.region.bounds(example.height, example.width)
    width, height = example.width, example.height
    box = (x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height)
    words = re.findall(r"[a-z]+", " ".join(region.texts).lower().replace("grey", "gray"))
    colors = {word for word in words if word in COLORS}
    count = len(example.regions)
    return {
        "color": colors.pop() if len(colors) == 1 else None,
        "place": position_words(box),
        "size": size_word(box),
        "count": NUMBERS[count - 1] if count <= len(NUMBERS) else None,
    }
