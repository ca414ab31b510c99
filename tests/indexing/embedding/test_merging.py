"""A plan becomes a version: what holds is kept, what is edited is made again, what is gone goes."""

from pathlib import Path

import numpy as np
import pytest
import soak

from alphaclip import files
from alphaclip.files import file_sha256
from alphaclip.indexing.dataset.labels import Skipped
from alphaclip.indexing.embedding.label_reader import TWICE, LabelledPicture, region_stamp
from alphaclip.indexing.embedding.merging import MergeReport, held_rows, merge
from alphaclip.indexing.embedding.plans import Plan, PlanError, make_plan
from alphaclip.indexing.embedding.shards import embed_shards
from alphaclip.indexing.store import segments
from alphaclip.indexing.store.segments import RowIds, as_text
from alphaclip.indexing.store.store import StoreWriter, open_store, writing
from alphaclip.regions.region import Region

vector_of = soak.fault_job.vector_of
Boxes = dict[str, float]
"""Where the boxes of a picture begin, by label id."""


def region(left: float) -> Region:
    return Region.from_box([left, 0.1, 0.3, 0.4])


class Set:
    """Pictures with boxes, and an index of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures: dict[str, tuple[str, list[tuple[str, float]]]] = {}
        self.unreachable: set[str] = set()
        self.encoder = "e"
        self.field = "f"

    def set(self, name: str, boxes: Boxes, text: str = "") -> None:
        self.pictures[name] = (text or name, list(boxes.items()))

    def plan(self, writer: StoreWriter) -> Plan:
        settings = {"field": self.field, "fingerprint": self.encoder}
        held = held_rows(writer.base, settings)
        planned = [self._planned(name) for name in self.pictures]
        return make_plan(writer.folder / "work", planned, settings, held=held, shard_regions=2)

    def update(self) -> MergeReport:
        with writing(self.folder, mend=True) as writer:
            plan = self.plan(writer)
            embed_shards(plan, soak.fault_job.Encoder())
            return merge(writer, plan, 1.5)

    def held(self) -> dict[str, tuple[str, bytes]]:
        return soak.fault_job.held(open_store(self.folder))

    def expected(self, *names: str) -> dict[str, tuple[str, bytes]]:
        return {
            label: (name, vector_of(text, region(left)).astype(np.float16).tobytes())
            for name, (text, boxes) in self.pictures.items()
            for label, left in boxes
            if name in names or not names
        }

    def _planned(self, name: str) -> LabelledPicture:
        text, boxes = self.pictures[name]
        path = self.folder.parent / name
        path.write_text(text)
        regions = [region(left) for _, left in boxes]
        stamps = [region_stamp(each, self.encoder) for each in regions]
        stamp = None if name in self.unreachable else f"{text:_<16.16}"
        return LabelledPicture(
            name, str(path), stamp, [label for label, _ in boxes], regions, stamps
        )


@pytest.fixture
def data(tmp_path: Path) -> Set:
    data = Set(tmp_path / "store")
    data.set("one", {"a": 0.1, "b": 0.2})
    data.set("two", {"ä" * 30: 0.3})
    data.set("none", {})
    return data


def counts(report: MergeReport) -> tuple[int, ...]:
    return (report.added, report.edited, report.kept, report.gone, report.unreachable)


def test_build_and_nothing_to_do(data: Set) -> None:
    report = data.update()
    assert (report.regions, *counts(report)) == (3, 3, 0, 0, 0, 0)
    assert data.held() == data.expected()
    assert not (data.folder / "work").exists()
    info = open_store(data.folder).info
    assert info["fingerprint"] == "e"
    assert (info["report"]["added"], info["report"]["seconds"]) == (3, 1.5)
    assert counts(data.update()) == (0, 0, 3, 0, 0)
    assert data.held() == data.expected()


def test_shards_are_adopted_as_they_are(data: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their files are hashed once, and not written again."""
    monkeypatch.setattr(segments, "LARGE", 1)
    hashed: list[str] = []

    def counting(path: Path) -> str:
        hashed.append(path.name)
        return file_sha256(path)

    with writing(data.folder, mend=True) as writer:
        plan = data.plan(writer)
        embed_shards(plan, soak.fault_job.Encoder())
        names = {path.name for path in (plan.folder / "data").glob("*")}
        inodes = {path.stat().st_ino for path in (plan.folder / "data").glob("*")}
        monkeypatch.setattr(files, "file_sha256", counting)
        merge(writer, plan)
    assert len(plan.shards) > 1 and data.held() == data.expected()
    assert {path.name for path in (data.folder / "data").glob("*")} == names
    assert {path.stat().st_ino for path in (data.folder / "data").glob("*")} == inodes
    vectors = [one.entry["vectors"]["file"] for one in open_store(data.folder).segments]
    assert all(hashed.count(Path(file).name) == 1 for file in vectors)


def test_edits(data: Set) -> None:
    data.update()
    data.set("one", {"a": 0.1, "b": 0.25, "c": 0.4})
    del data.pictures["two"]
    assert counts(data.update()) == (1, 1, 1, 1, 0)
    assert data.held() == data.expected()
    data.set("one", {"a": 0.1, "b": 0.25}, text="edited")
    assert counts(data.update()) == (0, 2, 0, 1, 0)
    assert data.held() == data.expected()


def test_back_and_forth(data: Set) -> None:
    """What an earlier version dropped is not taken for what is there."""
    for left in (0.2, 0.25, 0.2, 0.25):
        data.set("one", {"a": 0.1, "b": left})
        data.update()
        assert data.held() == data.expected()


def test_another_encoder(data: Set) -> None:
    data.update()
    data.encoder = "another"
    assert counts(data.update()) == (0, 3, 0, 0, 0)
    assert data.held() == data.expected()


