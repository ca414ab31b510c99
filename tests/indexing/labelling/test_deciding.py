"""Several tests of a run: what a failed sample is good for, and that the promise holds over all.

``--log-cli-level INFO`` shows the figures of the simulation.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.labelling import deciding
from alphaclip.indexing.labelling.deciding import Decision, decide, with_sample, with_test
from alphaclip.indexing.labelling.promise.binomial import clopper_pearson, needed
from alphaclip.indexing.labelling.promise.promise import share_of_risk
from alphaclip.indexing.labelling.review.runs import Labelling, ReviewBook
from alphaclip.indexing.labelling.scoring.choosing import choose_scorer
from alphaclip.indexing.labelling.scoring.classes import ClassSet
from alphaclip.indexing.labelling.scoring.scored import Scored
from alphaclip.indexing.labelling.scoring.scoring import Answers, Scorer
from alphaclip.indexing.labelling.settings import LabelSettings

LOGGER = logging.getLogger(__name__)
SIZE, RUNS, TESTS, LEVEL = 600, 200, 4, 0.01
CLASSES = ClassSet(["cell", "clot"])
SETTINGS = LabelSettings(precision=0.85, confidence=0.9, sample=60)
RISK = 1 - SETTINGS.confidence
NAMES = np.array([f"{row:04}" for row in range(SIZE)])
CHOICE = choose_scorer(
    Scorer(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), 2),
    np.zeros((0, 2)),
    np.zeros(0, int),
)


class Names:
    """The rows of an index of ``SIZE`` regions, by name."""

    def find_named(self, names: Sequence[str]) -> np.ndarray:
        return np.array([int(name) for name in names], np.int64)

    def names(self, rows: np.ndarray) -> np.ndarray:
        return NAMES[rows]


@dataclass
class Run:
    """A run, test by test, on regions whose answers are drawn: all are taken for the first class,
    but for those of ``others``."""

    settings: LabelSettings = SETTINGS
    others: float = 0

    def __post_init__(self) -> None:
        self.state, self.book = Labelling("auto", "regions"), ReviewBook()

    def draw(self, scores: np.ndarray, digest: str, given: Sequence[str] | None = None) -> None:
        """Scores all regions, having learned from what may be learned from, and draws a sample."""
        self.learnt, self.digest = self.book.examples(), digest
        numbers = (np.arange(SIZE) < self.others * SIZE).astype(np.int64)
        answers = Answers(numbers, scores, scores)
        rows = Names().find_named(list(self.learnt))
        snapshot = SimpleNamespace(lookup=Names())
        self.scored = Scored(snapshot, CLASSES, CHOICE, answers, rows, np.zeros(len(rows), int))  # type: ignore[arg-type]
        given_to = (self.state, self.book, self.scored, self.settings, digest, given)
        self.state = with_sample(*given_to)

    def answer(self, correct: np.ndarray, count: int = SIZE) -> None:
        """Answers the first of the sample."""
        rows = Names().find_named(self.book.sample[:count])
        own = self.scored.names(rows)
        said = zip(self.book.sample, own, correct[rows].tolist(), strict=False)
        self.book.add("promise", {key: name if right else None for key, name, right in said})

    def decide(self) -> Decision:
        decision = decide(self.state, self.book, self.scored, self.settings, self.digest)
        self.state = with_test(self.state, decision, self.digest, self.learnt)
        self.book.is_spent = self.state.has_failed
        return decision

    def test(self, scores: np.ndarray, correct: np.ndarray, digest: str) -> Decision:
        self.draw(scores, digest)
        self.answer(correct)
        return self.decide()


def hopeless(rng: np.random.Generator, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """The worst there is: of the regions that are left just fewer than asked are right, and all
    scores are alike, so that whatever is promised is wrong."""
    free = np.setdiff1d(np.arange(SIZE), Names().find_named(list(run.book.drawn)))
    correct = np.ones(SIZE, bool)
    correct[rng.choice(free, int(0.15 * len(free)) + 1, replace=False)] = False
    return np.zeros(SIZE), correct


def learning(rng: np.random.Generator, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Scores and answers that are bad at first, and better with each answer learned from."""
    learnt = len(run.book.examples())
    correct = rng.random(SIZE) < 0.6 + 0.35 * learnt / (learnt + 30)
    return rng.normal(size=SIZE) + correct * learnt / 60, correct


def outcome(seed: int, kind: object) -> tuple[int, float, float]:
    """Of a run of at most four tests: how many it took, the precision of what is promised, 1 if
    nothing is, and the share of the regions that passes."""
    rng, run = np.random.default_rng(seed), Run()
    for test in range(1, TESTS + 1):
        scores, correct = kind(rng, run)  # type: ignore[operator]
        decision = run.test(scores, correct, f"{test}")
        if decision.is_promised:
            return test, float(correct[decision.passes].mean()), float(decision.passes.mean())
    return TESTS, 1.0, 0.0


