"""Actions that are cut off at any step, or meet another process: each can be taken back whole."""

from collections.abc import Callable, Iterator

import fiftyone as fo
import numpy as np
import pytest

from alphaclip.indexing.act import actions
from alphaclip.indexing.act.acting import Undone, history, label, undo
from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.indexing.dataset.records import new_key
from alphaclip.indexing.labelling.writing import write
from alphaclip.indexing.retrieval.hits import Hits

STEPS = range(1, 12)


class CutOffError(Exception):
    """What a kill is here: nothing runs after it."""


@pytest.fixture
def hits(dataset: fo.Dataset) -> Hits:
    """All boxes; each picture has four."""
    ids = dataset.values("boxes.detections.id", unwind=True)
    samples = np.repeat(dataset.values("id"), 4)
    scores = np.linspace(0.9, 0.1, len(ids), dtype=np.float32)
    return Hits(samples, np.array(ids), np.full(len(ids), "boxes"), scores, scores, dataset)


def write_into(hits: Hits, into: str) -> actions.Action:
    """What a labelling run writes."""
    run = new_key()
    rest = {"label": "ant", "score": 0.5, "model": "toy", "index_version": 1, "made_of": "a"}
    answers = {region: {**rest, "run": run} for region in hits.region_ids}
    return write(hits, answers, into, run)[0]


WAYS: dict[str, Callable[[Hits], actions.Action]] = {
    "copies": lambda hits: label(hits, "ant", into="auto"),
    "copies of a run": lambda hits: write_into(hits, "auto"),
    "attributes": lambda hits: write_into(hits, "boxes.auto_label"),
}


def state(dataset: fo.Dataset) -> tuple[list[dict], list[str]]:
    """All that the database has of a dataset, but for times and fields that hold nothing."""
    dataset.reload()
    samples = dataset._sample_collection.find({}, {"last_modified_at": 0}).sort("_id", 1)
    filled = [{name: value for name, value in one.items() if value is not None} for one in samples]
    return filled, list(dataset.get_field_schema(flat=True))


