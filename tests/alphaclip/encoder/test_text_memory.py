"""Texts that are encoded once: in this process, and in the next."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaclip.encoder import text_memory
from alphaclip.encoder.encoder import Encoder
from alphaclip.encoder.text_memory import FILE
from alphaclip.errors import AlphaClipError

PROGRAM = """
import numpy as np
from alphaclip.encoder.encoder import Encoder

class Numbers(Encoder):
    fingerprint, dtype = "a", "float32"
    def __init__(self):
        pass
    def encode_text(self, prompts, templates=None):
        return np.array([[float(one), 1] for one in prompts], np.float32)

for start in range(0, 200, 10):
    texts = [str(n) for n in range(start, start + 20)]
    assert Numbers().recall_text(texts)[:, 0].tolist() == [float(one) for one in texts]
"""


class Toy(Encoder):
    """A text's vector is its length, and the number of templates."""

    def __init__(self, fingerprint: str = "a", dtype: str = "float32") -> None:
        self.fingerprint = fingerprint  # type: ignore[misc]
        self.dtype: Any = dtype
        self.asked: list[str] = []

    def encode_text(self, prompts: Any, templates: Any = None) -> np.ndarray:
        self.asked += prompts
        return np.array([[len(one), len(templates or ())] for one in prompts], np.float32)


@pytest.fixture(autouse=True)
def file(models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where vectors are kept; nothing is remembered yet."""
    forget(monkeypatch)
    return models / FILE


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a new process remembers: only the file."""
    monkeypatch.setattr(text_memory, "_recent", text_memory.OrderedDict())


def test_recall_text__each_text_once_in_the_order_asked() -> None:
    encoder = Toy()
    assert encoder.recall_text(["ab", "c", "ab"])[:, 0].tolist() == [2, 1, 2]
    assert encoder.recall_text(("c", "def", "ab"))[:, 0].tolist() == [1, 3, 2]
    assert encoder.asked == ["ab", "c", "def"]
    assert encoder.recall_text(["c"]).dtype == np.float32


def test_recall_text__not_for_another_encoder_precision_or_other_templates() -> None:
    encoders = [Toy(), Toy("b"), Toy(dtype="bfloat16")]
    for encoder in encoders * 2:
        encoder.recall_text(["x"])
    assert [encoder.asked for encoder in encoders] == [["x"]] * 3
    assert encoders[0].recall_text(["x"], ["{}", "a {}"]).tolist() == [[1, 2]]
    assert encoders[0].recall_text(["x"], ("{}", "a {}")).tolist() == [[1, 2]]
    assert encoders[0].asked == ["x", "x"]


def test_recall_text__by_the_next_process_and_beside_others(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Toy()
    expected = encoder.recall_text(["a secret", "b"])
    forget(monkeypatch)
    assert np.array_equal(encoder.recall_text(["b", "a secret"]), expected[::-1])
    assert encoder.asked == ["a secret", "b"]
    assert b"secret" not in file.read_bytes()
    both = [subprocess.Popen([sys.executable, "-c", PROGRAM]) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM vectors").fetchone() == (2 + 210,)


def flip(content: bytes) -> bytes:
    """Another last number in every vector."""
    one = np.array([[3, 0]], np.float32).tobytes()
    return content.replace(one, one[:4] + b"\x07" + one[5:])


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda content: content[: len(content) // 2],
        lambda content: b"no database" * 999,
        lambda content: content[:99] + b"?" * 999,
    ],
)
def test_recall_text__a_damaged_file_is_begun_anew(
    file: Path, monkeypatch: pytest.MonkeyPatch, damage: Any
) -> None:
    encoder = Toy()
    texts = [f"t{number}" for number in range(10, 60)]
    encoder.recall_text(texts)
    file.write_bytes(damage(file.read_bytes()))
    for _ in range(2):
        forget(monkeypatch)
        assert encoder.recall_text(texts).tolist() == [[3, 0]] * 50
    assert encoder.asked == texts * 2, "what was damaged is encoded again, once"


@pytest.mark.parametrize("is_busy", [True, False])
def test_recall_text__where_nothing_can_be_written(
    file: Path, monkeypatch: pytest.MonkeyPatch, is_busy: bool
) -> None:
    monkeypatch.setattr(text_memory, "_PATIENCE", 0.01)
    encoder = Toy()
    other = None
    if is_busy:
        other = sqlite3.connect(file)
        other.execute("BEGIN EXCLUSIVE")
    else:
        file.mkdir()
    for _ in range(2):
        assert encoder.recall_text(["ab"]).tolist() == [[2, 0]]
    assert encoder.asked == ["ab"], "this process remembers"
    assert file.exists()
    if other is not None:
        other.close()


def test_recall_text__what_was_not_used_for_longest_goes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.mkdir()
    monkeypatch.setattr(text_memory, "MOST_VALUES", 4)
    encoder = Toy()
    for texts in (["a", "b"], ["a"], ["cc"], ["a"], ["b"]):
        encoder.recall_text(texts)
    assert encoder.asked == ["a", "b", "cc", "b"]
    assert encoder.recall_text(["d", "e", "f", "g"]).shape == (4, 2), "more than remembered"


def test_recall_text__the_older_half_goes_from_a_full_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_memory, "MOST_BYTES", 100_000)
    encoder = Toy()
    for number in range(20):
        encoder.recall_text([f"{number} {n}" for n in range(100)])
    assert file.stat().st_size < 200_000
    forget(monkeypatch)
    encoder.asked.clear()
    encoder.recall_text(["19 5", "0 5"])
    assert encoder.asked == ["0 5"]


def test_recall_text__tells_progress_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_memory, "PART", 2)
    encoder = Toy()
    told: list[tuple[str, int, int]] = []
    for texts in (["a", "b", "c"], ["a", "d"]):
        encoder.recall_text(texts, show=lambda *one: told.append(one))
    assert told == [("prompts encoded", *n) for n in ((2, 3), (3, 3), (1, 1))]


def test_recall_text__says_what_is_wrong_beside_what_is_remembered() -> None:
    encoder = Toy()
    encoder.recall_text(["a"])
    for texts, message in (([], "no prompt"), (["a", " "], "prompt 1 is empty")):
        with pytest.raises(AlphaClipError, match=message):
            encoder.recall_text(texts)
