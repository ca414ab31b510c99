"""Models by name: what is refused, and why."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alphaclip import language
from alphaclip.errors import AlphaClipError


@pytest.fixture
def copied(folder_of: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model's folder to be damaged."""
    return Path(shutil.copytree(folder_of("blip"), tmp_path / "model"))


def test_load__no_such_model(tmp_path: Path) -> None:
    with pytest.raises(AlphaClipError, match="cannot be loaded as an image-text-to-text model"):
        language.load(tmp_path, device="cpu")


def test_load__weights_that_are_no_safetensors(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.unlink()
    torch.save({}, copied / "pytorch_model.bin")
    with pytest.raises(AlphaClipError, match="give one with safetensors weights"):
        language.load(copied, device="cpu")


def test_load__code_of_its_own_is_never_run(copied: Path) -> None:
    ran = copied / "ran"
    (copied / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass C: pass\n")
    config = json.loads((copied / "config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoProcessor": "own.C"}}
    (copied / "config.json").write_text(json.dumps({**config, **own}))
    with pytest.raises(AlphaClipError, match="without code of its own, which is never run"):
        language.load(copied, device="cpu")
    assert not ran.exists()


@pytest.mark.parametrize(
    ("kind", "architecture"), [("bert", "BertForMaskedLM"), ("clip", "CLIPModel")]
)
def test_load__models_of_another_kind(copied: Path, kind: str, architecture: str) -> None:
    config = {"model_type": kind, "architectures": [architecture]}
    (copied / "config.json").write_text(json.dumps(config))
    message = f"is a {architecture}, which does not take a picture and write text"
    with pytest.raises(AlphaClipError, match=message):
        language.load(copied, device="cpu")


def test_load__a_chat_model_without_its_template(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folder_of("llava"), tmp_path / "model"))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(AlphaClipError, match="this llava model has no chat template"):
        language.load(folder, device="cpu")


def test_load__without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "transformers":
            raise ModuleNotFoundError("No module named 'transformers'", name=name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AlphaClipError, match=r"alphaclip-fiftyone\[language\]"):
        language.load("anything", device="cpu")


def test_load__checks_its_arguments(copied: Path) -> None:
    with pytest.raises(AlphaClipError, match="precision is 'int8': expected one of auto, fp32"):
        language.load(copied, precision="int8")  # type: ignore[arg-type]
    with pytest.raises(AlphaClipError, match="batch_size is 0"):
        language.load(copied, batch_size=0)
    with pytest.raises(AlphaClipError, match="device is 'tpu9'"):
        language.load(copied, device="tpu9")
