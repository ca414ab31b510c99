"""Downloading a model from the App."""

import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, ExecutionError

from alphaclip.catalog.candidates import DETECTORS

from ..conftest import plugin_module

DOWNLOAD = "@alphaclip/regions/download_model"


@pytest.fixture(autouse=True)
def installed(plugins_dir, monkeypatch, tmp_path):
    """The segmenters that were downloaded, without a network."""
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path))
    names = []

    def install(name, source=None, progress=None):
        progress(f"MB of {name}", 1, 2)
        names.append(name)

    models = plugin_module(foo.get_operator(DOWNLOAD), "common.models")
    monkeypatch.setattr(models, "install_sam", install)
    return names


def fields(dataset, **params):
    request = {"dataset_name": dataset and dataset.name, "params": params}
    context = ExecutionContext(request, operator_uri=DOWNLOAD)
    return foo.get_operator(DOWNLOAD).resolve_type(context, "inputs").type.properties


def test_form__what_can_be_downloaded_with_size_and_licence(shapes):
    asked = fields(shapes, model="sam-vit-h")
    names = [choice.value for choice in asked["model"].view.choices]
    assert names[-6:-3] == ["sam-vit-b", "sam-vit-l", "sam-vit-h"]
    assert [name.partition(":")[0] for name in names[:-6]] == ["openclip"] * 3
    assert names[-3:] == [detector.name for detector in DETECTORS]
    note = asked["model_note"].view.description.replace("\\", "")
    assert "2.6 GB" in note
    assert "Licence: Apache-2.0; commercial use is allowed" in note


def test_form__no_dataset():
    assert fields(None)["refusal"].invalid


def test_run__downloads_as_a_job_of_the_dataset(shapes, installed):
    result = foo.execute_operator(DOWNLOAD, dataset=shapes, params={"model": "sam-vit-b"})
    assert (result.result, installed) == ({"model": "sam-vit-b"}, ["sam-vit-b"])
    jobs = plugin_module(foo.get_operator(DOWNLOAD), "common.jobs")
    (ended,) = jobs.jobs_of(shapes)["ended"]
    assert (ended["severity"], ended["text"]) == ("success", "sam-vit-b is here")


@pytest.mark.parametrize("model", ["sam-vit-x", "../../etc/passwd", "https://a.invalid/b", 7, None])
def test_run__only_what_is_offered(shapes, installed, model):
    with pytest.raises(ExecutionError):
        foo.execute_operator(DOWNLOAD, dataset=shapes, params={"model": model})
    assert installed == []