@pytest.mark.parametrize("kind", [hopeless, learning])
def test_runs__keep_their_promise_over_all_tests_together(kind: object) -> None:
    from scipy.stats import binomtest

    tests, precisions, passed = zip(*(outcome(seed, kind) for seed in range(RUNS)), strict=True)
    broken = sum(one < SETTINGS.precision for one in precisions)  # type: ignore[operator]
    low, high = clopper_pearson(RUNS - broken, RUNS, 0.95)
    LOGGER.info(
        "%s: broken in %d of %d runs (95 %% interval %.3f to %.3f), %.2f tests, %.2f promised",
        getattr(kind, "__name__", ""), broken, RUNS, 1 - high, 1 - low, np.mean(tests),
        np.mean(np.array(passed) > 0),
    )  # fmt: skip
    assert binomtest(broken, RUNS, RISK, alternative="greater").pvalue >= LEVEL
    if kind is learning:
        assert np.mean(np.array(passed) > 0) > 0.5, "it is of use"


def test_runs__would_break_it_if_each_test_had_all_of_the_risk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from scipy.stats import binomtest

    monkeypatch.setattr(deciding, "share_of_risk", lambda test: 1.0)
    broken = sum(outcome(seed, hopeless)[1] < 0.85 for seed in range(RUNS))
    LOGGER.info("not shared: broken in %d of %d runs", broken, RUNS)
    assert binomtest(broken, RUNS, RISK, alternative="greater").pvalue < LEVEL


def test_share_of_risk__never_spends_more_than_there_is() -> None:
    shares = [share_of_risk(test) for test in range(1, 50)]
    assert shares[:3] == [0.5, 0.25, 0.125] and sum(shares) <= 1


SCORES = np.linspace(0, 1, SIZE)
BAD, GOOD = np.arange(SIZE) % 2 == 0, np.ones(SIZE, bool)


def test_with_sample__a_failed_one_is_learned_from_and_never_drawn_again() -> None:
    run = Run()
    assert not run.test(SCORES, BAD, "a").is_promised
    first = set(run.book.sample)
    decision = run.test(SCORES, GOOD, "b")
    assert set(run.learnt) == first and not first & set(run.book.sample)
    assert decision.is_promised and [draw.share for draw in run.book.draws] == [0.5, 0.25]
    assert not decision.passes[Names().find_named(sorted(first))].any(), "people answered those"
    assert run.book.settled("training").keys() == first


def test_with_sample__one_that_nobody_began_to_review_spends_nothing() -> None:
    run = Run(replace(SETTINGS, per_class=True), others=0.5)
    run.draw(SCORES, "a")
    run.draw(SCORES, "b")
    assert [draw.share for draw in run.book.draws] == [0.5]
    run.answer(BAD, 1)
    run.draw(SCORES, "c")
    assert [draw.share for draw in run.book.draws] == [0.5, 0.25]
    assert len(run.learnt) == 0 and len(run.book.examples()) == 1


def test_decide__a_sample_that_cannot_pass_any_more_is_lost() -> None:
    run = Run()
    run.draw(SCORES, "a")
    assert not run.decide().is_lost
    run.answer(BAD, 30)
    decision = run.decide()
    assert decision.is_lost and not decision.is_tested and len(decision.unreviewed) == 30
    run.book.is_spent = True
    assert run.test(SCORES, GOOD, "b").is_promised
    assert len(run.learnt) == 30


def test_decide__without_enough_regions_for_another_sample() -> None:
    run = Run(replace(SETTINGS, sample=SIZE - 20))
    assert run.test(SCORES, BAD, "a").next_sample == 0
    before = run.state
    run.draw(SCORES, "b")
    decision = run.decide()
    (promise,) = decision.promises.values()
    least = needed(0, SETTINGS.precision or 0, 1 - RISK / 4)
    assert f"the {least} that its test needs" in promise.reason and "20 regions" in promise.reason
    assert (run.state, decision.is_tested, decision.passes.any()) == (before, False, False)
    fresh = Run(replace(SETTINGS, sample=SIZE))
    fresh.draw(SCORES, "a")
    fresh.answer(GOOD, 1)
    fresh.book.is_spent = True
    with pytest.raises(AlphaClipError, match="too few for a new random sample"):
        fresh.draw(SCORES, "b")


def test_with_sample__a_given_one_is_tested_once() -> None:
    run, given = Run(replace(SETTINGS, sample="reviews")), NAMES[:60].tolist()
    run.draw(SCORES, "a", given)
    run.answer(BAD)
    assert not run.decide().is_promised
    run.book.is_spent = False
    before = run.state
    run.draw(SCORES, "a", given)
    assert run.state is before
    with pytest.raises(AlphaClipError, match="drawn before"):
        run.draw(SCORES, "b", given)
    run.draw(SCORES, "b", NAMES[30:90].tolist())
    run.answer(GOOD)
    (promise,) = run.decide().promises.values()
    assert promise.reviewed == 30, "what was tested before is not tested again"
