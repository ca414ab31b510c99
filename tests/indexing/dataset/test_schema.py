"""Fields that are declared while another thread loads the dataset anew."""

from collections.abc import Callable

import fiftyone as fo
import pytest
from fiftyone.core.dataset import _load_dataset

from alphaclip.indexing.dataset.schema import declare

PATHS = {"auto.detections.score": "FloatField", "auto.detections.run": "StringField"}


@pytest.fixture
def dataset(dataset_factory: Callable) -> fo.Dataset:
    found = dataset_factory()
    found.add_sample_field("auto", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    return found


def test_declare__attributes_of_labels(dataset: fo.Dataset) -> None:
    declare(dataset, PATHS)
    assert isinstance(dataset.get_field("auto.detections.score"), fo.FloatField)
    assert isinstance(dataset.get_field("auto.detections.run"), fo.StringField)


def test_declare__a_field_that_was_forgotten_is_loaded_again(dataset_factory: Callable) -> None:
    dataset = dataset_factory()
    read_before = _load_dataset(dataset, dataset.name, virtual=True)
    dataset.add_sample_field("auto", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    # What another thread's load does that read the database before the field was there
    dataset._doc, dataset._sample_doc_cls, _ = read_before
    assert not dataset.has_field("auto")
    declare(dataset, PATHS)
    assert all(map(dataset.has_field, PATHS))


def test_declare__what_cannot_be_is_refused(dataset: fo.Dataset) -> None:
    declare(dataset, PATHS)
    with pytest.raises(ValueError, match="score"):
        declare(dataset, {"auto.detections.score": "StringField"})
    with pytest.raises(ValueError, match="elsewhere"):
        declare(dataset, {"elsewhere.detections.score": "FloatField"})
