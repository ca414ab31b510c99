"""What a panel is told of the jobs of a dataset, and going on with them."""

import json
import time

import fiftyone.operators as foo
import pytest
from fiftyone import StringField
from fiftyone.operators.executor import ExecutionContext

from alphaclip.errors import AlphaClipError
from alphaclip.indexing import build, load
from alphaclip.indexing.embedding import plans

from ..conftest import plugin_module

UPDATE = "@alphaclip/regions/update_index"
NANO = "alphaclip-nano"


class Ended(AlphaClipError):
    """What ends a build."""


@pytest.fixture
def jobs(plugins_dir, monkeypatch):
    module = plugin_module(foo.get_operator(UPDATE), "common.jobs")
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    return module


@pytest.fixture
def stopped(shapes, monkeypatch):
    """A dataset whose build was ended after three of its six regions."""

    def end(what, done, total):
        if what == "regions embedded" and done == 4:
            raise Ended

    monkeypatch.setattr(plans, "FIRST_REGIONS", 1)
    with pytest.raises(Ended):
        build(shapes, "ground_truth", NANO, progress=end)
    return shapes


def wait_for(tell):
    deadline = time.monotonic() + 60
    while not (told := tell()):
        assert time.monotonic() < deadline
    return told


def test_jobs_of__running_and_ended(jobs, shapes, drawings, monkeypatch):
    monkeypatch.setattr(jobs, "TELLING_SECONDS", 0)
    with jobs.stoppable(shapes, "regions", "Embedding regions") as job:
        job.progress("regions embedded", 1, 4)
        assert job._state["seconds_left"] is None
        job.progress("regions embedded", 2, 4)
        told = wait_for(
            lambda: [one for one in jobs.jobs_of(shapes)["running"] if one["progress"] == 0.5]
        )
        assert jobs.jobs_of(drawings) == {"running": [], "ended": [], "resumable": []}
        job.said = "All is well"

    (running,) = told
    assert running["key"], running["title"] == ("regions", "Embedding regions")
    assert running["label"] == "2 of 4 regions embedded"
    assert running["seconds_left"] == 0
    assert running["stopping"] is False
    (ended,) = jobs.jobs_of(shapes)["ended"]
    assert (ended["key"], ended["severity"], ended["text"]) == ("regions", "success", "All is well")
    assert json.loads(json.dumps(jobs.jobs_of(shapes)))["running"] == []
    assert jobs.jobs_of(drawings)["ended"] == []
    jobs.dismiss(shapes, "regions")
    assert jobs.jobs_of(shapes)["ended"] == []


def test_jobs_of__a_new_stage_is_estimated_anew(jobs, shapes, monkeypatch):
    monkeypatch.setattr(jobs, "TELLING_SECONDS", 0)
    pace = jobs._Pace()
    assert [pace.seconds_left("samples read", share) for share in (0.0, 0.005)] == [None, None]
    assert pace.seconds_left("samples read", 1.0) == 0
    assert pace.seconds_left("regions embedded", 0.6) is None


def test_outcome__says_whether_the_dataset_has_other_fields(jobs, shapes):
    for name, reshaped in {"one": True, "two": False}.items():
        with jobs.stoppable(shapes, name, "Working"):
            if reshaped:
                shapes.add_sample_field("extra", StringField)
        assert jobs.outcome(shapes, name)["reshaped"] is reshaped


def test_resume__a_build_of_the_terminal(jobs, stopped):
    (left,) = jobs.jobs_of(stopped)["resumable"]
    assert left == {"key": "regions", "title": "Embedding regions", "done": 3, "total": 6}
    assert len(load(stopped)) == 3
    jobs.resume(stopped, "regions")
    told = wait_for(lambda: jobs.outcome(stopped, "regions"))
    assert told["severity"] == "success"
    assert told["text"].startswith("regions holds 6 regions: 6 added")
    wait_for(lambda: not jobs.running(stopped))
    assert jobs.resumable(stopped) == []


def test_resume__a_job_that_was_killed(jobs, stopped, monkeypatch):
    operator = foo.get_operator(UPDATE)
    request = {"dataset_name": stopped.name, "params": {"key": "regions"}}
    again = jobs.request_of(ExecutionContext(request), operator.uri)
    dead = {"id": "1", "key": "regions", "title": "Updating regions", "again": again}
    dead |= {"seen": time.time() - 100, "label": "", "progress": 0.5, "done": 1, "total": 2}
    jobs.jobs_store(stopped).set("running:1", dead)
    assert jobs.running(stopped) == []
    (left,) = jobs.resumable(stopped)
    assert (left["key"], left["done"], left["total"]) == ("regions", 3, 6)
    jobs.resume(stopped, "regions")
    wait_for(lambda: (jobs.outcome(stopped, "regions") or {}).get("severity") == "success")
    wait_for(lambda: not jobs.running(stopped))
    assert jobs.resumable(stopped) == []
    assert len(load(stopped)) == 6


def test_resume__nothing_to_go_on_with(jobs, shapes):
    with pytest.raises(AlphaClipError, match="nothing to go on with"):
        jobs.resume(shapes, "regions")
    with (
        jobs.stoppable(shapes, "regions", "Embedding regions"),
        pytest.raises(AlphaClipError, match="is running"),
    ):
        wait_for(lambda: jobs.running(shapes))
        jobs.resume(shapes, "regions")


def test_resumable__not_what_cannot_work(jobs, shapes):
    with (
        pytest.raises(AlphaClipError, match="no labels"),
        jobs.stoppable(shapes, "regions", "Embedding", again="{}"),
    ):
        raise AlphaClipError("no labels")
    assert jobs.resumable(shapes) == []
    assert jobs.jobs_of(shapes)["ended"][0]["severity"] == "error"


def test_request_of__what_is_no_json_cannot_be_asked_again(jobs, shapes):
    request = {"dataset_name": shapes.name, "params": {"classes": [object()]}}
    assert jobs.request_of(ExecutionContext(request), UPDATE) is None
