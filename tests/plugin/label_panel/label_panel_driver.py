"""A panel without a browser: what a click sends, and what comes back."""

import json

import fiftyone as fo
import fiftyone.operators as foo
import pydash
from fiftyone.operators.executor import ExecutionContext, Executor

PANEL = "@alphaclip/regions/label_regions_panel"


class PanelDriver:
    """Keeps what the browser would keep.

    Args:
        dataset: that is open
        uri: of the panel
    """

    def __init__(self, dataset: fo.Dataset, uri: str = PANEL) -> None:
        self.dataset = dataset
        self.uri = uri
        self.panel = foo.get_operator(uri)
        self.state: dict = {}
        self.data: dict = {}
        self.schema: dict = {}
        self.requests: list[dict] = []
        self.view: fo.DatasetView | None = None
        self.selected: list[str] = []
        self.selected_labels: list[dict] = []
        self.do("on_load")

    def do(self, method: str, **params: object) -> None:
        """Sends an event."""
        executor = Executor()
        request = {
            "dataset_name": self.dataset.name,
            "view": None if self.view is None else self.view._serialize(),
            "selected": self.selected,
            "selected_labels": self.selected_labels,
            "params": {
                **json.loads(json.dumps(params)),
                "__method__": method,
                "panel_id": "panel",
                "panel_state": json.loads(json.dumps(self.state)),
            },
        }
        context = ExecutionContext(request, executor=executor, operator_uri=self.uri)
        self.panel.execute(context)
        self.requests = json.loads(json.dumps(executor.to_json()["requests"], default=str))
        for message in self.requests:
            self._take(message["operator_uri"].split("/")[-1], message["params"])

    def get(self, path: str) -> object:
        """A value of the state."""
        return pydash.get(self.state, path)

    def sent(self, operator: str) -> dict:
        """The parameters of the last message to the App of this kind."""
        found = [m["params"] for m in self.requests if m["operator_uri"].endswith(operator)]
        assert found, [m["operator_uri"] for m in self.requests]
        return found[-1]

    def shown(self) -> list[str]:
        """The names of what the panel shows, with those in it."""
        return list(_names(self.schema["type"], ""))

    def buttons(self, method: str) -> list[dict]:
        """What the buttons that call a method send with it, from the top down."""
        return list(_buttons(self.schema["type"], method))

    def _take(self, operator: str, params: dict) -> None:
        if operator == "patch_panel_state":
            for path, value in params["state"].items():
                pydash.set_(self.state, path, value)
        elif operator == "patch_panel_data":
            for path, value in params["data"].items():
                pydash.set_(self.data, path, value)
        elif operator == "show_panel_output":
            self.schema = params["output"]


def _names(type_: dict, prefix: str):
    for name, prop in (type_.get("properties") or {}).items():
        yield prefix + name
        yield from _names(prop["type"], f"{prefix}{name}.")


def _buttons(type_: dict, method: str):
    for prop in (type_.get("properties") or {}).values():
        view = prop.get("view") or {}
        if str(view.get("operator") or view.get("on_click")).endswith(method):
            yield view["params"]
        yield from _buttons(prop["type"], method)
