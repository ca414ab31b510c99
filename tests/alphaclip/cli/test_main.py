"""The command ``alphaclip`` and the encoder house's subcommands."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from alphaclip import cli
from alphaclip.catalog import zoo
from alphaclip.cli import main
from alphaclip.files import file_sha256
from alphaclip.weights.architectures import visual_shapes
from alphaclip.weights.checkpoints import read_metadata

MIM_B16 = "alphaclip-vit-b16-grit1m-mim"
HEAVY = ("torch", "open_clip", "faiss", "fiftyone", "numpy")


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def released_file(tmp_path_factory) -> Path:
    """A file with the names and shapes of a released ViT-B/16 checkpoint, all zeros."""
    shapes = visual_shapes("ViT-B-16-quickgelu")
    path = tmp_path_factory.mktemp("released") / "clip_b16.pth"
    zeros = {
        name.removeprefix("visual."): torch.zeros(shape, dtype=torch.float16)
        for name, shape in shapes.items()
    }
    torch.save(zeros, path)
    return path


def test_main__help_lists_the_commands_without_heavy_imports():
    code = (
        "import sys\n"
        "from alphaclip.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.rstrip().endswith("loaded: []"), done.stdout + done.stderr
    for command in ("convert", "models", "doctor"):
        assert f"\n    {command} " in done.stdout


def test_import__is_light():
    code = f"import sys, alphaclip; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("argv", [[], ["no-such-command"], ["convert", "file.pth"]])
def test_main__wrong_usage_exits_with_2(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "usage: alphaclip" in capsys.readouterr().err


def test_main__error_is_one_line_and_status_1(capsys):
    assert main(["models", "alphaclip-vit-x14"]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("alphaclip: no model is called 'alphaclip-vit-x14'")
    assert "\n" not in error


@pytest.mark.parametrize("broken", ["alphaclip.no_such_module:add", "alphaclip.cli:no_such_name"])
def test_main__broken_entry_point_leaves_the_others_working(monkeypatch, capsys, broken):
    entries = [
        EntryPoint("broken", broken, cli.COMMANDS),
        EntryPoint("encoder", "alphaclip.cli.commands:add_parsers", cli.COMMANDS),
    ]
    monkeypatch.setattr(cli, "entry_points", lambda group: entries)
    assert main(["models"]) == 0
    captured = capsys.readouterr()
    assert "alphaclip-nano" in captured.out
    (line,) = captured.err.splitlines()
    assert f"the commands of {broken} are left out" in line
    assert "no_such_" in line.partition("left out")[2]


def test_models__table(capsys, models):
    models.mkdir()
    (models / f"{MIM_B16}.safetensors").touch()
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    status = {line.split()[0]: line.split()[1] for line in lines if line.startswith("alphaclip-")}
    assert len(status) == 9
    assert status[MIM_B16] == "installed"
    assert status["alphaclip-vit-l14-grit1m-mim"] == "-"
    (detector,) = [line for line in lines if line.startswith("google/owlv2")]
    assert detector.split()[2:5] == ["yes", "0.6", "GB"]
    assert "67.44 against 67.65" in "\n".join(lines)


def test_models__card(capsys):
    assert main(["models", MIM_B16]) == 0
    text = capsys.readouterr().out
    for words in ("drive.google.com", "CC BY-NC 4.0", "69.40", f"--as {MIM_B16}", "Not installed"):
        assert words in text
    assert main(["models", "alphaclip-nano"]) == 0
    assert "card.json" in capsys.readouterr().out


def test_models__detector(capsys, monkeypatch):
    name = "IDEA-Research/grounding-dino-tiny"
    monkeypatch.setattr("alphaclip.weights.hub.try_to_load_from_cache", lambda *names: None)
    assert main(["models", name]) == 0
    out = capsys.readouterr().out
    assert f"not here yet: alphaclip models {name} --install" in out and "Apache-2.0" in out
    monkeypatch.setattr("alphaclip.weights.hub.hub_folder", Path)
    assert main(["models", name, "--install"]) == 0
    assert capsys.readouterr().out == f"{name} is installed: it finds boxes for words\n"


def test_models__openclip_name(capsys):
    assert main(["models", "openclip:RN50-quickgelu/openai"]) == 0
    assert "RN50-quickgelu" in capsys.readouterr().out


def test_models__folder_without_alpha_channel(capsys, tmp_path):
    config = {"embed_dim": 16, "vision_cfg": {}, "text_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    save_file({"visual.proj": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert main(["models", str(tmp_path)]) == 0
    assert f"{tmp_path / 'model.safetensors'} (no alpha channel)" in capsys.readouterr().out


def test_convert__installs_with_its_provenance(released_file, capsys, models):
    assert main(["convert", str(released_file), "--as", MIM_B16]) == 0
    path = models / f"{MIM_B16}.safetensors"
    told = capsys.readouterr().out
    for words in (str(path), file_sha256(released_file), "is what you say"):
        assert words in told
    metadata = read_metadata(path)
    assert metadata["name"] == MIM_B16
    assert metadata["architecture"] == "ViT-B-16-quickgelu"
    assert metadata["source_file"] == "clip_b16.pth"
    assert metadata["source_sha256"] == file_sha256(released_file)
    assert metadata["licence"].startswith("CC BY-NC 4.0")
    assert zoo.resolve(MIM_B16).checkpoint_path == path
    assert main(["convert", str(released_file), "--as", MIM_B16]) == 1
    assert main(["convert", str(released_file), "--as", MIM_B16, "--force"]) == 0


def test_convert__weights_that_are_no_trained_ones_are_told(released_file, caplog):
    assert main(["convert", str(released_file), "--as", MIM_B16]) == 0
    for words in ("alpha convolution is all zero", "those of random numbers", "drive.google.com"):
        assert words in caplog.text


def test_convert__variant_of_another_architecture(released_file, capsys, models):
    assert main(["convert", str(released_file), "--as", "alphaclip-vit-l14-grit1m"]) == 1
    error = capsys.readouterr().err
    assert "weights for ViT-B-16-quickgelu" in error
    assert MIM_B16 in error
    assert not models.exists()


def test_convert__file_that_is_not_there(capsys):
    assert main(["convert", "absent.pth", "--as", MIM_B16]) == 1
    assert "absent.pth: there is no such file" in capsys.readouterr().err
