"""The plugin and its package, installed as people install them."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest
import release_check
import yaml

ROOT = Path(__file__).parents[2]
MANIFEST = yaml.safe_load((ROOT / "fiftyone.yml").read_text("utf-8"))

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


def call(folder: Path, *command: str | Path, **extra: str) -> str:
    """Runs a command outside the checkout and without a package index; returns what it printed."""
    environment = {**os.environ, "PIP_NO_INDEX": "1", **extra}
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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


@pytest.mark.usefixtures("plugin_anew")
def test_plugins_download__and_requirements_that_no_stranger_meets(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import fiftyone as fo
    import fiftyone.operators as foo
    import fiftyone.zoo as foz
    from fiftyone.core.cli import main

    def plugins(*words: str) -> str:
        """What FiftyOne's command prints, in this process: another one takes long to import it."""
        monkeypatch.setattr(sys, "argv", ["fiftyone", "plugins", *words])
        main()
        return capfd.readouterr().out

    monkeypatch.setattr(fo.config, "plugins_dir", str(tmp_path / "plugins"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "file")
    plugins("download", address)
    folder = tmp_path / "plugins" / MANIFEST["name"]
    assert (folder / "plugin" / "__init__.py").is_file()
    requirements = ("requirements", MANIFEST["name"])
    repository = release_check.project(ROOT)["urls"]["Repository"]
    assert f"alphaclip-fiftyone @ git+{repository}@v" in plugins(*requirements)
    with pytest.raises(Exception, match=f"git clone .*{re.escape(repository)}"):
        plugins(*requirements, "--install")
    operators = [one for one in foo.list_operators() if "@alphaclip/" in one.uri]
    assert sorted(operator.name for operator in operators) == sorted(
        {*MANIFEST["operators"], *MANIFEST["panels"]} - {"finish_installation"}
    )
    assert not foo.OperatorRegistry().list_errors()
    (home,) = {
        sys.modules[type(one).__module__].__file__.partition("/plugin/")[0] for one in operators
    }
    assert Path(home) == folder
    foz.load_zoo_model("alphaclip-nano+maskattn")


@pytest.mark.slow
def test_build__is_what_a_publication_needs_and_searches_outside_the_checkout(
    archive: Path, tmp_path: Path
) -> None:
    from PIL import Image

    with zipfile.ZipFile(archive) as stream:
        stream.extractall(tmp_path / "source")
    built = tmp_path / "built"
    assert release_check.check_build(tmp_path / "source" / "regions-main", built) == []
    assert len(list(built.iterdir())) == 2
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    install = (sys.executable, "-m", "pip", "install", "--no-deps", "--no-compile", "--target")
    call(tmp_path, *install, site, wheel)
    Image.linear_gradient("L").save(tmp_path / "image.png")

    assert (site / "fiftyone" / "zoo" / "models" / "manifest-alphaclip.json").is_file()
    search = (sys.executable, "-c", SEARCH, tmp_path / "image.png")
    printed = call(tmp_path, *search, PYTHONPATH=str(site))
    found, native, homes = json.loads(printed.splitlines()[-1])
    assert len(found) == 2
    assert found == native
    assert all(Path(home).is_relative_to(site) for home in homes)
