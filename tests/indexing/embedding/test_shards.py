"""Shards are embedded once, whatever the encoder makes of them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alphaclip.indexing.dataset.labels import Skipped
from alphaclip.indexing.embedding.label_reader import LabelledPicture
from alphaclip.indexing.embedding.plans import Plan, PlanError, finished, make_plan, read_plan
from alphaclip.indexing.embedding.shards import embed_shards, shards_of
from alphaclip.indexing.store.segments import read_segment
from alphaclip.regions.region import Region

BOX = Region.from_box([0, 0, 1, 1])
SETTINGS = {"field": "f", "fingerprint": "e"}


def picture(place: int, *labels: str) -> LabelledPicture:
    stamps = [f"{place:08x}{n:08x}" for n in range(len(labels))]
    return LabelledPicture(
        f"s{place}", f"{place}.png", "0" * 16, labels, [BOX] * len(labels), stamps
    )


class Encoder:
    """Gives the number of the picture as direction; ``change`` spoils it."""

    def __init__(self, change: Callable[[str, np.ndarray, Callable], object] | None = None) -> None:
        self.encoded: list[str] = []
        self._change = change

    def encode_many(
        self,
        items: Iterable[tuple[str, Sequence[Region]]],
        on_error: Callable | None = None,
        apart: object = (),
    ) -> Iterator[np.ndarray]:
        for place, (path, regions) in enumerate(items):
            self.encoded.append(path)
            angle = float(path.removesuffix(".png"))
            rows = np.tile(np.array([np.cos(angle), np.sin(angle)], np.float32), (len(regions), 1))
            if self._change:
                self._change(path, rows, self._reporter(place, on_error))
            yield rows

    def _reporter(self, item: int, on_error: Callable | None) -> Callable:
        def report(region: int | None, reason: str) -> None:
            assert on_error is not None
            on_error(SimpleNamespace(item=item, region=region, error=ValueError(reason)))

        return report


@pytest.fixture(params=[False, True], ids=["memory", "files"])
def plan(tmp_path: Path, request: pytest.FixtureRequest) -> Plan:
    """Five shards of one picture and two regions each."""
    pictures = [picture(place, f"{place}a", f"{place}b") for place in range(5)]
    made = make_plan(tmp_path, pictures, SETTINGS, shard_regions=2, to_files=request.param)
    return read_plan(tmp_path) if request.param else made


def entries(plan: Plan) -> list[dict]:
    results = [finished(plan, shard) for shard in plan.shards]
    return [result.entry for result in results if result and result.entry]


def labels_of(plan: Plan, place: int = 0) -> list[str]:
    result = finished(plan, plan.shards[place])
    if result is None or result.entry is None:
        return []
    segment = read_segment(plan.folder, result.entry)
    return [label.decode() for label in segment.ids.label_ids]


def test_embedded_once(plan: Plan) -> None:
    encoder = Encoder()
    told: list[tuple[str, int, int]] = []
    assert embed_shards(plan, encoder, progress=lambda *counts: told.append(counts)) == 10
    assert told[-1] == ("regions embedded", 10, 10)
    assert told == sorted(told)
    assert encoder.encoded == [f"{place}.png" for place in range(5)]
    assert embed_shards(plan, encoder) == 0
    assert len(encoder.encoded) == 5
    assert [labels_of(plan, place) for place in range(5)] == [[f"{n}a", f"{n}b"] for n in range(5)]
    segment = read_segment(plan.folder, entries(plan)[2])
    assert segment.vectors.dtype == np.float16
    assert np.allclose(segment.vectors[:], [np.cos(2), np.sin(2)], atol=1e-3)
    assert segment.ids.sample_ids.tolist() == [b"s2"] * 2
    assert segment.ids.fingerprints[1] == b"0" * 16 + b"0000000200000001"


def test_parts(plan: Plan) -> None:
    encoder = Encoder()
    assert embed_shards(plan, encoder, shards_of(plan, (2, 3))) == 4
    assert encoder.encoded == ["1.png", "4.png"]
    assert len(entries(plan)) == 2
    parts = [shards_of(plan, (place, 7)) for place in range(1, 8)]
    assert [len(part) for part in parts] == [1, 1, 1, 1, 1, 0, 0]
    assert sorted(shard["file"] for part in parts for shard in part) == [
        shard["file"] for shard in plan.shards
    ]
    assert embed_shards(plan, encoder, shards_of(plan, (7, 7))) == 0
    assert embed_shards(plan, encoder) == 6


@pytest.mark.parametrize("part", [(3, 2), (0, 2), (-1, 2), (1, 0)])
def test_no_such_part(plan: Plan, part: tuple[int, int]) -> None:
    with pytest.raises(PlanError, match=f"shard is {part[0]}/{part[1]}: expected i/n"):
        shards_of(plan, part)


def test_failures(tmp_path: Path) -> None:
    def spoil(path: str, rows: np.ndarray, report: Callable) -> None:
        if path == "0.png":
            rows[:] = np.nan
            report(None, "no picture")
        if path == "1.png":
            rows[1] = np.nan
            report(1, "no area")
        if path == "2.png":
            rows[0] = np.inf

    pictures = [picture(place, f"{place}a", f"{place}b") for place in range(3)]
    plan = make_plan(tmp_path, pictures, SETTINGS)
    assert embed_shards(plan, Encoder(spoil)) == 2
    assert labels_of(plan) == ["1a", "2b"]
    result = finished(plan, plan.shards[0])
    assert result is not None
    assert result.skipped == [
        Skipped("0.png", "", "no picture"),
        Skipped("1.png", "1b", "no area"),
        Skipped("2.png", "2a", "its vector is not finite"),
    ]


def test_nothing_usable(plan: Plan) -> None:
    def spoil(path: str, rows: np.ndarray, report: Callable) -> None:
        rows[:] = np.nan
        report(None, "no picture")

    assert embed_shards(plan, Encoder(spoil)) == 0
    assert entries(plan) == []
    assert embed_shards(plan, Encoder()) == 0
    result = finished(plan, plan.shards[0])
    assert result is not None
    assert result.entry is None


def test_label_twice(tmp_path: Path) -> None:
    plan = make_plan(
        tmp_path, [picture(0, "a", "b", "a"), picture(1, "b"), picture(2, "c")], SETTINGS
    )
    assert embed_shards(plan, Encoder()) == 4
    assert labels_of(plan) == ["a", "b", "b", "c"]
    result = finished(plan, plan.shards[0])
    assert result is not None
    reason = "its id occurs twice: a region has one vector"
    assert result.skipped == [Skipped("0.png", "a", reason)]


class Short(Encoder):
    """Leaves out the last picture."""

    def encode_many(
        self,
        items: Iterable[tuple[str, Sequence[Region]]],
        on_error: Callable | None = None,
        apart: object = (),
    ) -> Iterator[np.ndarray]:
        return super().encode_many(list(items)[:-1], on_error)


class Fewer(Encoder):
    """Leaves out the last region of each picture."""

    def encode_many(
        self,
        items: Iterable[tuple[str, Sequence[Region]]],
        on_error: Callable | None = None,
        apart: object = (),
    ) -> Iterator[np.ndarray]:
        return (rows[:-1] for rows in super().encode_many(items, on_error))


@pytest.mark.parametrize(
    ("encoder", "message", "whole"),
    [(Short, r"4\.png: the encoder gave no vectors", 4), (Fewer, "1 vectors of 2 regions", 0)],
)
def test_encoder_that_leaves_out(
    plan: Plan, encoder: type[Encoder], message: str, whole: int
) -> None:
    with pytest.raises(PlanError, match=message):
        embed_shards(plan, encoder())
    assert len(entries(plan)) == whole


class Ahead(Encoder):
    """Looks at several pictures before it gives the vectors of one, as a real encoder does."""

    def encode_many(
        self,
        items: Iterable[tuple[str, Sequence[Region]]],
        on_error: Callable | None = None,
        apart: object = (),
    ) -> Iterator[np.ndarray]:
        waiting: deque[np.ndarray] = deque()
        for rows in super().encode_many(items, on_error):
            waiting.append(rows)
            if len(waiting) > 3:
                yield waiting.popleft()
        yield from waiting


def test_encoder_that_looks_ahead_of_a_shard(tmp_path: Path) -> None:
    def spoil(path: str, rows: np.ndarray, report: Callable) -> None:
        if path in ("1.png", "3.png"):
            rows[:] = np.nan
            report(None if path == "1.png" else 1, "no picture")

    pictures = [picture(place, f"{place}a", f"{place}b") for place in range(6)]
    plan = make_plan(tmp_path, pictures, SETTINGS, shard_regions=2)
    embed_shards(plan, Encoder(), shards_of(plan, (3, 6)))
    told: list[tuple[str, int, int]] = []
    encoder, after = Ahead(spoil), []
    embedded = embed_shards(
        plan,
        encoder,
        progress=lambda *counts: told.append(counts),
        after_shard=lambda: after.append(len(encoder.encoded)),
    )
    assert embedded == 6
    assert after == [4, 5, 5, 5, 5], "the next are sent before a shard is done"
    assert told == sorted(told) and told[-1] == ("regions embedded", 12, 12)
    expected = [["0a", "0b"], [], ["2a", "2b"], [], ["4a", "4b"], ["5a", "5b"]]
    assert [labels_of(plan, place) for place in range(6)] == expected
    skipped = [finished(plan, shard).skipped for shard in plan.shards]  # type: ignore[union-attr]
    assert skipped[1] == [Skipped("1.png", "", "no picture")]
    assert skipped[3][0] == Skipped("3.png", "3b", "no picture")


def test_interrupted(plan: Plan) -> None:
    def interrupt(path: str, rows: np.ndarray, report: Callable) -> None:
        if path == "3.png":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_shards(plan, Encoder(interrupt))
    encoder = Encoder()
    assert embed_shards(plan, encoder) == 4
    assert encoder.encoded == ["3.png", "4.png"]


@pytest.mark.parametrize("kind", ["vectors", "rows", "done", "missing"])
def test_damaged_result_is_embedded_again(plan: Plan, kind: str) -> None:
    embed_shards(plan, Encoder())
    result = finished(plan, plan.shards[1])
    assert result is not None
    assert result.entry is not None
    done = plan.folder / f"done-{plan.name}-00001.json"
    path = done if kind in ("done", "missing") else plan.folder / result.entry[kind]["file"]
    if kind == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-2] + b"??")
    assert finished(plan, plan.shards[1]) is None
    encoder = Encoder()
    assert embed_shards(plan, encoder) == 2
    assert encoder.encoded == ["1.png"]
    assert labels_of(plan, 1) == ["1a", "1b"]


def test_result_of_another_shard(plan: Plan) -> None:
    embed_shards(plan, Encoder())
    one, other = (plan.folder / f"done-{plan.name}-0000{place}.json" for place in (1, 2))
    one.write_bytes(other.read_bytes())
    assert finished(plan, plan.shards[1]) is None
    assert embed_shards(plan, Encoder()) == 2
    assert labels_of(plan, 1) == ["1a", "1b"]


def test_missing_shard(plan: Plan) -> None:
    plan.regions.pop(plan.shards[2]["file"], None)
    (plan.folder / plan.shards[2]["file"]).unlink(missing_ok=True)
    with pytest.raises(PlanError, match="is missing or damaged: plan again"):
        embed_shards(plan, Encoder())
    assert len(entries(plan)) == 2
