"""How much marks on hits help a query: average precision before and after, on regions not marked.

    PYTHONPATH=. python benchmarks/feedback.py DRAWINGS BCCD [--work FOLDER] [--tune]

A simulated user marks the ten best regions that are not marked yet, three times; after each time
the query is refined. DRAWINGS holds the artists' archives (``recipes.nano.drawings.fetch``
gets them), BCCD the blood cells. Scenes are drawn as the sample dataset's are, half of them by the
artist that training never saw. One seed is for choosing the constants (``--tune``), another for
the table, as is one half each of the blood cells' pictures. The sample itself has only nine names
with enough regions.

Marks are given on one half of the pictures. Precision is taken on the other half, which is the same
for every method and round, and on the unmarked regions of the first: there the right regions that
are easily found are marked and gone, which makes figures small, and rounds hard to compare.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pictures import CELLS, Picture, cell_pictures, drawn_pictures, sample_pictures

import alphaclip
from alphaclip.indexing.explore import feedback
from alphaclip.regions.region import Region
from recipes.nano.drawings import DRAWING_SETS, concepts
from recipes.nano.scenes import SpriteBook, held_out_sets

TUNED, REPORTED = 101, 102
SCENES = 1600
ROUNDS, MARKED = 3, 10
LEAST, GROUP = 8, 10
"""Right regions that a query must have, and queries in each group of hard or easy ones."""

GRID = {
    "TEXT_WEIGHT": (0.25, 0.5, 1.0),
    "TIGHTNESS": (0.2, 0.5, 1.0),
}

Refine = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Pool:
    """Regions to search.

    Attributes:
        vectors: float32 (n, dim)
        names: str (n,)
        pictures: int (n,), the picture of each
        texts: name to vector
    """

    vectors: np.ndarray
    names: np.ndarray
    pictures: np.ndarray
    texts: Mapping[str, np.ndarray]

    def of(self, some: np.ndarray) -> Pool:
        """Some of the regions."""
        return Pool(self.vectors[some], self.names[some], self.pictures[some], self.texts)

    def in_half(self, which: int) -> np.ndarray:
        """Which regions are of one half of the pictures, drawn by a fixed seed: bool (n,)."""
        order = np.random.default_rng(7).permutation(np.unique(self.pictures))
        return np.isin(self.pictures, np.array_split(order, 2)[which])

    def queries(self) -> list[tuple[float, str]]:
        """Average precision and name of each query with enough right regions, the hardest first."""
        names, counts = np.unique(self.names, return_counts=True)
        usable = [str(name) for name in names[counts >= LEAST]]
        scores = {name: self.vectors @ self.texts[name] for name in usable}
        return sorted((average_precision(scores[n], self.names == n), n) for n in usable)


def main(arguments: Sequence[str]) -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("drawings", type=Path)
    parser.add_argument("bccd", type=Path)
    parser.add_argument("--work", type=Path, default=Path("feedback-vectors"))
    parser.add_argument("--tune", action="store_true", help="try the grid, on the other half")
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    if given.tune:
        _tune(_groups(given, TUNED, GROUP * 2))
    else:
        groups = _groups(given, REPORTED, GROUP)
        for name, refine in (("refined", feedback.refined_vector), ("Rocchio", rocchio)):
            sys.stdout.write(f"\n{name}\n\n{table(groups, refine)}\n")


def average_precision(scores: np.ndarray, good: np.ndarray) -> float:
    """The mean over the right ones of the precision at each."""
    ranked = good[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())


def rocchio(
    text: np.ndarray, right: np.ndarray, wrong: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """The usual way, for comparison: means of the marked vectors are added and taken off."""
    vector, middle = text.astype(np.float64), background.mean(axis=0)
    for marked, weight in ((right, 0.5), (wrong, -0.25)):
        if len(marked):
            mean = (marked - middle).mean(axis=0)
            vector = vector + weight * mean / np.linalg.norm(mean)
    return vector / np.linalg.norm(vector)


def simulate(pool: Pool, name: str, refine: Refine) -> list[tuple[float, float, float, float]]:
    """Four average precisions after each round, NaN where fewer than three right regions are left:
    of the text and of the refined query, on the pictures that were not searched and on the regions
    of the others that are not marked."""
    text, good = pool.texts[name].astype(np.float32), pool.names == name
    searched = pool.in_half(0)
    some = np.linspace(0, len(good) - 1, min(len(good), feedback.SAMPLE)).astype(int)
    background, vector = pool.vectors[some], text
    marked, rounds = np.zeros(len(good), bool), []
    for _ in range(ROUNDS):
        scores = np.where(marked | ~searched, -np.inf, pool.vectors @ vector)
        marked[np.argsort(-scores, kind="stable")[:MARKED]] = True
        right, wrong = (pool.vectors[marked & here] for here in (good, ~good))
        vector = refine(text, right, wrong, background).astype(np.float32)
        scores = [pool.vectors @ v for v in (text, vector)]
        parts = (~searched, searched & ~marked)
        rounds.append(
            tuple(
                average_precision(s[part], good[part]) if good[part].sum() >= 3 else np.nan
                for part in parts
                for s in scores
            )
        )
    return rounds


def table(groups: Mapping[str, tuple[Pool, list[str]]], refine: Refine) -> str:
    """A table in Markdown: for each group and round the means, and how many became worse."""
    head = ("queries", "round", "others: text", "refined", "worse by 0.01")
    head += ("same, unmarked: text", "refined", "worse by 0.01")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for group, figures in _figures(groups, refine).items():
        for number, values in enumerate(figures.transpose(1, 2, 0), start=1):
            cells = " | ".join(_means(*values[at : at + 2]) for at in (0, 2))
            lines.append(f"| {group} | {number} | {cells} |")
    return "\n".join(lines)


def _means(before: np.ndarray, after: np.ndarray) -> str:
    measured = ~np.isnan(before)
    if not measured.any():
        return "- | - | -"
    before, after = before[measured], after[measured]
    worse = f"{(after < before - 0.01).sum()} of {len(before)}"
    return f"{before.mean():.3f} | {after.mean():.3f} | {worse}"


def _figures(groups: Mapping[str, tuple[Pool, list[str]]], refine: Refine) -> dict[str, np.ndarray]:
    return {
        group: np.array([simulate(pool, name, refine) for name in names])
        for group, (pool, names) in groups.items()
    }


def _tune(groups: Mapping[str, tuple[Pool, list[str]]]) -> None:
    """Mean gain in average precision of each group, over all rounds, for each setting."""
    for values in itertools.product(*GRID.values()):
        for name, value in zip(GRID, values, strict=True):
            setattr(feedback, name, value)
        gains = {}
        for group, figures in _figures(groups, feedback.refined_vector).items():
            gain = figures[..., 1] - figures[..., 0]  # On the other pictures.
            gains[group] = np.nanmean(gain, axis=0).round(3).tolist()
        setting = dict(zip(GRID, values, strict=True))
        sys.stdout.write(f"{json.dumps(setting)} {json.dumps(gains)}\n")
        sys.stdout.flush()


def _groups(given: argparse.Namespace, seed: int, size: int) -> dict[str, tuple[Pool, list[str]]]:
    texts = {concept.name: f"a drawing of a {concept.name}" for concept in concepts()}
    pools = []
    for artists, sets in (("all", DRAWING_SETS), ("held", held_out_sets())):
        path, book = given.work / f"{artists}-{seed}.npz", SpriteBook(given.drawings, sets)
        pools.append(_pool(path, partial(drawn_pictures, book, seed, SCENES), texts))
    columns = [[getattr(p, c) for p in pools] for c in ("vectors", "names", "pictures")]
    drawn = Pool(*map(np.concatenate, columns), texts=pools[0].texts)
    names = [name for _, name in drawn.queries()]
    cells = _pool(given.work / "bccd.npz", lambda: cell_pictures(given.bccd), CELLS)
    cells = cells.of(cells.in_half(0 if seed == TUNED else 1))
    groups = {
        "drawn scenes, hard": (drawn, names[:size]),
        "drawn scenes, easy": (drawn, names[-size:]),
    }
    if seed == REPORTED:
        sample = _pool(given.work / "demo.npz", sample_pictures, texts)
        groups["bundled sample, all"] = (sample, [name for _, name in sample.queries()])
    return groups | {f"bccd, {name}": (cells, [name]) for _, name in cells.queries()}


def _pool(path: Path, pictures: Callable[[], Iterator[Picture]], texts: Mapping[str, str]) -> Pool:
    """Encodes pictures, or takes what was encoded before."""
    encoder = alphaclip.load("alphaclip-nano")
    if not path.exists():
        names: list[str] = []
        numbers: list[int] = []

        def items() -> Iterator[tuple[Any, list[Region]]]:
            for number, (image, regions, found) in enumerate(pictures()):
                names.extend(found)
                numbers.extend([number] * len(found))
                yield image, regions

        vectors = np.concatenate(list(encoder.encode_many(items())))
        np.savez(path, V=vectors, truth=np.array(names), scene=np.array(numbers))
    saved = np.load(path)
    encoded = dict(zip(texts, encoder.encode_text(list(texts.values())), strict=True))
    return Pool(saved["V"], saved["truth"], saved["scene"], encoded)


if __name__ == "__main__":
    main(sys.argv[1:])
