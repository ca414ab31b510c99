"""Which regions show what a labelling run did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaclip.indexing.store.segments import as_text
from alphaclip.pages.confusions import MOST, find_confusions

if TYPE_CHECKING:
    from alphaclip.indexing.labelling.scoring.scored import Scored


def pick_regions(
    scored: Scored,
    written: np.ndarray,
    scores: np.ndarray,
    reviewed: np.ndarray,
    truths: Sequence[str | None],
    seed: int,
) -> dict[str, Any]:
    """Picks the regions that the report of a run shows.

    Args:
        scored: all regions
        written: int64 (w,), rows whose answer the run wrote
        scores: of the answers as they are written, float32 (n,)
        reviewed: int64 (k,), rows of those that people gave an answer for
        truths: of these, the class, or None for "none of these"
        seed: of the draw

    Returns:
        JSON values, a region being an object with its name as ``id``, ``sample_id`` and
        ``label_id``: ``least_sure`` and ``random``, regions that were written, with ``label`` and
        ``score``; ``confusions``, the most frequent ones, each with ``answer``, ``truth``,
        ``count``, the region ``mistake`` and, to compare it with, ``example``: None, or a region
        with its ``label`` and whether it was ``reviewed``, else it is the surest that was written;
        ``reviewed`` and ``wrong``, how many regions were reviewed, and how many of them were taken
        for something else
    """
    order = written[np.argsort(scores[written], kind="stable")]
    # The surest comes last, and so stays.
    surest = dict(zip(scored.names(order), order.tolist(), strict=True))
    rng = np.random.default_rng(seed)
    drawn = rng.choice(written, min(MOST, len(written)), replace=False)
    names = {"least_sure": order[:MOST], "random": np.sort(drawn)}
    picked: dict[str, Any] = {
        name: [
            one | {"label": label, "score": score}
            for one, label, score in zip(
                _picked(scored, rows), scored.names(rows), scores[rows].tolist(), strict=True
            )
        ]
        for name, rows in names.items()
    }
    return picked | _confusions(scored, reviewed, truths, surest)


def _confusions(
    scored: Scored, rows: np.ndarray, truths: Sequence[str | None], surest: Mapping[str | None, int]
) -> dict[str, Any]:
    """Of what the scorer learned from, the answers of scorers that did not see it count.

    ``surest`` is the row of a region for each class, where no reviewed one is right.
    """
    classes, held_out = scored.classes, scored.held_out()
    answers, sure = scored.answers.classes.copy(), scored.answers.scores.copy()
    answers[scored.training], sure[scored.training] = held_out.classes, held_out.scores
    pairs = zip(answers[rows].tolist(), truths, strict=True)
    right = [classes.is_right(answer, classes.find(truth)) for answer, truth in pairs]
    taken_for = [classes.name(number) for number in answers[rows].tolist()]
    confusions = []
    for one in find_confusions(taken_for, truths, right, sure[rows].tolist()):
        if one.example is not None:
            row, label = int(rows[one.example]), truths[one.example]
        else:
            label = one.truth if one.truth in surest else one.answer
            row = surest.get(label, -1)
        mistake, *example = _picked(scored, np.array([rows[one.mistake], row][: 1 + (row >= 0)]))
        about = {"label": label, "reviewed": one.example is not None}
        confusions.append(
            {
                "answer": one.answer,
                "truth": one.truth,
                "count": one.count,
                "mistake": mistake,
                "example": example[0] | about if example else None,
            }
        )
    return {"confusions": confusions, "reviewed": len(right), "wrong": right.count(False)}


def _picked(scored: Scored, rows: np.ndarray) -> list[dict[str, Any]]:
    ids = scored.snapshot.version.ids.take(rows)
    columns = (as_text(ids.sample_ids).tolist(), as_text(ids.label_ids).tolist())
    return [
        {"id": name, "sample_id": sample, "label_id": label}
        for name, sample, label in zip(scored.label_ids(rows), *columns, strict=True)
    ]
