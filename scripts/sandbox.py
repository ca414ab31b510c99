"""Runs a command with everything of FiftyOne kept in the clone's ``.fiftyone`` folder.

    .venv/bin/python scripts/sandbox.py alphaclip demo

Database, datasets, downloaded models, plugins and settings all lie there, so that the user's own
FiftyOne is neither read nor written. This repository's plugin is installed there, as a copy.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import database

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".fiftyone"
PLUGIN_FILES = ("fiftyone.yml", "requirements.txt", "plugin", "assets")
KEPT = ("FIFTYONE_DEFAULT_APP_ADDRESS", "FIFTYONE_DEFAULT_APP_PORT")
SETTINGS = {
    "FIFTYONE_CONFIG_PATH": "config.json",
    "FIFTYONE_APP_CONFIG_PATH": "app_config.json",
    "FIFTYONE_ANNOTATION_CONFIG_PATH": "annotation_config.json",
    "FIFTYONE_BRAIN_CONFIG_PATH": "brain_config.json",
    "FIFTYONE_EVALUATION_CONFIG_PATH": "evaluation_config.json",
    "FIFTYONE_DATABASE_DIR": "database",
    "FIFTYONE_DEFAULT_DATASET_DIR": "datasets",
    "FIFTYONE_DATASET_ZOO_DIR": "datasets",
    "FIFTYONE_MODEL_ZOO_DIR": "models",
    "FIFTYONE_PLUGINS_DIR": "plugins",
}


def isolate(folder: Path, environ: Mapping[str, str], uses_server: bool) -> dict[str, str]:
    """Returns `environ` with FiftyOne's settings replaced by ones inside `folder`.

    Args:
        folder: gets FiftyOne's database, datasets, models, plugins and settings.
        environ: the environment to start from; its other variables stay as they are.
        uses_server: whether the database is the server named by FIFTYONE_DATABASE_URI. There a
            database of the folder's own name is used and nothing else is touched. Otherwise the
            server is not used, even if it is named.
    """
    isolated = {
        name: value
        for name, value in environ.items()
        if not name.startswith("FIFTYONE_") or name in KEPT
    }
    isolated |= {name: str(folder / place) for name, place in SETTINGS.items()}
    isolated["FIFTYONE_DO_NOT_TRACK"] = "true"
    if uses_server:
        isolated["FIFTYONE_DATABASE_URI"] = environ["FIFTYONE_DATABASE_URI"]
        isolated["FIFTYONE_DATABASE_ADMIN"] = "false"
        digest = hashlib.sha256(str(folder).encode()).hexdigest()
        isolated["FIFTYONE_DATABASE_NAME"] = f"alphaclip-{digest[:12]}"
    return isolated


def uses_server() -> bool:
    """Whether the database of this environment is the one named by FIFTYONE_DATABASE_URI."""
    return database.choose_branch(database.inspect(Path(sys.executable))) is database.Branch.URI


def install_plugin(root: Path, plugins: Path) -> Path:
    """Copies the plugin in `root` into the folder `plugins`, anew each time.

    Returns:
        The plugin's folder.
    """
    place = plugins / "alphaclip-regions"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in PLUGIN_FILES:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, place / name)
    return place


def main(command: list[str]) -> None:
    """Replaces this process by the command, with FiftyOne isolated."""
    if not command:
        sys.exit("sandbox.py: name the command to run, for example: sandbox.py alphaclip demo")
    environ = isolate(FOLDER, os.environ, uses_server())
    install_plugin(ROOT, Path(environ["FIFTYONE_PLUGINS_DIR"]))
    os.execvpe(command[0], command, environ)


if __name__ == "__main__":
    main(sys.argv[1:])
