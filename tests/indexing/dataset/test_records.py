"""Records that are kept with a dataset, also where one of them is not what was written."""

from collections.abc import Callable

import fiftyone as fo
import numpy as np
import pytest
from fiftyone.operators import ExecutionStore

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.act.acting import Undone, history, tag_samples, undo
from alphaclip.indexing.dataset.records import RecordError, Records
from alphaclip.indexing.labelling.review.runs import (
    Labelling,
    add_reviews,
    book_of,
    labelling_of,
)
from alphaclip.indexing.retrieval.hits import Hits

DAMAGED = ["{", "", 5, None, "null", "[]", "5", '"text"', "{}", '{"id": 5}', "[" * 100_000]
DAMAGED.append('{"id": "5", "kind": "strange", "count": 1}')


@pytest.fixture(scope="module")
def dataset(dataset_factory: Callable) -> fo.Dataset:
    dataset = dataset_factory()
    dataset.add_sample(fo.Sample("a.png"))
    return dataset


@pytest.fixture
def damage(dataset: fo.Dataset) -> Callable[..., None]:
    def put(name: str, key: str, content: object) -> None:
        ExecutionStore.create(f"alphaclip_{name}", dataset._doc.id).set(key, content)

    return put


def tagged(dataset: fo.Dataset, name: str) -> str:
    """The id of an action that tags the picture."""
    ids, zero = np.array([dataset.first().id]), np.zeros(1, np.float32)
    return tag_samples(Hits(ids, ids, np.array(["tags"]), zero, zero, dataset), name).id


@pytest.mark.parametrize("content", DAMAGED)
def test_history__leaves_out_what_is_damaged(
    dataset: fo.Dataset, damage: Callable, content: object
) -> None:
    first, second = tagged(dataset, "first"), tagged(dataset, "second")
    damage("actions", second, content)
    assert first in [action.id for action in history(dataset)]
    assert second not in [action.id for action in history(dataset)]
    with pytest.raises(AlphaClipError, match=r"damaged.*delete\('|has no action"):
        undo(dataset, second)
    assert undo(dataset, first) == Undone(1, 0)
    Records(dataset, "actions").delete(second)
    dataset.untag_samples("second")


@pytest.mark.parametrize("content", ["{", "5", '{"a": 1}', "[5]", '[["tags"]]'])
def test_undo__of_what_is_damaged_says_so(
    dataset: fo.Dataset, damage: Callable, content: object
) -> None:
    action = tagged(dataset, "third")
    damage("changes", f"{action}/000000", content)
    with pytest.raises(RecordError, match="damaged"):
        undo(dataset, action)
    assert not next(one for one in history(dataset) if one.id == action).undone
    dataset.untag_samples("third")


@pytest.mark.parametrize("content", ["{", "5", "[]", "{}", '{"into": 5}'])
def test_labelling__a_damaged_state_is_told(
    dataset: fo.Dataset, damage: Callable, content: object
) -> None:
    damage("labelling", "auto", content)
    with pytest.raises(RecordError, match=r"record 'auto' of 'alphaclip_labelling' is damaged"):
        labelling_of(dataset, "auto")


@pytest.mark.parametrize("content", ["{", "5", "{}", '{"reviewer": "a", "answers": 5}'])
def test_reviews__a_damaged_one_is_told(
    dataset: fo.Dataset, damage: Callable, content: object
) -> None:
    key = add_reviews(dataset, "auto", {"0": "ant"})
    assert book_of(dataset, Labelling("auto", "regions")).examples() == {"0": "ant"}
    damage("reviews", "auto/damaged", content)
    with pytest.raises(RecordError, match=r"'auto/damaged'.* is damaged"):
        book_of(dataset, Labelling("auto", "regions"))
    for each in (key, "auto/damaged"):
        Records(dataset, "reviews").delete(each)


def test_set__what_is_too_large_is_refused(dataset: fo.Dataset) -> None:
    records = Records(dataset, "actions")
    with pytest.raises(RecordError, match="17 MB, and the database holds 16 MB"):
        records.set("large", "a" * 17_000_000)
    assert records.get("large") is None


def test_read_all__in_order_those_that_begin_so(
    dataset: fo.Dataset, dataset_factory: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, other = Records(dataset, "several"), Records(dataset_factory(), "several")
    for key in ("a.b/2", "a.b/10", "axb/1", "a.b", "a.b/1"):
        records.set(key, {"key": key})
    other.set("a.b/3", {"key": "of another dataset"})
    Records(dataset, "others").set("a.b/3", {"key": "of another kind"})
    asked = []
    monkeypatch.setattr(ExecutionStore, "get", lambda self, key: asked.append(key))
    assert records.read_all("a.b/", lambda record: record["key"]) == ["a.b/1", "a.b/10", "a.b/2"]
    assert records.read_all("(", str) == []
    assert not asked
    monkeypatch.undo()
    records.set("a.b/3", {})
    with pytest.raises(RecordError, match=r"'a\.b/3' of 'alphaclip_several' is damaged"):
        records.read_all("a.b/", lambda record: record["key"])
