"""Released weights to open_clip names, on the small golden model and on wrong files."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from alphaclip.catalog.zoo import NANO_FOLDER, WEIGHTS_FILE
from alphaclip.errors import CheckpointError
from alphaclip.files import file_sha256
from alphaclip.weights import checkpoints
from alphaclip.weights.checkpoints import (
    convert_checkpoint,
    has_alpha,
    read_checkpoint,
    recognize_architecture,
    write_checkpoint,
)
from alphaclip.weights.plausibility import doubts

GOLDEN = Path(__file__).parents[2] / "golden" / "alpha_clip_reference.npz"
TINY = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 64,
    },
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 1, "layers": 1},
}  # fmt: skip


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY))
    return path


@pytest.fixture
def released() -> dict[str, Tensor]:
    """The tiny golden model, named as the released files are."""
    prefix = "tiny/state_dict/"
    with np.load(GOLDEN) as arrays:
        return {
            key.removeprefix(prefix): torch.from_numpy(arrays[key])
            for key in arrays.files
            if key.startswith(prefix)
        }


def other_spelling(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("in_proj.", "in_proj_"): tensor for name, tensor in tensors.items()}


def test_convert_checkpoint__gives_open_clip_names(released, config):
    converted = convert_checkpoint(released, config)
    assert len(converted) == len(released)
    block = "visual.transformer.resblocks.0.attn."
    assert converted[f"{block}in_proj_weight"].shape == (192, 64)
    for name, tensor in released.items():
        key = "visual." + name.replace("in_proj.", "in_proj_")
        assert torch.equal(converted[key], tensor), name


@pytest.mark.parametrize("prefix", ["module.", "visual.", "module.visual."])
def test_convert_checkpoint__prefixes_and_spellings(released, config, prefix):
    expected = convert_checkpoint(released, config)
    for tensors in (released, other_spelling(released)):
        wrapped = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
        converted = convert_checkpoint(wrapped, config)
        assert converted.keys() == expected.keys()
        assert all(torch.equal(converted[name], expected[name]) for name in expected)


def test_convert_checkpoint__whole_clip_leaves_the_text_tower_out(released, config):
    whole = {f"visual.{name}": tensor for name, tensor in released.items()}
    text = {
        "logit_scale": torch.ones(()),
        "token_embedding.weight": torch.zeros(64, 16),
        "positional_embedding": torch.zeros(8, 16),
        "transformer.resblocks.0.ln_1.weight": torch.ones(16),
    }
    assert convert_checkpoint({**whole, **text}, config).keys() == whole_names(released)
    numbers = {
        "input_resolution": torch.tensor(224),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    assert convert_checkpoint({**whole, **numbers}, config).keys() == whole_names(released)
    with pytest.raises(CheckpointError, match=r"decoder\.weight neither"):
        convert_checkpoint({**whole, "decoder.weight": torch.zeros(1)}, config)


def whole_names(released: dict[str, Tensor]) -> set[str]:
    return {f"visual.{name}" for name in other_spelling(released)}


def test_convert_checkpoint__reads_pth_and_safetensors(released, config, tmp_path):
    torch.save(released, tmp_path / "released.pth")
    save_file(released, tmp_path / "released.safetensors")
    from_pth = convert_checkpoint(tmp_path / "released.pth", config)
    from_safetensors = convert_checkpoint(str(tmp_path / "released.safetensors"), config)
    assert all(torch.equal(from_pth[name], from_safetensors[name]) for name in from_pth)


def test_convert_checkpoint__wrong_tensors_are_named(released, config):
    del released["proj"]
    released["extra"] = torch.zeros(3)
    released["conv1.weight"] = torch.zeros(64, 3, 16, 16)
    with pytest.raises(CheckpointError) as error:
        convert_checkpoint(released, config)
    message = str(error.value)
    assert "visual.proj is missing" in message
    assert "visual.extra (3,) is unexpected" in message
    assert "visual.conv1.weight has shape (64, 3, 16, 16), the model needs (64, 3, 8, 8)" in message


def test_convert_checkpoint__many_faults_are_counted(config):
    with pytest.raises(CheckpointError, match="and 28 more"):
        convert_checkpoint({}, config)


def test_convert_checkpoint__both_spellings_at_once_are_refused(released, config):
    with pytest.raises(CheckpointError, match="there twice"):
        convert_checkpoint({**released, **other_spelling(released)}, config)


def test_convert_checkpoint__not_finite_is_refused(released, config):
    released["proj"][0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r"visual\.proj not finite"):
        convert_checkpoint(released, config)


@pytest.mark.parametrize("value", [3, "text", torch.zeros(2, dtype=torch.int64)])
def test_convert_checkpoint__something_else_than_weights_is_refused(released, config, value):
    with pytest.raises(CheckpointError, match=r"epoch is .*state dict itself"):
        convert_checkpoint({**released, "epoch": value}, config)


def test_convert_checkpoint__unknown_shapes_are_refused(released):
    with pytest.raises(CheckpointError, match=r"\(64, 1, 8, 8\).*\(17, 64\).*ViT-L-14-quickgelu"):
        convert_checkpoint(released)


def test_convert_checkpoint__plain_clip_is_refused(released):
    del released["conv1_alpha.weight"]
    with pytest.raises(CheckpointError, match=r"no conv1_alpha\.weight.*`pretrained`"):
        convert_checkpoint(released)


def test_convert_checkpoint__file_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="there is no such file"):
        convert_checkpoint(tmp_path / "absent.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_convert_checkpoint__truncated_file(released, tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    save = torch.save if suffix == ".pth" else save_file
    save(released, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=rf"cut{suffix}.*again"):
        convert_checkpoint(path)


def test_convert_checkpoint__pickled_code_is_never_run(tmp_path):
    target = tmp_path / "touched"

    class Payload:
        def __reduce__(self):
            return Path.touch, (target,)

    torch.save({"proj": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="Nothing but tensors is ever loaded"):
        convert_checkpoint(tmp_path / "evil.pth")
    assert not target.exists()


def test_convert_checkpoint__pth_without_names_is_refused(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(CheckpointError, match="holds a Tensor, not named tensors"):
        convert_checkpoint(tmp_path / "tensor.pth")


@pytest.mark.parametrize(
    ("alpha", "positions", "architecture"),
    [
        ((768, 1, 16, 16), (197, 768), "ViT-B-16-quickgelu"),
        ((1024, 1, 14, 14), (257, 1024), "ViT-L-14-quickgelu"),
        ((1024, 1, 14, 14), (577, 1024), "ViT-L-14-336-quickgelu"),
    ],
)
def test_recognize_architecture__by_shapes(alpha, positions, architecture):
    tensors = {
        "visual.conv1_alpha.weight": torch.empty(alpha, device="meta"),
        "visual.positional_embedding": torch.empty(positions, device="meta"),
    }
    assert recognize_architecture(tensors, "test") == architecture


def test_write_checkpoint__round_trip(tmp_path):
    path = tmp_path / "new folder" / "model.safetensors"
    tensors = {"visual.proj": torch.randn(3, 2)}
    write_checkpoint(tensors, path, {"name": "mine", "architecture": "ViT-B-16"})
    checkpoint = read_checkpoint(path)
    assert torch.equal(checkpoint.tensors["visual.proj"], tensors["visual.proj"])
    assert checkpoint.metadata == {
        "format": "pt", "format_version": "1", "name": "mine", "architecture": "ViT-B-16",
    }  # fmt: skip
    assert checkpoint.visual_only
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_write_checkpoint__a_failure_keeps_the_former_file(tmp_path):
    path = tmp_path / "model.safetensors"
    write_checkpoint({"visual.proj": torch.zeros(2)}, path, {})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_checkpoint({"visual.proj": torch.zeros(2)}, path, {"name": 3})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_write_checkpoint__folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "model.safetensors"
    with pytest.raises(
        CheckpointError, match=r"cannot write .*model\.safetensors: .*ALPHACLIP_MOD"
    ):
        write_checkpoint({"visual.proj": torch.zeros(2)}, path, {})


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space left on device")],
)
def test_write_checkpoint__full_disk(tmp_path, monkeypatch, error):
    def fail(tensors, path, metadata):
        raise error

    monkeypatch.setattr(checkpoints, "save_file", fail)
    path = tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match=r"safetensors: No space left on device; set ALPHAC"):
        write_checkpoint({"visual.proj": torch.zeros(2)}, path, {})
    assert list(tmp_path.iterdir()) == []


def test_has_alpha__by_the_names_alone(released, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({f"visual.{name}": tensor for name, tensor in released.items()}, path)
    assert has_alpha(path)
    save_file({"visual.conv1.weight": torch.zeros(2), "conv1_alpha.weight": torch.zeros(2)}, path)
    assert not has_alpha(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        has_alpha(path)


def test_read_checkpoint__pth_is_to_be_converted_first(tmp_path):
    with pytest.raises(CheckpointError, match="alphaclip convert"):
        read_checkpoint(tmp_path / "released.pth")


def test_file_sha256__of_known_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea")


def test_checksum__no_flipped_byte_is_believed(tmp_path):
    """Wherever it is: in the tensors, their names or what the file says of itself."""
    path, tensors = tmp_path / "model.safetensors", {"visual.proj": torch.randn(5, 3)}
    tensors["visual.half"] = torch.randn(3).half()
    write_checkpoint(tensors, path, {"name": "mine", "architecture": "ViT-B-16"})
    right, content = read_checkpoint(path), path.read_bytes()
    refused = 0
    for at in range(len(content)):
        wrong = bytearray(content)
        wrong[at] ^= 4
        path.write_bytes(wrong)
        try:
            read = read_checkpoint(path)
        except CheckpointError:
            refused += 1
        else:
            assert read.metadata.items() >= right.metadata.items()
            assert all(torch.equal(read.tensors[n], tensor) for n, tensor in tensors.items())
    assert refused > len(content) - 20


def test_checksum__files_without_one_are_read(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"visual.proj": torch.ones(2)}, path, {"name": "old"})
    assert read_checkpoint(path).metadata == {"name": "old"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda name, tensor: torch.zeros_like(tensor), ["all zero", "random numbers"]),
        (lambda name, tensor: torch.randn_like(tensor), ["random numbers"]),
        (lambda name, tensor: 0.02 * torch.rand_like(tensor) - 0.01, ["random numbers"]),
        (
            lambda name, tensor: torch.zeros_like(tensor) if "alpha" in name else tensor,
            ["all zero"],
        ),
        (lambda name, tensor: tensor, []),
    ],
)
def test_doubts__of_weights_that_nobody_trained(change, words):
    nano = {
        name: tensor
        for name, tensor in read_checkpoint(NANO_FOLDER / WEIGHTS_FILE).tensors.items()
        if name.startswith("visual.")
    }
    told = doubts({name: change(name, tensor.float()) for name, tensor in nano.items()})
    assert len(told) == len(words)
    assert all(word in doubt for word, doubt in zip(words, told, strict=True))
