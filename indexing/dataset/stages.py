"""Views that come as text: from stores, plans and records, and from what a browser sends.

FiftyOne calls whatever a stage's text names, and some stages write: so stages are checked first.
"""

from __future__ import annotations

import json
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError, brief

if TYPE_CHECKING:
    import fiftyone as fo

_REFUSED = ("Mongo", "ToTrajectories")
"""A pipeline as it is can write to any collection; the other is for videos only."""

_FRAMES: tuple[Any, ...] = (
    {"sample_frames": "dynamic", "sparse": True},
    {"sample_frames": False},
    {},
    None,
)
"""What may be said of the frames that a stage makes: more would write pictures, or metadata."""

_OPERATORS = {"$function", "$accumulator", "$where", "$out", "$merge"}
"""Of MongoDB, those that run JavaScript or write."""

_PATCHES = {"other_fields", "keep_label_lists", "include_indexes"}
"""What may be said of patches or clips that a stage makes; more would keep them as a dataset."""

_DEEPEST = 50
"""Views in views."""


def check_stages(stages: Any) -> list[dict[str, Any]]:
    """Looks whether stages are FiftyOne's own, and do nothing but choose and show samples.

    Args:
        stages: as ``DatasetView._serialize`` gives them, in JSON values; nothing of them is called

    Returns:
        the same without what FiftyOne remembers of an earlier run and would believe: a search's
        pipeline, and a generated dataset that is none

    Raises:
        AlphaClipError: if not; names the stage and what is wrong
    """
    return _checked(stages, 0)


def view_of(dataset: fo.Dataset, stages: Any) -> fo.DatasetView:
    """The view of a dataset that stages describe.

    Raises:
        AlphaClipError: see :func:`check_stages`; or they do not fit the dataset
    """
    import fiftyone as fo
    import fiftyone.core.odm as foo
    from bson import json_util

    checked = check_stages(stages)
    try:
        # A view may compare with ids and times, which are no JSON
        view = fo.DatasetView._build(dataset, json_util.loads(json.dumps(checked)))
        # Most of what a stage says is looked at when its pipeline is made, or by the database only
        samples = {"aggregate": view._dataset._sample_collection_name, "pipeline": view._pipeline()}
        command = {"explain": {**samples, "cursor": {}}, "verbosity": "queryPlanner"}
        foo.get_db_conn().command(command)
        return view
    except Exception as error:  # Each stage has errors of its own
        raise AlphaClipError(
            f"the view of {dataset.name!r} cannot be made again: {error!s:.300}"
        ) from error


def _checked(stages: Any, depth: int) -> list[dict[str, Any]]:
    if not isinstance(stages, list) or depth > _DEEPEST:
        raise AlphaClipError(f"stages of a view are {brief(stages)}: expected a list, not too deep")
    return [_checked_stage(stage, depth) for stage in stages]


def _checked_stage(stage: Any, depth: int) -> dict[str, Any]:
    import fiftyone.core.stages as fost

    own = {f"{cls.__module__}.{cls.__name__}": cls for cls in fost._STAGES}
    cls = own.get(_name(stage))
    if cls is None or cls.__name__ in _REFUSED:
        raise AlphaClipError(
            f"{brief(_name(stage))} is no stage that a view may have here: expected one of "
            "FiftyOne's own that chooses or shows samples, and no pipeline of MongoDB's"
        )
    values = _values(stage, cls)
    if cls is fost.ToFrames:
        _check_frames(values.get("config"))
        _check_values({**values, "config": None}, cls.__name__)
    else:
        _check_values(values, cls.__name__)
    if cls is fost.SortBySimilarity or not _is_generated(values.get("_state")):
        values.pop("_state", None)
    if cls is fost.Concat:
        samples = values.get("samples")
        if not isinstance(samples, dict):
            raise AlphaClipError(f"Concat has the samples {brief(samples)}: expected a view")
        values["samples"] = {**samples, "stages": _checked(samples.get("stages"), depth + 1)}
    elif cls is fost.Flatten and isinstance(values.get("stages"), dict):
        values["stages"] = _checked_stage(values["stages"], depth + 1)
    elif cls is fost.Flatten and values.get("stages") is not None:
        values["stages"] = _checked(values["stages"], depth + 1)
    return {"_cls": _name(stage), "kwargs": [list(pair) for pair in values.items()]}


def _name(stage: Any) -> str:
    return str(stage.get("_cls")) if isinstance(stage, dict) else brief(stage)


def _values(stage: dict[str, Any], cls: type) -> dict[str, Any]:
    """The arguments of a stage, by name."""
    named = [p.name for p in signature(cls).parameters.values() if p.kind != Parameter.VAR_KEYWORD]
    pairs = stage.get("kwargs")
    if not isinstance(pairs, list) or not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and pair[0] in named for pair in pairs
    ):
        raise AlphaClipError(
            f"{cls.__name__} has arguments {brief(pairs)}: expected pairs of name and value, of "
            f"{', '.join(named)}"
        )
    return dict(pairs)


def _check_frames(config: Any) -> None:
    if config not in _FRAMES:
        raise AlphaClipError(
            f"ToFrames has the config {brief(config)}, which may write pictures or metadata: "
            f"expected {brief(_FRAMES[0])}"
        )


def _check_values(values: dict[str, Any], name: str) -> None:
    words: set[str] = set()
    level: list[Any] = [values]
    while level:
        dicts = [value for value in level if isinstance(value, dict)]
        lists = [value for value in level if isinstance(value, (list, tuple))]
        # A text may be the path of a field, the parts of which become names
        words.update(part for text in level if isinstance(text, str) for part in text.split("."))
        words.update(*dicts)
        level = [v for inner in (*lists, *(d.values() for d in dicts)) for v in inner]
    if words & _OPERATORS:
        operators = ", ".join(sorted(words & _OPERATORS))
        raise AlphaClipError(f"{name} has {operators}, which would run a program or write")
    if values.get("dist_field") is not None:
        raise AlphaClipError(
            f"{name} would write the field {brief(values['dist_field'])}: leave dist_field out"
        )
    config = values.get("config")
    if config is not None and not (isinstance(config, dict) and _PATCHES.issuperset(config)):
        expected = ", ".join(sorted(_PATCHES))
        raise AlphaClipError(f"{name} has the config {brief(config)}: expected {expected} only")


def _is_generated(state: Any) -> bool:
    """Whether what FiftyOne remembers of a stage names patches, clips or frames that it has
    generated: a dataset of this name is deleted when the view is loaded anew."""
    import fiftyone.core.odm as foo

    name = state.get("name") if isinstance(state, dict) else None
    if not isinstance(name, str):
        return False
    dataset = foo.get_db_conn()["datasets"].find_one({"name": name}, {"sample_collection_name": 1})
    collection = "" if dataset is None else str(dataset["sample_collection_name"])
    return collection.startswith(("patches.", "clips.", "frames."))
