"""``alphaclip doctor``: what is there, and advice for what is not."""

from __future__ import annotations

from importlib.metadata import EntryPoint, version

import pytest
import torch
from safetensors.torch import save_file

from alphaclip.catalog.candidates import PE_S
from alphaclip.cli import commands, doctor, main
from alphaclip.cli.doctor import Check, run_checks

MIM = "alphaclip-vit-l14-grit1m-mim"


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("ALPHACLIP_MODELS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_checks__versions_gpu_and_weights():
    found = by_name(commands.checks())
    assert found["torch"] == Check("torch", "ok", version("torch"))
    assert found["GPU"].status == ("ok" if torch.cuda.is_available() else "warn")
    assert found["alphaclip-nano"].detail.endswith("model.safetensors")
    assert "alphaclip models" in found["models for photographs"].advice


def test_checks__models_for_photographs_of_any_kind(monkeypatch):
    monkeypatch.setattr(commands.zoo, "find_cached", lambda: [PE_S])
    found = by_name(commands.checks())["models for photographs"]
    assert (found.status, found.advice) == ("ok", "")
    assert found.detail == "openclip:PE-Core-S-16-384/meta+near+maskattn"


def test_checks__installed_checkpoint_whose_base_weights_are_missing(models):
    save_file({"visual.proj": torch.zeros(2)}, models / f"{MIM}.safetensors")
    found = by_name(commands.checks())
    assert found[MIM] == Check(MIM, "ok", str(models / f"{MIM}.safetensors"))
    assert "may not be used commercially" in found["auto"].advice
    assert found["auto"].detail.startswith(f"is {MIM}:")
    base = found["ViT-L-14-quickgelu/openai"]
    assert base.status == "warn"
    assert "hf download timm/vit_large_patch14_clip_224.openai" in base.advice


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{}"])
def test_checks__installed_checkpoint_that_is_damaged(models, content):
    (models / f"{MIM}.safetensors").write_bytes(content)
    found = by_name(commands.checks())
    assert found[MIM].status == found["auto"].status == "missing"
    assert "not a readable safetensors file" in found[MIM].detail
    assert found[MIM].advice.endswith(f"alphaclip convert FILE --as {MIM} --force")
    assert f"{MIM}.safetensors" in found["auto"].detail


def test_checks__auto_says_what_it_takes(models, monkeypatch):
    assert by_name(commands.checks())["auto"].detail.startswith("is alphaclip-nano:")
    name = "alphaclip-vit-b16-grit1m"
    save_file({"visual.proj": torch.zeros(2)}, models / f"{name}.safetensors")
    auto = by_name(commands.checks())["auto"]
    assert (auto.status, auto.detail.startswith(f"is {name}:")) == ("warn", True)
    assert "below plain CLIP" in auto.advice


def test_checks__nothing_that_auto_could_take(tmp_path, monkeypatch):
    monkeypatch.setattr("alphaclip.catalog.zoo.NANO_FOLDER", tmp_path)
    auto = by_name(commands.checks())["auto"]
    assert auto.status == "missing"
    assert "no usable model" in auto.detail


def test_checks__package_that_is_missing(monkeypatch):
    monkeypatch.setattr(commands, "_PACKAGES", ("no-such-package",))
    found = by_name(commands.checks())
    assert found["no-such-package"].advice == "pip install no-such-package"


def test_run_checks__covers_the_encoder():
    assert {"python", "torch", "alphaclip-nano"} <= by_name(run_checks()).keys()


def test_run_checks__a_house_that_fails_is_reported(monkeypatch):
    broken = EntryPoint("broken", "alphaclip.no_such_module:checks", doctor.CHECKS)
    monkeypatch.setattr(doctor, "entry_points", lambda group: [broken])
    (check,) = run_checks()
    assert (check.name, check.status) == ("broken", "missing")
    assert "no_such_module" in check.detail
    assert check.advice
    assert main(["doctor"]) == 1


def test_doctor__prints_every_check_with_its_advice(monkeypatch, capsys):
    entry = EntryPoint("encoder", "alphaclip.cli.commands:checks", doctor.CHECKS)
    monkeypatch.setattr(doctor, "entry_points", lambda group: [entry])
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for check in commands.checks():
        assert check.name in text
        assert check.advice in text
