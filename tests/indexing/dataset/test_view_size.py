"""FiftyOne views that name more pictures than the database can be asked for."""

from collections.abc import Callable

import fiftyone as fo
import pytest

from alphaclip import indexing
from alphaclip.indexing.dataset.labels import ViewSizeError, labels_in

COUNT = 10_000
"""Of ids that take 200 KB; the database takes 16 MB, which would take long to make."""


@pytest.fixture(scope="module")
def dataset(dataset_factory: Callable) -> fo.Dataset:
    dataset = dataset_factory()
    box = fo.Detection(label="a", bounding_box=[0.1, 0.1, 0.5, 0.5])
    boxes = fo.Detections(detections=[box])
    dataset.add_sample(fo.Sample("a.png", boxes=boxes, kind=fo.Classification()))
    return dataset


@pytest.fixture(scope="module")
def large(dataset: fo.Dataset) -> fo.DatasetView:
    return dataset.exclude([f"{number:024x}" for number in range(COUNT)])


@pytest.mark.parametrize(
    "use",
    [
        lambda view, dataset: labels_in(view, dataset, "boxes"),
        lambda view, dataset: labels_in(view.select_fields("kind"), dataset, "boxes"),
        lambda view, dataset: indexing.build(view, "boxes", "alphaclip-nano", key="large"),
        lambda view, dataset: indexing.segment(view, "boxes"),
    ],
    ids=["search", "search pictures", "build", "segment"],
)
def test_a_view_that_is_too_large_is_refused(
    dataset: fo.Dataset, large: fo.DatasetView, monkeypatch: pytest.MonkeyPatch, use: Callable
) -> None:
    monkeypatch.setattr("alphaclip.indexing.dataset.labels._MOST_BYTES", 150_000)
    fields = list(dataset.get_field_schema())
    with pytest.raises(ViewSizeError, match=r"16 MB at once: .*dataset\.match_tags\(name\)"):
        use(large, dataset)
    assert list(dataset.get_field_schema()) == fields
