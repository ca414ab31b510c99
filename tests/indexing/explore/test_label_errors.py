"""Labels that disagree with the vectors."""

import fiftyone as fo
import numpy as np
import pytest

from alphaclip import indexing
from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.decisions import decide, undecide
from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.indexing.dataset.samples import FOLDER, OBJECTS, load_sample
from alphaclip.indexing.explore.error_neighbors import error_neighbors
from alphaclip.indexing.explore.label_errors import LabelErrors, find_label_errors
from alphaclip.indexing.region_index import RegionIndex


@pytest.fixture(scope="module")
def scenes(encoder: Encoder) -> tuple[fo.Dataset, RegionIndex]:
    dataset = load_sample(FOLDER, "label-errors")
    return dataset, indexing.build(dataset, OBJECTS, encoder, key="label_errors", overwrite=True)


def found_wrong(found: LabelErrors, wrong: set[str]) -> np.ndarray:
    return np.isin(found.hits.label_ids, sorted(wrong))


def area_under_curve(found: LabelErrors, wrong: set[str]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(found_wrong(found, wrong), -found.hits.scores))


def test_find_label_errors__the_wrong_labels_of_the_sample(
    scenes: tuple[fo.Dataset, RegionIndex],
) -> None:
    dataset, index = scenes
    columns = dataset.values(
        ["objects.detections.id", "objects.detections.true_label"], unwind=True
    )
    wrong = {label for label, right in zip(*columns, strict=True) if right}
    found = find_label_errors(index, count=len(index), templates=["a drawing of {}"])
    assert found.judged_by == "texts" and found.left_out == 0
    assert str(found).startswith(f"{found.errors:,} of {len(index):,} labels are probably wrong")
    assert area_under_curve(found, wrong) > 0.97
    first = found_wrong(found, wrong)[: len(wrong)]
    assert first.mean() > 0.6
    assert found_wrong(found, wrong)[:100].sum() >= 0.9 * len(wrong)
    truth = dict(zip(*columns, strict=True))
    right = [truth[hit] for hit in found.hits.label_ids[: len(wrong)][first]]
    assert (found.suggested[: len(wrong)][first] == right).mean() > 0.7


def test_find_label_errors__random_flips(scenes: tuple[fo.Dataset, RegionIndex]) -> None:
    dataset, index = scenes
    paths = [f"objects.detections.{name}" for name in ("id", "label", "true_label")]
    ids, given, right = dataset.values(paths)
    names = [
        [new or old for old, new in zip(*labels, strict=True)]
        for labels in zip(given, right, strict=True)
    ]
    rng = np.random.default_rng(0)
    others, wrong = sorted({name for some in names for name in some}), set()
    for picture, some in enumerate(names):
        for place, name in enumerate(some):
            if rng.random() < 0.05:
                some[place] = str(rng.choice([other for other in others if other != name]))
                wrong.add(ids[picture][place])
    dataset.set_values("objects.detections.flipped", names, dynamic=True)
    found = find_label_errors(index, len(index), "flipped", templates=["a drawing of {}"])
    assert area_under_curve(found, wrong) > 0.97
    assert found_wrong(found, wrong)[: len(wrong)].mean() > 0.7
    assert found_wrong(found, wrong)[:100].sum() >= 0.9 * len(wrong)


def test_find_label_errors__only_some_are_asked_for(
    scenes: tuple[fo.Dataset, RegionIndex],
) -> None:
    _, index = scenes
    some, more = (find_label_errors(index, count, by="texts") for count in (5, 9))
    assert len(some) == len(some.given) == len(some.suggested) == len(some.is_sure) == 5
    assert some.hits.label_ids.tolist() == more.hits.label_ids[:5].tolist()
    assert (np.diff(more.hits.scores) >= 0).all()