def test_another_field(data: Set) -> None:
    """Of a field that was renamed the vectors hold."""
    data.update()
    data.field = "größe"
    assert counts(data.update()) == (0, 0, 3, 0, 0)
    assert set(open_store(data.folder).ids.fields) == {"größe".encode()}


def test_label_moves_to_another_sample(data: Set) -> None:
    data.update()
    data.pictures["again"] = data.pictures.pop("two")
    assert counts(data.update()) == (1, 0, 2, 1, 0)
    assert data.held() == data.expected()


def test_picture_out_of_reach(data: Set) -> None:
    data.update()
    before = data.expected()
    data.unreachable.add("one")
    assert counts(data.update()) == (0, 0, 3, 0, 2)
    assert data.held() == before
    data.set("one", {"a": 0.1, "b": 0.2})
    data.unreachable.clear()
    assert counts(data.update()) == (0, 0, 3, 0, 0)
    assert data.held() == before


@pytest.mark.parametrize("labels", [["a", "b", "a"], ["a", "b", "c", "d", "a"]])
def test_label_twice__in_two_pictures(tmp_path: Path, labels: list[str]) -> None:
    """In one shard and in two: each has its vector, and is not embedded again."""
    data = Set(tmp_path / "store")
    for place, label in enumerate(labels):
        data.set(f"p{place}", {label: 0.1 * place})
    for change in ((len(labels), 0, 0, 0, 0), (0, 0, len(labels), 0, 0)):
        report = data.update()
        assert counts(report) == change
        assert not report.skipped
        ids = open_store(data.folder).ids
        regions = zip(as_text(ids.sample_ids), as_text(ids.label_ids), strict=True)
        assert set(regions) == {(f"p{place}", label) for place, label in enumerate(labels)}


def test_picture_twice(tmp_path: Path) -> None:
    """As in a FiftyOne view that is joined with itself, in one shard and in two."""
    data = Set(tmp_path / "store")
    data.set("p", {"a": 0.1, "b": 0.2})
    planned = data._planned
    for _ in range(2):
        data._planned = lambda name: planned("p")  # type: ignore[method-assign]
        data.set("q", {})
        report = data.update()
        assert report.regions == 2
        assert [(each.label_id, each.reason) for each in report.skipped] == [
            ("a", TWICE),
            ("b", TWICE),
        ]


def test_label_twice__in_a_picture(tmp_path: Path) -> None:
    data = Set(tmp_path / "store")
    data.pictures["p"] = ("p", [("a", 0.1), ("a", 0.2), ("b", 0.3), ("a", 0.1)])
    for _ in range(2):
        report = data.update()
        assert report.regions == 2
        assert {each.label_id for each in report.skipped} == {"a"}
        vector = vector_of("p", region(0.1)).astype(np.float16).tobytes()
        assert data.held()["a"] == ("p", vector)


def test_nothing_wanted_any_more(data: Set) -> None:
    """An update that would drop every region refuses, and changes nothing."""
    data.update()
    held = data.held()
    data.pictures = {"none": ("none", [])}
    with pytest.raises(PlanError, match="nothing was changed, as the index would lose all its 3"):
        data.update()
    assert data.held() == held
    data.set("one", {"a": 0.1})
    assert counts(data.update()) == (0, 0, 1, 2, 0)


def test_nothing_ever_wanted(data: Set) -> None:
    data.pictures = {"none": ("none", [])}
    with pytest.raises(PlanError, match="there are no samples"):
        data.update()


def test_shards_that_are_not_done(data: Set) -> None:
    with writing(data.folder) as writer:
        plan = data.plan(writer)
        embed_shards(plan, soak.fault_job.Encoder(), plan.shards[::2])
        with pytest.raises(PlanError, match=r"1 of 2 shards of .* are not embedded"):
            merge(writer, plan)
        embed_shards(plan, soak.fault_job.Encoder(), plan.shards[1::2])
        assert merge(writer, plan).regions == 3


def test_vectors_lost_since_the_plan(data: Set) -> None:
    """The store is damaged between planning and merging: the plan counts on what is gone."""
    data.update()
    data.set("two", {"new": 0.5})
    with writing(data.folder) as writer:
        plan = data.plan(writer)
        embed_shards(plan, soak.fault_job.Encoder())
        assert writer.base is not None
        path = data.folder / writer.base.segments[0].name
    path.write_bytes(b"damaged")
    with (
        writing(data.folder, mend=True) as writer,
        pytest.raises(PlanError, match=r"2 vectors are gone that .* plan again"),
    ):
        merge(writer, plan)
    data.update()
    assert data.held() == data.expected()


def test_skipped_while_reading(data: Set) -> None:
    skipped = {"filepath": "x.png", "label_id": "x", "reason": "no area"}
    with writing(data.folder) as writer:
        settings = {"field": "f", "fingerprint": "e"}
        planned = [data._planned(name) for name in data.pictures]
        reading = {"samples": 3, "skipped": [skipped]}
        plan = make_plan(writer.folder / "work", planned, settings, reading)
        embed_shards(plan, soak.fault_job.Encoder())
        report = merge(writer, plan)
    assert report.skipped == [Skipped("x.png", "x", "no area")]
    assert open_store(data.folder).info["report"]["samples"] == 3


def test_vectors_from_elsewhere_are_not_kept(data: Set) -> None:
    with writing(data.folder) as writer:
        piece = writer.add([np.eye(1, 16)], RowIds.of(["one"], ["a"], "f"), 16, np.float32)
        writer.publish([piece], 16, np.dtype(np.float32), {"kind": "external"})
    assert counts(data.update()) == (2, 1, 0, 0, 0)
    assert data.held() == data.expected()
