"""Encoders and detectors from the Hugging Face hub, which is a server of the test's own: small
random weights under real names and in real layouts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import alphaclip
from alphaclip.catalog import choices, zoo
from alphaclip.cli import main
from alphaclip.detectors.phrase_detectors import load_detector
from alphaclip.errors import AlphaClipError, MissingWeightsError
from tests.alphaclip.hub_models import save_owl, save_tiny
from tests.alphaclip.hub_server import Site, serve, use_hub

TIPS, NAFLEX = "google/tipsv2-b14", "google/siglip2-base-patch16-naflex"
DETECTOR = "google/owlv2-base-patch16-ensemble"
OWN = b'{"model_type": "own", "auto_map": {"AutoModel": "modeling_own.Own"}}'
README = "---\nlibrary_name: transformers\nlicense: apache-2.0\n---\n# A model\nlicense: other\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By repository; some of what is there is of no use here, or not to be touched."""
    made = {TIPS: "tipsv2", NAFLEX: "siglip2"}
    folders = {n: save_tiny(k, tmp_path_factory.mktemp(k)) for n, k in made.items()}
    for folder in folders.values():
        (folder / "README.md").write_text(README)
        for unused in ("pytorch_model.bin", "modeling_own.py"):
            (folder / unused).write_text("{}")
    return folders


@pytest.fixture
def site(folders: dict[str, Path]) -> Site:
    site = Site({})
    for repository, folder in folders.items():
        site.add(repository, folder)
    return site