def test_find_label_errors__bad_input(scenes: tuple[fo.Dataset, RegionIndex]) -> None:
    _, index = scenes
    with pytest.raises(AlphaClipError, match="count is 0"):
        find_label_errors(index, 0)
    with pytest.raises(AlphaClipError, match="by is 'luck'"):
        find_label_errors(index, by="luck")  # type: ignore[arg-type]
    with pytest.raises(FieldError, match=r"has 'colour'; attributes are: .*label"):
        find_label_errors(index, attribute="colour")
    with pytest.raises(FieldError, match="holds list"):
        find_label_errors(index, attribute="bounding_box")


def test_find_label_errors__not_what_was_decided(scenes: tuple[fo.Dataset, RegionIndex]) -> None:
    dataset, index = scenes
    before = find_label_errors(index, 9, by="texts")
    names = before.hits.label_ids.tolist()
    assert (before.suggested_scores >= before.hits.scores - 1e-6).all()
    assert before.suggested_scores.shape == (9,) and before.suggested_scores.max() <= 1
    decide(dataset, "label errors", {names[0]: "keep", names[3]: "cat"})
    after = find_label_errors(index, 7, by="texts")
    everything = find_label_errors(index, 9, by="texts", skip_decided=False)
    undecide(dataset, "label errors", names)
    assert after.hits.label_ids.tolist() == [names[i] for i in (1, 2, 4, 5, 6, 7, 8)]
    assert (after.errors, after.judged, len(after.is_sure)) == (before.errors, before.judged, 7)
    assert everything.hits.label_ids.tolist() == names


def test_find_label_errors__of_another_attribute(scenes: tuple[fo.Dataset, RegionIndex]) -> None:
    dataset, index = scenes
    before = find_label_errors(index, 3, "artist", by="texts")
    names = before.hits.label_ids.tolist()
    decide(dataset, "label errors", {names[0]: "keep"}, attribute="artist")
    after = find_label_errors(index, 2, "artist", by="texts")
    assert after.hits.label_ids.tolist() == names[1:]
    undecide(dataset, "label errors", names, "artist")


def test_error_neighbors__of_the_label_and_of_the_suggestion(
    scenes: tuple[fo.Dataset, RegionIndex],
) -> None:
    dataset, index = scenes
    found = find_label_errors(index, 3, by="texts")
    suspects = dict(zip(index.names(found.hits), found.suggested.tolist(), strict=True))
    told = error_neighbors(index, suspects, count=3)
    assert [one.name for one in told] == list(suspects)
    assert [one.given for one in told] == found.given.tolist()
    ids, labels = dataset.values(["objects.detections.id", "objects.detections.label"], unwind=True)
    label_of = dict(zip(ids, labels, strict=True))
    for one in told:
        for neighbors, label in ((one.of_given, one.given), (one.of_suggested, one.suggested)):
            assert len(neighbors) == min(3, labels.count(label) - (label == one.given))
            assert all(label_of[name] == label for name, _ in neighbors)
            assert one.name not in dict(neighbors)
            hits = index.search(indexing.Example(one.name), k=None)
            order = [i for i in hits.label_ids if label_of[i] == label and i != one.name]
            assert [name for name, _ in neighbors] == order[:3]
        assert len(one.likely) == 9 and one.given not in one.likely
        nearest = next(label_of[i] for i in hits.label_ids if label_of[i] != one.given)
        assert one.likely[0] == nearest
    (nobody,) = error_neighbors(index, {told[0].name: None})
    assert nobody.suggested is None and nobody.of_suggested == ()
    assert nobody.of_given == error_neighbors(index, suspects)[0].of_given
    (nobody,) = error_neighbors(index, {told[0].name: "no such class"})
    assert nobody.of_suggested == () and error_neighbors(index, {}) == []
    with pytest.raises(AlphaClipError, match="not in index"):
        error_neighbors(index, {"f" * 24: "cat"})
    with pytest.raises(FieldError, match="has 'colour'"):
        error_neighbors(index, suspects, "colour")
