"""What the App is told to show, and to load again."""

import fiftyone as fo
import fiftyone.operators as foo
import pytest
from fiftyone.operators.executor import ExecutionContext, Executor

from ..conftest import plugin_module


@pytest.fixture
def grid(plugins_dir):
    return plugin_module(foo.get_operator("@alphaclip/regions/update_index"), "common.grid")


def context(dataset, view=None, **request):
    view = None if view is None else view._serialize()
    request = {"dataset_name": dataset.name, "view": view, "params": {}, **request}
    return ExecutionContext(request, executor=Executor())


def sent(ctx):
    requests = ctx.executor.to_json()["requests"]
    return [request["operator_uri"].split("/")[-1] for request in requests]


def test_show_view__closes_an_opened_picture_first(grid, shapes):
    patches = shapes.to_patches("ground_truth")
    opened = context(shapes, current_sample=shapes.first().id)
    assert len(grid.show_view(opened, patches)) == 2
    assert sent(opened) == ["close_sample", "set_view"]
    closed = context(shapes)
    grid.show_view(closed, patches)
    assert sent(closed) == ["set_view"]


def add_tag(dataset):
    dataset.tag_samples("seen")


def add_field(dataset):
    dataset.add_sample_field("extra", fo.StringField)


def save_view(dataset):
    dataset.save_view("some", dataset.limit(2))


def nothing(dataset):
    pass


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (nothing, []),
        (add_tag, ["reload_samples"]),
        (add_field, ["reload_dataset"]),
        (save_view, ["reload_dataset"]),
    ],
)
def test_reload__the_least_that_shows_a_change(grid, shapes, change, messages):
    before = grid.state(shapes)
    change(shapes)
    ctx = context(shapes)
    grid.reload(ctx, before)
    assert sent(ctx) == messages


def test_remake_patches__of_labels_that_are_gone(grid, shapes):
    patches = shapes.to_patches("ground_truth")
    assert len(patches) == 6
    sample = shapes.first()
    sample.ground_truth.detections = []
    sample.save()
    ctx = context(shapes, patches)
    grid.remake_patches(ctx)
    assert sent(ctx) == ["set_view"]
    assert len(ctx.view) == 5


def test_remake_patches__of_a_field_that_is_gone(grid, shapes):
    shapes.clone_sample_field("ground_truth", "copies")
    patches = shapes.to_patches("copies")
    serialized = patches._serialize()
    shapes.delete_sample_field("copies")
    ctx = context(shapes)
    ctx.request_params["view"] = serialized
    grid.remake_patches(ctx)
    assert sent(ctx) == ["clear_view"]


def test_remake_patches__of_no_patches(grid, shapes):
    ctx = context(shapes, shapes.limit(2))
    assert grid.remake_patches(ctx) == []