def cut_off_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The process ends before the n-th change of the dataset's documents, its schema or records."""
    from fiftyone.operators import ExecutionStore

    left = step

    def counted(change: Callable) -> Callable:
        def change_or_end(*args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if not left:
                raise CutOffError
            return change(*args, **kwargs)

        return change_or_end

    for owner, name in (
        (fo.Dataset, "add_sample_field"),
        (fo.Dataset, "_bulk_write"),
        (ExecutionStore, "set"),
    ):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


def runs_cut_off(run: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Gives each step at which a run was cut off, until one comes to its end."""
    for step in STEPS:
        with monkeypatch.context() as patched:
            cut_off_at(patched, step)
            try:
                run()
            except CutOffError:
                pass
            else:
                return
        yield step
    raise AssertionError("more steps than are tried")


@pytest.mark.parametrize("way", WAYS)
def test_undo__leaves_nothing_of_what_was_cut_off(
    dataset: fo.Dataset, hits: Hits, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    before, steps = state(dataset), 0
    for _ in runs_cut_off(lambda: WAYS[way](hits), monkeypatch):
        steps += 1
        for action in history(dataset):
            if not action.undone:
                undo(dataset, action)
        assert state(dataset) == before
    assert steps >= 4


@pytest.mark.parametrize("way", WAYS)
def test_undo__that_was_cut_off_goes_on(
    dataset: fo.Dataset, hits: Hits, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    before, action, write_all = state(dataset), WAYS[way](hits), fo.Dataset._bulk_write

    def write_some(dataset: fo.Dataset, operations: list, **options: object) -> None:
        write_all(dataset, operations[:1], **options)
        raise CutOffError

    with monkeypatch.context() as patched:
        patched.setattr(fo.Dataset, "_bulk_write", write_some)
        with pytest.raises(CutOffError):
            undo(dataset, action)
    assert state(dataset) != before
    assert undo(dataset, action).restored > 0
    assert state(dataset) == before


def test_samples_in_memory__follow_what_is_written_and_undone(
    dataset: fo.Dataset, hits: Hits
) -> None:
    held = list(dataset)
    action = write_into(hits, "boxes.auto_label")
    labels = [box.auto_label for sample in held for box in sample.boxes.detections]
    assert labels == ["ant"] * len(hits)
    undo(dataset, action)
    assert not any("auto_label" in box for sample in held for box in sample.boxes.detections)


@pytest.mark.parametrize("oldest_first", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_undo__of_a_run_that_went_on_leaves_nothing_in_whatever_order(
    dataset: fo.Dataset,
    hits: Hits,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    oldest_first: bool,
) -> None:
    before = state(dataset)
    for _ in runs_cut_off(lambda: WAYS[way](hits), monkeypatch):
        WAYS[way](hits)
        done = [action for action in history(dataset) if not action.undone]
        for action in sorted(done, key=lambda one: one.id, reverse=not oldest_first):
            undo(dataset, action)
        assert state(dataset) == before


def test_undo__leaves_what_a_field_held_and_declared_before(
    dataset: fo.Dataset, hits: Hits
) -> None:
    for sample in dataset:
        sample["auto"] = fo.Detections(detections=[fo.Detection(label="mine")])
        sample.save()
    dataset.add_sample_field("auto.detections.score", fo.FloatField)
    before = state(dataset)
    action = write_into(hits, "auto")
    assert dataset.has_field("auto.detections.source_id")
    assert undo(dataset, action) == Undone(12, 0)
    assert state(dataset) == before


@pytest.mark.parametrize("way", ["copies", "copies of a run"])
def test_copies__of_two_processes_at_once_are_made_once(
    dataset: fo.Dataset, hits: Hits, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    before, others = state(dataset), []

    def begin_second(*args: object, **kwargs: object) -> actions.Action:
        """The other process reads, and writes, after this one has read."""
        if not others:
            others.append(None)
            others.append(WAYS[way](hits.take(slice(5))))
        return begin(*args, **kwargs)

    begin = actions.begin
    monkeypatch.setattr("alphaclip.indexing.act.copying.begin", begin_second)
    action = WAYS[way](hits)
    copies = dataset.values("auto.detections.source_id", unwind=True)
    assert sorted(copies) == sorted(hits.label_ids.tolist())
    assert (others[1].count, action.count, action.left) == (5, 7, 5)
    assert undo(dataset, action) == Undone(7, 0)
    assert undo(dataset, others[1]) == Undone(5, 0)
    assert state(dataset) == before


def test_copies__into_null_and_with_texts_that_mean_something_to_the_database(
    dataset: fo.Dataset, hits: Hits
) -> None:
    label(hits.take(slice(1)), "$label", into="auto")
    dataset._sample_collection.update_many({}, {"$set": {"auto": None}})
    action = label(hits, "$$ROOT", into="auto")
    assert action.count == 12
    assert dataset.count_values("auto.detections.label") == {"$$ROOT": 12}
    assert {type(value) for value in dataset.values("auto")} == {fo.Detections}


@pytest.mark.parametrize("name", ["label", "_cls", "id", "mask", "tags", "run", "a b", "", None])
def test_save_scores__into_what_has_a_meaning_is_refused(
    dataset: fo.Dataset, hits: Hits, name: str
) -> None:
    before = state(dataset)
    with pytest.raises(FieldError, match=r"meaning of its own|at most 100"):
        hits.save_scores(name)
    assert state(dataset) == before


def test_save_scores__where_numbers_belong(dataset: fo.Dataset, hits: Hits) -> None:
    for name in ("score", "confidence", "my_score"):
        hits.save_scores(name)
        values = dataset.values(f"boxes.detections.{name}", unwind=True)
        assert values == pytest.approx(hits.scores.tolist())
    dataset.add_sample_field("boxes.detections.text", fo.StringField)
    with pytest.raises(FieldError, match="is a StringField, to be written is a FloatField"):
        hits.save_scores("text")
