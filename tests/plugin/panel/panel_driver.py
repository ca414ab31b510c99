"""A panel without a browser: what its page sends, and what comes back."""

import json
from typing import Any

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators.executor import ExecutionContext, Executor

PANEL = "@alphaclip/regions/region_search"
TILES = 200


class PanelDriver:
    """Sends events as the page does, and keeps what it would keep.

    Args:
        dataset: that is open
        uri: of the panel
    """

    def __init__(self, dataset: fo.Dataset, uri: str = PANEL) -> None:
        self.dataset = dataset
        self.uri = uri
        self.panel = foo.get_operator(uri)
        self.requests: list[dict] = []
        self.view: fo.DatasetView | None = None
        self.selected: list[str] = []
        self.selected_labels: list[dict] = []
        self.answer: dict[str, Any] = {}
        self.do("on_load")

    def do(self, method: str, **params: object) -> dict[str, Any]:
        """Sends an event and returns its answer."""
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
                "panel_state": {},
            },
        }
        context = ExecutionContext(request, executor=executor, operator_uri=self.uri)
        answer = self.panel.execute(context)
        self.requests = json.loads(json.dumps(executor.to_json()["requests"], default=str))
        return json.loads(json.dumps(answer or {}, allow_nan=False))

    def search(self, words: str = "", **parts: object) -> dict[str, Any]:
        """Searches, and keeps the answer."""
        more = {name: parts.pop(name) for name in ("inside", "remember") if name in parts}
        self.answer = self.do("search", question={"words": words, **parts}, **more)
        return self.answer

    @property
    def question(self) -> dict[str, Any]:
        """The last search, as it came back."""
        return self.answer["question"]

    def tiles(self, side: int | None = None) -> list[dict[str, Any]]:
        """The first hits of the last search."""
        ranks = list(range(TILES))
        return self.do("tiles", question=self.question, ranks=ranks, side=side)["tiles"]

    @property
    def hits(self) -> list[str]:
        """Their ids."""
        return [tile["id"] for tile in self.tiles()]

    def act(self, action: str, value: str | None = None, **params: object) -> dict[str, Any]:
        """Does something to all hits, or to those of ``ids``."""
        scope = {} if "ids" in params else {"min_score": -1}
        return self.do(
            "act", question=self.question, action=action, value=value, **{**scope, **params}
        )

    def sent(self, operator: str) -> dict[str, Any]:
        """The parameters of the last message to the App of this kind."""
        found = [m["params"] for m in self.requests if m["operator_uri"].endswith(operator)]
        assert found, [m["operator_uri"] for m in self.requests]
        return found[-1]
