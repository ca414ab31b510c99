"""Makes the encoders known to FiftyOne's model zoo, in every process and without internet.

The package puts a manifest of the named models beside FiftyOne's own, so that they are there from
the installation on. All others, such as folders of one's own, are in a folder that is written into
the zoo when they are first used.

    python -m alphaclip.indexing.brain.zoo_source    prints the manifest of the package
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alphaclip.catalog.zoo import zoo_names
from alphaclip.files import parse_json, update_text

SOURCE = "alphaclip-encoders"
"""No name of a Python module: FiftyOne enters the folder's module in sys.modules under it."""

PACKAGED = "manifest-alphaclip.json"
"""FiftyOne reads all files of its folder that are called so."""

_LOADER = '''"""Written by alphaclip: loads its encoders as FiftyOne zoo models."""

from alphaclip.indexing.zoo_model import RegionModel


def download_model(model_name, model_path):
    """Nothing is downloaded: the file only marks that the model was asked for."""
    with open(model_path, "w") as stream:
        stream.write(model_name)


def load_model(model_name, model_path, **kwargs):
    """Loads an encoder by its name."""
    return RegionModel(model_name, **kwargs)
'''


def packaged_manifest() -> str:
    """The manifest of the named models, with their methods; FiftyOne makes these by their class."""
    models = [
        _entry(name)
        | {
            "license": licence,
            "default_deployment_config_dict": {
                "type": "alphaclip.indexing.zoo_model.ZooEncoder",
                "config": {"encoder": name},
            },
        }
        for name, licence in zoo_names().items()
    ]
    lines = ",\n".join(json.dumps(model) for model in models)
    return f'{{"models": [\n{lines}\n]}}\n'


def install_zoo_source(*names: str) -> Path:
    """Writes the folder that FiftyOne reads, ``<model zoo>/alphaclip-encoders``; safe to repeat.

    Encoders of these names have to be known; the named models always are, and so are those of
    earlier calls.
    """
    import fiftyone as fo

    folder = Path(fo.config.model_zoo_dir) / SOURCE
    packaged = _packaged_names()

    def with_names(manifest: str | None) -> str:
        known = dict.fromkeys([*zoo_names(), *_names(manifest), *names])
        # FiftyOne complains of what two manifests have.
        return _folder_manifest(name for name in known if name not in packaged)

    update_text(folder / "__init__.py", lambda _: _LOADER)
    update_text(folder / "manifest.json", with_names)
    return folder


def _packaged_names() -> set[str]:
    """What FiftyOne knows by the package; nothing where that is run from a clone."""
    fiftyone = find_spec("fiftyone")
    with suppress(OSError, AttributeError):
        path = Path(fiftyone.origin).parent / "zoo" / "models" / PACKAGED  # type: ignore
        return set(_names(path.read_text("utf-8")))
    return set()


def _folder_manifest(names: Iterable[str]) -> str:
    models = [
        _entry(name) | {"base_filename": f"{re.sub('[^A-Za-z0-9.-]', '_', name)}.installed"}
        for name in names
    ]
    return json.dumps({"name": SOURCE, "models": models}, indent=1)


def _names(manifest: str | None) -> list[str]:
    """Those that a manifest lists; none where it is damaged."""
    try:
        models = parse_json(manifest or "", "manifest.json")["models"]
        return [str(model["base_name"]) for model in models]
    except (ValueError, LookupError, TypeError):
        return []


def _entry(name: str) -> dict[str, Any]:
    return {
        "base_name": name,
        "description": "Alpha-CLIP region encoder, see `alphaclip models`",
        "tags": ["embeddings", "zero-shot", "clip", "alphaclip"],
        "requirements": {"packages": []},
        "date_added": "2026-11-23 00:00:00",
    }


if __name__ == "__main__":
    print(packaged_manifest(), end="")  # noqa: T201
