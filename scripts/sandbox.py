"""Runs a command with everything of FiftyOne kept in the clone's ``.fiftyone`` folder.

    .venv/bin/python scripts/sandbox.py alphaclip demo

Database, datasets, downloaded models, plugins and settings all lie there, so that the user's own
FiftyOne is neither read nor written. This repository's plugin is installed there, as a copy.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import database
from database import Branch, SetupError
from private_mongod import serve

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".fiftyone"
PLUGIN_FILES = ("fiftyone.yml", "requirements.txt", "plugin", "assets", "skills")
KEPT = ("FIFTYONE_DEFAULT_APP_ADDRESS", "FIFTYONE_DEFAULT_APP_PORT")
PLACES = {
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


@contextmanager
def sandbox(folder: Path, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Keeps a database open and yields the environment in which FiftyOne stays inside `folder`.

    Args:
        folder: gets FiftyOne's database, datasets, models, plugins and settings.
        environ: the environment to start from.

    Raises:
        SetupError: no mongod works here, or it does not start.
    """
    found = database.inspect(Path(sys.executable))
    branch = database.choose_branch(found)
    if branch is Branch.URI:
        yield isolate(folder, environ) | shared_server(folder, found.uri)
    elif branch is Branch.BUNDLED:
        with serve(found.bundled.path, folder / PLACES["FIFTYONE_DATABASE_DIR"]) as uri:
            yield isolate(folder, environ) | own_server(uri)
    else:
        raise SetupError(f"{database.describe(found, branch)}: run python3 scripts/setup_env.py")


def isolate(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns `environ` with FiftyOne's settings replaced by ones inside `folder`."""
    others = {
        name: value
        for name, value in environ.items()
        if not name.startswith("FIFTYONE_") or name in KEPT
    }
    places = {name: str(folder / place) for name, place in PLACES.items()}
    return others | places | {"FIFTYONE_DO_NOT_TRACK": "true"}


def own_server(uri: str) -> dict[str, str]:
    """Returns FiftyOne's settings for a server of the folder's own, of a version known to do."""
    return {"FIFTYONE_DATABASE_URI": uri, "FIFTYONE_DATABASE_VALIDATION": "false"}


def shared_server(folder: Path, uri: str) -> dict[str, str]:
    """Returns FiftyOne's settings for the user's server: a database of the folder's own there."""
    digest = hashlib.sha256(str(folder).encode()).hexdigest()
    return {
        "FIFTYONE_DATABASE_URI": uri,
        "FIFTYONE_DATABASE_ADMIN": "false",
        "FIFTYONE_DATABASE_NAME": f"alphaclip-{digest[:12]}",
    }


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


def run(command: list[str], environ: Mapping[str, str]) -> int:
    """Runs a command, leaves Ctrl-C to it, passes SIGTERM on, and returns its exit code."""
    process = subprocess.Popen(command, env=dict(environ))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    return process.wait()


def main(command: list[str]) -> int:
    """Runs the script and returns the command's exit code."""
    if not command:
        print("sandbox.py: name the command to run, for example: sandbox.py alphaclip demo")
        return 2
    try:
        with sandbox(FOLDER, os.environ) as environ:
            install_plugin(ROOT, Path(environ["FIFTYONE_PLUGINS_DIR"]))
            return run(command, environ)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
