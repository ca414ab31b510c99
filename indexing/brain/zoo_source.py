"""Makes the encoders known to FiftyOne's model zoo, in every process and without internet."""

from __future__ import annotations

import json
import re
from pathlib import Path

from alphaclip.files import parse_json, update_text

SOURCE = "alphaclip-encoders"
"""No name of a Python module: FiftyOne enters the folder's module in sys.modules under it."""

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


def install_zoo_source(name: str) -> Path:
    """Writes the folder that FiftyOne reads, ``<model zoo>/alphaclip-encoders``; safe to repeat.

    An encoder of this name has to be known; the named models always are, and so are those of
    earlier calls.
    """
    import fiftyone as fo

    from alphaclip.catalog.zoo import list_models

    folder = Path(fo.config.model_zoo_dir) / SOURCE

    def with_name(manifest: str | None) -> str:
        names = [*(info.name for info in list_models()), *_names(manifest), name]
        models = [_entry(name) for name in dict.fromkeys(names)]
        return json.dumps({"name": SOURCE, "models": models}, indent=1)

    update_text(folder / "__init__.py", lambda _: _LOADER)
    update_text(folder / "manifest.json", with_name)
    return folder


def _names(manifest: str | None) -> list[str]:
    """Those of earlier calls; none where the file is damaged."""
    try:
        models = parse_json(manifest or "", "manifest.json")["models"]
        return [str(model["base_name"]) for model in models]
    except (ValueError, LookupError, TypeError):
        return []


def _entry(name: str) -> dict:
    return {
        "base_name": name,
        "base_filename": f"{re.sub('[^A-Za-z0-9.-]', '_', name)}.installed",
        "description": "Alpha-CLIP region encoder, see `alphaclip models`",
        "tags": ["embeddings", "zero-shot", "clip", "alphaclip"],
        "requirements": {"packages": []},
        "date_added": "2026-11-23 00:00:00",
    }
