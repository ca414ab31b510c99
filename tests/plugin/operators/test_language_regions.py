"""A language model on the regions of an index, through the operators."""

import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, ExecutionError

from alphaclip.indexing import undo

URI = "@alphaclip/regions/"

pytestmark = pytest.mark.usefixtures("plugins_dir")


def run(dataset, name, **params):
    context = {"dataset": dataset, "params": {"key": "regions", **params}}
    return foo.execute_operator(URI + name, context).result


def form(dataset, name, **params):
    request = {"dataset_name": dataset.name, "params": {"key": "regions", **params}}
    context = ExecutionContext(request, operator_uri=URI + name)
    return foo.get_operator(URI + name).resolve_type(context, "inputs").type.properties


def values(dataset, attribute):
    return dataset.values(f"shapes.detections.{attribute}", unwind=True)


def test_describe__writes_goes_on_and_is_taken_back(embedded):
    about = run(embedded, "describe_regions", try_first=True)["about"]
    assert about == "24 regions, nothing left to ask" or about.startswith("24 regions, 0")
    assert not embedded.has_field("shapes.detections.caption")

    first = run(embedded, "describe_regions", limit=10)
    assert (first["into"], first["written"]) == ("shapes.caption", 10)
    results = run(embedded, "describe_regions")
    assert (results["answered"] + results["answered_before"], results["written"]) == (24, 14)
    assert all(values(embedded, "caption"))
    assert set(values(embedded, "caption_by")) == {results["by"]}

    undo(embedded, results["action"])
    assert sum(map(bool, values(embedded, "caption"))) == 10


def test_ask__counts_the_answers(embedded):
    ask = {"question": "is this a {label}?", "into": "checked"}
    results = run(embedded, "ask_regions", **ask)
    counts = {row["choice"]: row["regions"] for row in results["counts"]}
    assert counts.keys() <= {"yes", "no"} and sum(counts.values()) == 24
    assert set(values(embedded, "checked")) == counts.keys()
    assert all(0.5 <= score <= 1 for score in values(embedded, "checked_score"))
    assert run(embedded, "ask_regions", **ask, uncertain=True, limit=5)["answered_before"] == 5


def test_ask__of_the_current_view(embedded):
    view = embedded.limit(2)
    params = {"key": "regions", "question": "is it red?", "view_target": "CURRENT_VIEW"}
    context = {"dataset": embedded, "view": view, "params": params}
    assert foo.execute_operator(URI + "ask_regions", context).result["written"] == 4


def test_form__refuses_a_single_answer(embedded):
    prop = form(embedded, "ask_regions", choices="yes")["choices"]
    assert prop.invalid and "two or more" in prop.error_message


def test_forms__without_an_index(drawings):
    for name in ("describe_regions", "ask_regions"):
        assert "Embed regions" in form(drawings, name)["refusal"].error_message


def test_ask__says_what_is_wrong(embedded):
    with pytest.raises(ExecutionError, match=r"colour.*label"):
        run(embedded, "ask_regions", question="is the {colour} right?")