@pytest.fixture
def hub(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serve(site) as address:
        use_hub(address, tmp_path / "hub", monkeypatch)
        yield site


def test_load__fetches_once_and_only_what_it_needs(
    hub: Site, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = alphaclip.load(f"hf:{TIPS}+maskpool", "cpu")
    assert encoder.name == f"hf:{TIPS}+maskpool"
    sent = set(hub.log)
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= sent
    assert not sent & {"pytorch_model.bin", "modeling_own.py"}
    again = hub.log.copy()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    alike = alphaclip.load(str(folders[TIPS]) + "+maskpool", "cpu")
    assert alphaclip.load(encoder.name, "cpu").fingerprint == encoder.fingerprint
    assert alike.fingerprint == encoder.fingerprint
    assert hub.log == again
    assert zoo.resolve(f"hf:{TIPS}").licence == "apache-2.0"
    with pytest.raises(
        MissingWeightsError, match=r"(?s)naflex is not on this machine.*hf download"
    ):
        alphaclip.load(f"hf:{NAFLEX}", "cpu")


def test_load__goes_on_where_it_was_cut_off(hub: Site, tmp_path: Path) -> None:
    hub.breaks_at = 100_000
    with pytest.raises(MissingWeightsError, match=r"cut off after 100,000.*goes on.*HF_ENDPOINT"):
        alphaclip.load(f"hf:{NAFLEX}", "cpu")
    hub.breaks_at = None
    alphaclip.load(f"hf:{NAFLEX}", "cpu")
    assert hub.log[-1] == "model.safetensors bytes=100000-"


def test_load__of_what_others_fetched_the_rest_is_fetched(hub: Site) -> None:
    from huggingface_hub import hf_hub_download

    for name in ("config.json", "model.safetensors"):
        hf_hub_download(TIPS, name)
    assert alphaclip.load(f"hf:{TIPS}", "cpu").encode_text(["a cat"]).shape == (1, 64)
    assert hub.log.count("model.safetensors") == 1


def test_load__weights_that_are_not_what_the_hub_states(hub: Site, tmp_path: Path) -> None:
    hub.lies = True
    with pytest.raises(MissingWeightsError, match="nothing was kept"):
        alphaclip.load(f"hf:{NAFLEX}", "cpu")
    assert not list((tmp_path / "hub").rglob("*.safetensors"))
    assert not zoo.is_here(f"hf:{NAFLEX}")


def test_load__weights_in_several_files(
    hub: Site, folders: dict[str, Path], tmp_path: Path
) -> None:
    from transformers import Tipsv2Model

    shutil.copytree(folders[TIPS], tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    model = Tipsv2Model.from_pretrained(folders[TIPS])
    model.save_pretrained(tmp_path / "model", max_shard_size="100KB")
    hub.add(TIPS, tmp_path / "model")
    ours = alphaclip.load(f"hf:{TIPS}", "cpu").fingerprint
    assert ours == alphaclip.load(str(folders[TIPS]), "cpu").fingerprint


@pytest.mark.parametrize(
    ("name", "files", "reason"),
    [
        ("hf:nobody/nothing", None, "nobody/nothing is not on this machine"),
        ("hf:no-name", {}, "expected OWNER/NAME"),
        ("hf:../x", {}, "expected OWNER/NAME"),
        ("hf:a/own", {"config.json": OWN}, r"hf:a/own is .*'own': it needs code .* never run"),
        ("hf:a/pickled", {"config.json": b"{}", "pytorch_model.bin": b""}, "others are not read"),
        ("hf:a/tuned", {"config.json": b"{}", "adapter_config.json": b""}, "it is merged into"),
        ("hf:a/clip", {"open_clip_config.json": b"{}"}, "a/clip has no config.json"),
        ("hf-hub:a/clip", {"config.json": b"{}"}, "a/clip has no open_clip_config.json"),
    ],
)  # fmt: skip
def test_load__what_is_not_there_or_cannot_be_used(
    hub: Site, name: str, files: dict[str, bytes] | None, reason: str
) -> None:
    if files:
        hub.files[name.partition(":")[2]] = {"model.safetensors": b"1", **files}
        if "pytorch_model.bin" in files:
            del hub.files[name.partition(":")[2]]["model.safetensors"]
    with pytest.raises(AlphaClipError, match=reason):
        alphaclip.load(name, "cpu")
    assert not any(entry.startswith("model.safetensors") for entry in hub.log)


def test_models__says_what_is_here_and_installs(
    hub: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", f"hf:{TIPS}"]) == 0
    assert "not here yet" in capsys.readouterr().out
    assert hub.log == []
    assert main(["models", f"hf:{TIPS}", "--install"]) == 0
    assert f"hf:{TIPS} encodes regions" in capsys.readouterr().out
    assert main(["models", f"hf:{TIPS}+maskpool"]) == 0
    said = capsys.readouterr().out
    assert "licence      apache-2.0" in said
    assert "+maskpool" in said
    main(["models"])
    rows = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if "hf:" in line
    )
    assert rows[f"hf:{TIPS}"].split()[:2] == ["installed", "yes"]
    assert rows[f"hf:{NAFLEX}"].split()[:2] == ["-", "yes"]
    assert rows["hf:facebook/metaclip-2-worldwide-huge-quickgelu"].split()[:2] == ["-", "no"]


def test_download_encoder__can_be_ended(hub: Site) -> None:
    class Ended(AlphaClipError):
        pass

    def end(what: str, done: int, total: int) -> None:
        raise Ended(what)

    with pytest.raises(Ended, match=f"MB of {TIPS}"):
        choices.download_encoder(f"hf:{TIPS}", end)
    assert not any(choice.name == f"hf:{TIPS}" for choice in choices.encoder_choices())
    choices.download_encoder(f"hf:{TIPS}")
    (choice,) = (c for c in choices.encoder_choices() if c.name == f"hf:{TIPS}")
    assert (choice.installed, choice.commercial) == (True, True)


def test_load_detector__from_the_hub(hub: Site, tmp_path: Path) -> None:
    hub.add(DETECTOR, save_owl("owlv2", tmp_path / "owl"))
    hub.breaks_at = 20_000
    with pytest.raises(MissingWeightsError, match="cut off"):
        load_detector(DETECTOR, "cpu")
    hub.breaks_at = None
    hub.lies = True
    with pytest.raises(MissingWeightsError, match="nothing was kept"):
        load_detector(DETECTOR, "cpu")
    hub.lies = False
    picture = np.zeros((32, 32, 3), np.uint8)
    theirs = load_detector(DETECTOR, "cpu").ground(picture, ["a dog"])
    assert theirs == load_detector(str(tmp_path / "owl"), "cpu").ground(picture, ["a dog"])


def test_hub_folder__by_a_mirror_and_then_offline(site: Site, tmp_path: Path) -> None:
    """As a user sets it: by the environment of a process of its own."""
    code = f"from alphaclip.weights.hub import hub_folder; print(hub_folder({NAFLEX!r}))"
    environ = {**os.environ, "HF_HUB_CACHE": str(tmp_path)}

    def run(**settings: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], env={**environ, **settings},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    with serve(site) as address:
        folder = run(HF_ENDPOINT=address, HF_HUB_OFFLINE="0")
    assert run(HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1") == folder
    assert Path(folder, "model.safetensors").is_file()
