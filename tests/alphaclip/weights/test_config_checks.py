"""Folders of models that somebody else has made: nothing is run, and nobody is asked."""

from __future__ import annotations

import gzip
import json
import socket
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from alphaclip.catalog import zoo
from alphaclip.errors import AlphaClipError, CheckpointError, MissingWeightsError
from alphaclip.weights.architectures import build_clip, build_tokenizer, read_config, visual_shapes
from alphaclip.weights.checkpoints import write_checkpoint

VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
CONFIGS = Path(open_clip.__file__).parent / "model_configs"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("somebody was asked over the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


def config(
    folder: Path, vision: Any = (), text: Any = (), preprocess: Any = None, **more: Any
) -> Path:
    """A folder's configuration, in the Hugging Face form."""
    settings = {
        "embed_dim": 16,
        "vision_cfg": {**VISION, **dict(vision)},
        "text_cfg": {**TEXT, **dict(text)},
        **more,
    }
    path = folder / "open_clip_config.json"
    path.write_text(json.dumps({"model_cfg": settings, "preprocess_cfg": preprocess or {}}))
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_read_config__open_clips_own(path: Path) -> None:
    """As a file too; but for those whose text tower is described on the hub."""
    named = read_config(path.stem)
    if "hf_model_name" in named.settings["text_cfg"]:
        with pytest.raises(AlphaClipError, match="openclip:ARCHITECTURE/TAG"):
            read_config(path)
    else:
        assert read_config(path).settings == named.settings


CODE = {"trust_remote_code": True}
HOSTILE: dict[str, dict[str, Any]] = {
    "code of a tokenizer": {"text": {"hf_tokenizer_name": "a/b", "tokenizer_kwargs": CODE}},
    "code of no tokenizer": {"text": {"tokenizer_kwargs": CODE}},
    "a file of a tokenizer": {"text": {"tokenizer_kwargs": {"bpe_path": "/etc/passwd"}}},
    "a tokenizer that is no object": {"text": {"tokenizer_kwargs": [1]}},
    "a path of a tokenizer": {"text": {"hf_tokenizer_name": "../elsewhere"}},
    "another path of a tokenizer": {"text": {"hf_tokenizer_name": "/elsewhere"}},
    "a tower on the hub": {"text": {"hf_model_name": "roberta-base"}},
    "a tower in a folder": {"text": {"hf_model_name": "./here"}},
    "timm's hub": {"vision": {"timm_model_name": "hf-hub:timm/vit"}},
    "timm's hub, as it was": {"vision": {"timm_model_name": "hf_hub:timm/vit"}},
    "timm's folder": {"vision": {"timm_model_name": "local-dir:/elsewhere"}},
    "timm's path": {"vision": {"timm_model_name": "timm/vit"}},
    "timm's nothing": {"vision": {"timm_model_name": "no_such_model"}},
    "weights": {"pretrained": "openai"},
    "weights of a file": {"pretrained_image": "/elsewhere"},
    "a type of torch": {"cast_dtype": "float16"},
    "a device": {"vision": {"norm_kwargs": {"device": "cuda"}}},
    "options in options": {"text": {"act_kwargs": {"approximate": {"a": 1}}}},
    "another type": {"embed_dim": "16"},
    "another type of layers": {"vision": {"layers": "many"}},
    "lists in lists": {"vision": {"layers": [[1]]}},
    "a tower that is none": {"text_cfg": 7},
    "no heads": {"vision": {"head_width": 0}},
    "infinite": {"vision": {"mlp_ratio": float("inf")}},
    "huge": {"text": {"vocab_size": 10**30}},
    "two colours": {"preprocess": {"mean": [0.5, 0.5]}},
    "colours that are texts": {"preprocess": {"std": ["a", "b", "c"]}},
    "no preprocessing": {"preprocess": [1]},
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_folder__what_a_configuration_may_not_hold(tmp_path: Path, content: dict) -> None:
    path = config(tmp_path, **content)
    with pytest.raises(AlphaClipError, match=r"open_clip_config\.json"):
        build_clip(read_config(path))
    with pytest.raises(AlphaClipError, match="the given configuration"):
        build_clip(read_config(json.loads(path.read_text())))


def test_folder__weights_that_are_got_elsewhere_are_not_got(tmp_path: Path) -> None:
    vision = {"timm_model_name": "test_vit", "timm_model_pretrained": True, "image_size": 160}
    assert build_clip(read_config(config(tmp_path, vision))).visual


def make_tokenizer(folder: Path, **more: Any) -> None:
    """A tokenizer as transformers keeps it, with code that says that it was run."""
    words = {"[PAD]": 0, "[SEP]": 1, "a": 2, "cat": 3}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", **more}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    code = f"open({str(folder / 'ran')!r}, 'w')\nclass Mine: pass\n"
    (folder / "mine.py").write_text(code)


@pytest.mark.parametrize("name", ["open_clip_config.json", "small.json"])
def test_tokenizer__of_a_folder(tmp_path: Path, name: str) -> None:
    make_tokenizer(tmp_path)
    options = {"hf_tokenizer_name": "a/b", "tokenizer_kwargs": {"clean": "canonicalize"}}
    path = config(tmp_path, text=options).rename(tmp_path / name)
    assert build_tokenizer(read_config(path))(["A cat."]).tolist() == [[2, 3, 0, 0, 0, 0, 0, 0]]


def test_tokenizer__code_beside_it_is_not_run(tmp_path: Path) -> None:
    mine = {"auto_map": {"AutoTokenizer": [None, "mine.Mine"]}, "tokenizer_class": "Mine"}
    make_tokenizer(tmp_path, **mine)
    path = config(tmp_path, text={"hf_tokenizer_name": "a/b"})
    try:
        build_tokenizer(read_config(path))(["a cat"])
    except MissingWeightsError as error:
        assert "its tokenizer cannot be loaded" in str(error)
    assert not (tmp_path / "ran").exists()


def test_tokenizer__that_is_not_here(tmp_path: Path) -> None:
    path = config(tmp_path, text={"hf_tokenizer_name": "google/nothing-of-this-name"})
    with pytest.raises(MissingWeightsError, match=r"tokenizer\.json .* have to lie beside it"):
        build_tokenizer(read_config(path))


@pytest.mark.parametrize("content", [b"", b"text", gzip.compress(bytes(1 << 27)), b"\x1f\x8b\x08"])
def test_tokenizer__merges_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "merges.txt.gz").write_bytes(content)
    with pytest.raises(AlphaClipError, match=r"merges\.txt\.gz"):
        build_tokenizer(read_config(config(tmp_path)))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        '{"default_view": {"kind": "circle"}}',
        '{"default_view": {"kind": "context", "least": "x"}}',
        '{"default_view": {"colour": 1}}',
        '{"default_view": 7}',
    ],
)
def test_card__that_is_none(tmp_path: Path, text: str) -> None:
    shapes = visual_shapes(config(tmp_path))
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    write_checkpoint(tensors, tmp_path / "model.safetensors", {})
    assert zoo.resolve(str(tmp_path)).architecture.endswith("open_clip_config.json")
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"card\.json"):
        zoo.resolve(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["openclip:ViT-B-32/a", "hf-hub:a/b", "mine.json", "roberta-ViT-B-32", ""]
)
def test_file__of_an_architecture_that_is_none(tmp_path: Path, name: str) -> None:
    path = tmp_path / "mine.safetensors"
    write_checkpoint({"visual.a": torch.zeros(1)}, path, {"architecture": name})
    with pytest.raises(CheckpointError, match="none of open_clip's architectures"):
        zoo.resolve(str(path))
