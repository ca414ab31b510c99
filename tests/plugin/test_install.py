"""The plugin and its package, installed as people install them."""

import http.server
import json
import os
import re
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest
import release_check
import yaml

ROOT = Path(__file__).parents[2]
MANIFEST = yaml.safe_load((ROOT / "fiftyone.yml").read_text("utf-8"))
FIFTYONE = Path(sysconfig.get_path("scripts")) / "fiftyone"

LIST_OPERATORS = """
import json
import fiftyone.operators as foo, fiftyone.zoo as foz
names = [operator.name for operator in foo.list_operators() if "@alphaclip/" in operator.uri]
foz.load_zoo_model("alphaclip-nano+maskattn")
print(json.dumps([names, foo.OperatorRegistry().list_errors()]))
"""

SEARCH = """
import json, sys
import alphaclip, alphaclip.indexing as indexing, alphaclip.training
import fiftyone as fo
sample = fo.Sample(sys.argv[1], boxes=fo.Detections(detections=[
    fo.Detection(label="left", bounding_box=[0, 0, 0.5, 1]),
    fo.Detection(label="right", bounding_box=[0.5, 0, 0.5, 1]),
]))
dataset = fo.Dataset()
dataset.add_sample(sample)
index = indexing.build(dataset, "boxes", encoder="alphaclip-nano")
hits = index.search("a box", k=2)
view = dataset.to_patches("boxes").sort_by_similarity("a box", k=2, brain_key="regions")
homes = [module.__file__ for module in (alphaclip, indexing, alphaclip.training)]
print(json.dumps([hits.label_ids.tolist(), view.values("id"), homes]))
dataset.delete()
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A zip file of this checkout, laid out as a code host serves it."""
    path = tmp_path / "served" / "regions.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as stream:
        for name in checkout_files():
            stream.write(ROOT / name, f"regions-main/{name}")
    return path


@pytest.fixture
def address(archive: Path) -> Iterator[str]:
    """The archive's URL on a local web server."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=archive.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{archive.name}"
        server.shutdown()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Settings of a machine with an empty plugins folder and no package index."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    return {**os.environ, "FIFTYONE_PLUGINS_DIR": str(folder), "PIP_NO_INDEX": "1"}


@pytest.fixture
def call(tmp_path: Path, environment: dict[str, str]) -> Callable[..., str]:
    """Runs a command outside the checkout and returns what it printed."""

    def run(*command: str | Path, **extra: str) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=tmp_path,
            env={**environment, **extra},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def checkout_files() -> list[str]:
    """What a commit of everything here would hold."""
    command = [
        "git",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        ".",
        ":!.venv",
    ]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_manifest__agrees_with_the_package() -> None:
    assert MANIFEST["version"] == metadata.version("alphaclip-fiftyone")
    bounds = {bound.strip() for bound in MANIFEST["fiftyone"]["version"].split(",")}
    (required,) = [
        line
        for line in metadata.requires("alphaclip-fiftyone") or []
        if line.startswith(("fiftyone<", "fiftyone>"))
    ]
    assert bounds == set(required.removeprefix("fiftyone").split(","))


def test_plugins_download__and_requirements_that_no_stranger_meets(
    address: str, environment: dict[str, str], call: Callable[..., str]
) -> None:
    call(FIFTYONE, "plugins", "download", address)
    folder = Path(environment["FIFTYONE_PLUGINS_DIR"]) / MANIFEST["name"]
    assert (folder / "plugin" / "__init__.py").is_file()
    requirements = (FIFTYONE, "plugins", "requirements", MANIFEST["name"])
    repository = release_check.project(ROOT)["urls"]["Repository"]
    assert f"alphaclip-fiftyone @ git+{repository}@v" in call(*requirements)
    with pytest.raises(AssertionError, match=f"git clone .*{re.escape(repository)}"):
        call(*requirements, "--install", GIT_ALLOW_PROTOCOL="file")
    names, errors = json.loads(call(sys.executable, "-c", LIST_OPERATORS).splitlines()[-1])
    assert sorted(names) == sorted(
        {*MANIFEST["operators"], *MANIFEST["panels"]} - {"finish_installation"}
    )
    assert not errors


@pytest.mark.slow
def test_wheel__searches_outside_the_checkout(
    archive: Path, tmp_path: Path, call: Callable[..., str]
) -> None:
    from PIL import Image

    with zipfile.ZipFile(archive) as stream:
        stream.extractall(tmp_path / "source")
    source = tmp_path / "source" / "regions-main"
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    call(sys.executable, "-m", "pip", "install", "--no-deps", "--target", site, wheel)
    Image.linear_gradient("L").save(tmp_path / "image.png")

    assert (site / "fiftyone" / "zoo" / "models" / "manifest-alphaclip.json").is_file()
    printed = call(sys.executable, "-c", SEARCH, tmp_path / "image.png", PYTHONPATH=str(site))
    found, native, homes = json.loads(printed.splitlines()[-1])
    assert len(found) == 2
    assert found == native
    assert all(Path(home).is_relative_to(site) for home in homes)
