"""Regions in frames of videos: embedded, searched, tagged and labelled where they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from alphaclip import Region, indexing
from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.labels import FieldError
from alphaclip.indexing.dataset.stages import view_of
from alphaclip.indexing.retrieval.hit_listing import list_hits
from alphaclip.regions.images import open_image

if TYPE_CHECKING:
    import fiftyone as fo

    from alphaclip.encoder.encoder import Encoder
    from alphaclip.indexing.region_index import RegionIndex

FRAMES, HEIGHT, WIDTH = 4, 48, 64
COLORS = ((220, 20, 20), (20, 160, 20), (30, 30, 220))
BOX = [0.25, 0.25, 0.5, 0.5]
FIELD = "frames.boxes"


def write_video(path: Path, shift: int = 0) -> None:
    """Frames with a square in the middle: red, green, blue, red, or from another on."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 5, (WIDTH, HEIGHT))
    for number in range(FRAMES):
        pixels = np.full((HEIGHT, WIDTH, 3), 240, np.uint8)
        middle = pixels[HEIGHT // 4 : 3 * HEIGHT // 4, WIDTH // 4 : 3 * WIDTH // 4]
        middle[:] = COLORS[(number + shift) % 3][::-1]
        writer.write(pixels)
    writer.release()


def labels_of_frame(number: int) -> dict[str, Any]:
    """A box, and a mask in every second frame."""
    import fiftyone as fo

    boxes = [fo.Detection(label=f"frame {number}", bounding_box=BOX)]
    if number % 2 == 0:
        mask = np.tri(12, 16, dtype=bool)
        boxes.append(fo.Detection(bounding_box=[0, 0, 0.5, 0.5], mask=mask, tags=["mask"]))
    return {"boxes": fo.Detections(detections=boxes)}


@pytest.fixture
def videos(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    """Two videos of four frames, six regions in each."""
    import fiftyone as fo

    dataset = dataset_factory("videos")
    for shift, name in enumerate(("first.avi", "second.avi")):
        write_video(tmp_path / name, shift)
        sample = fo.Sample(tmp_path / name)
        for number in range(1, FRAMES + 1):
            sample.frames[number] = fo.Frame(**labels_of_frame(number))
        dataset.add_sample(sample)
    return dataset


@pytest.fixture
def index(videos: fo.Dataset, encoder: Encoder) -> RegionIndex:
    return indexing.build(videos, FIELD, encoder)


def frame(videos: fo.Dataset, number: int) -> fo.Frame:
    return videos.first().frames[number]


def all_vectors(index: RegionIndex) -> np.ndarray:
    return index.vectors(np.arange(len(index)))


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each region is a batch: on some processors a batch of another size rounds otherwise."""
    from alphaclip.encoder.encoder import Encoder

    each = partialmethod(Encoder.encode_many, batch_size=1)
    monkeypatch.setattr(Encoder, "encode_many", each)


def numbers(hits: Any) -> list[tuple[str, int]]:
    """Video and frame of each hit."""
    names, frames = hits.view().values(["filepath", "frame_number"])
    return [(Path(name).stem, number) for name, number in zip(names, frames, strict=True)]


def test_build__vectors_are_those_of_the_frames_as_pictures(
    videos: fo.Dataset, index: RegionIndex, encoder: Encoder, dataset_factory: Callable,
    tmp_path: Path,
) -> None:  # fmt: skip
    import fiftyone as fo

    pictures = dataset_factory("pictures")
    for path in videos.values("filepath"):
        for number in range(1, FRAMES + 1):
            picture = tmp_path / f"{Path(path).stem}-{number}.png"
            Image.fromarray(open_image(f"{path}#frame={number}")).save(picture)
            pictures.add_sample(fo.Sample(picture, **labels_of_frame(number)))
    same = indexing.build(pictures, "boxes", encoder)
    assert len(index) == len(same) == 12
    assert index.info()["report"]["skipped"] == []
    assert index.ids.sample_ids.tolist()[:3] == [
        str(frame(videos, number).id).encode() for number in (1, 2, 2)
    ]
    assert np.array_equal(all_vectors(index), all_vectors(same))


def test_search__hits_open_at_their_frame(videos: fo.Dataset, index: RegionIndex) -> None:
    query = (f"{videos.first().filepath}#frame=2", Region.from_box(BOX))
    hits = index.search(query, k=2)
    assert hits.scores[1] > 0.99  # Green in both videos
    assert sorted(numbers(hits)) == [("first", 2), ("second", 1)]
    assert hits.view().values("id") == hits.label_ids.tolist()
    assert hits.view().media_type == "image"
    listed = list_hits(hits)
    assert [one.label for one in listed] == [f"frame {n}" for _, n in numbers(hits)]
    assert {one.image.rpartition("#")[2] for one in listed} == {"frame=1", "frame=2"}
    assert len(index.search(query, k=None, per_image=True)) == 2 * FRAMES


def test_search__in_views(videos: fo.Dataset, index: RegionIndex) -> None:
    from fiftyone import ViewField

    def count(view: Any) -> int:
        return len(index.search("a red square", k=None, view=view))

    frames = videos.to_frames(sample_frames="dynamic", sparse=True)
    assert count(videos) == count(frames) == 12
    assert count(videos.limit(1)) == count(videos.to_clips([[[1, FRAMES]]] * 2).limit(1)) == 6
    assert count(videos.match_frames(ViewField("frame_number") == 2)) == 4
    assert count(videos.filter_labels(FIELD, ViewField("label") == "frame 1")) == 2
    assert count(frames.match(ViewField("frame_number") > 3)) == 4
    patches = frames.filter_labels("boxes", ViewField("label") == None).to_patches("boxes")  # noqa: E711
    assert count(patches) == 4
    stages = view_of(videos, patches._serialize(include_uuids=False))
    assert count(stages) == 4


def test_every__nth_frame(videos: fo.Dataset, encoder: Encoder) -> None:
    index = indexing.build(videos, FIELD, encoder, every=3)
    hits = index.search("a red square", k=None)
    assert {number for _, number in numbers(hits)} == {1, 4}
    assert index.info()["every"] == 3
    assert index.freshness().is_fresh
    for number, box in ((2, [0, 0, 0.1, 0.1]), (4, [0, 0, 0.2, 0.2])):
        edited = frame(videos, number)
        edited.boxes.detections[0].bounding_box = box
        edited.save()
    assert str(index.changes()) == "1 edited"
    report = index.update()
    assert (report.edited, report.kept, report.regions) == (1, 5, 6)
    assert index.freshness().is_fresh


@pytest.mark.usefixtures("one_at_a_time")
def test_update__edited_frames(videos: fo.Dataset, index: RegionIndex, encoder: Encoder) -> None:
    assert index.freshness().is_fresh
    assert str(index.changes()) == ""
    edited = frame(videos, 3)
    edited.boxes.detections[0].bounding_box = [0, 0, 0.5, 0.5]
    edited.save()
    gone = frame(videos, 2)
    gone.boxes.detections.pop()
    gone.save()
    second = videos.last()
    second.frames[9] = type(gone)(**labels_of_frame(1))
    second.save()
    assert str(index.changes()) == "1 edited, 1 new, 1 removed"
    report = index.update()
    assert (report.edited, report.added, report.gone, report.kept) == (1, 0, 1, 10)
    assert "#frame=9: the video ends" in report.skipped[0].reason
    anew = indexing.build(videos, FIELD, encoder, key="anew")
    order = [index.snapshot().lookup.find(anew.ids.take(np.arange(len(anew))))]
    assert np.array_equal(all_vectors(anew), index.vectors(order[0]))


@pytest.mark.parametrize("identify", ["stat", "content"])
def test_update__video_that_was_replaced(
    videos: fo.Dataset, encoder: Encoder, identify: Any
) -> None:
    index = indexing.build(videos, FIELD, encoder, identify=identify)
    write_video(Path(videos.first().filepath), shift=2)
    report = index.update()
    assert (report.edited, report.kept) == (6, 6)
    Path(videos.last().filepath).unlink()
    assert index.freshness().unreachable == 6


@pytest.mark.usefixtures("one_at_a_time")
def test_plan__parts_and_resume(videos: fo.Dataset, index: RegionIndex, encoder: Encoder) -> None:
    plan = indexing.plan(videos, FIELD, encoder, key="parts", shard_regions=2)
    assert len(plan.shards) > 3
    assert indexing.embed_part(plan.folder, (1, 2), encoder) > 0
    again = indexing.plan(videos, FIELD, encoder, key="parts", shard_regions=2)
    assert 0 < again.counts["to_embed"] < 12
    indexing.embed_part(again.folder, encoder=encoder)
    merged = indexing.merge_plan(videos, "parts")
    rows = merged.snapshot().lookup.find(index.ids.take(np.arange(len(index))))
    assert np.array_equal(all_vectors(index), merged.vectors(rows))


def test_tag_and_label__and_undo(videos: fo.Dataset, index: RegionIndex) -> None:
    hits = index.search("a red square", k=3)
    held = frame(videos, 1)  # What is loaded sees what is written
    tagged = indexing.tag(hits, "red")
    assert videos.count_label_tags(FIELD)["red"] == 3
    named = indexing.label(hits, "square", overwrite=True)
    assert videos.count_values(f"{FIELD}.detections.label")["square"] == 3
    for action in (named, tagged):
        assert indexing.undo(videos, action).restored == 3
    assert "red" not in videos.count_label_tags(FIELD)
    assert held.boxes.detections[0].label == "frame 1"
    assert videos.count_values(f"{FIELD}.detections.label")["frame 1"] == 2
    assert len(indexing.find_outliers(index).view()) == 12
    hits.save_scores("cosine")
    assert videos.count(f"{FIELD}.detections.cosine") == 3
    assert index.freshness().is_fresh


def test_label__into_an_attribute(videos: fo.Dataset, index: RegionIndex) -> None:
    index.label(["red square", "green square"], into=f"{FIELD}.color")
    assert videos.count(f"{FIELD}.detections.color") == 12
    assert set(videos.distinct(f"{FIELD}.detections.color")) <= {"red square", "green square"}
    (action,) = indexing.history(videos, 1)
    indexing.undo(videos, action)
    assert not videos.has_field(f"{FIELD}.detections.color")


def test_brain__sorts_frames_and_their_patches(videos: fo.Dataset, index: RegionIndex) -> None:
    patches = videos.to_frames(sample_frames="dynamic", sparse=True).to_patches("boxes")
    best = patches.sort_by_similarity("a red square", k=3, brain_key="regions").values("id")
    hits = index.search("a red square")
    scores = dict(zip(hits.label_ids.tolist(), hits.scores.tolist(), strict=True))
    assert len(set(best)) == 3
    # Squares of several frames are equally near: their order is not settled.
    assert [scores[one] for one in best] == pytest.approx(hits.scores[:3].tolist(), abs=1e-5)


def test_save_view(videos: fo.Dataset, index: RegionIndex) -> None:
    hits = index.search("a red square", k=3)
    indexing.save_view(hits, "squares")
    assert videos.load_saved_view("squares").values("id") == hits.label_ids.tolist()
    more = index.search("a red square", k=5)
    assert indexing.save_view(more, "squares", add=True).count == 2
    assert len(videos.load_saved_view("squares")) == 5


def test_refused__with_a_way_out(videos: fo.Dataset, index: RegionIndex, dataset: Any) -> None:
    hits = index.search("a red square", k=1)
    refused: list[Callable[[], Any]] = [
        lambda: indexing.label(hits, "square", into="found"),
        lambda: index.label(["square"]),
        lambda: indexing.tag_samples(hits, "red"),
        lambda: indexing.build(videos, "boxes"),
        lambda: indexing.find_pictures(index, ["a red square"]),
        lambda: indexing.find_badly_drawn_labels(index),
        lambda: indexing.find_doubled_labels(index),
        lambda: indexing.find_missing_labels(index),
        lambda: indexing.export(index, "sklearn", "copy"),
        lambda: indexing.segment(videos),
    ]
    for ask in refused:
        with pytest.raises(AlphaClipError, match="to_frames"):
            ask()
    with pytest.raises(FieldError, match="holds no videos"):
        indexing.build(dataset, FIELD)
    with pytest.raises(AlphaClipError, match=r"every is 2 .*frames"):
        indexing.build(dataset, "boxes", every=2)
    with pytest.raises(AlphaClipError, match="every is 0"):
        indexing.build(videos, FIELD, every=0)
    with pytest.raises(FieldError, match=r"no field .frames.nothing.*frames.boxes"):
        indexing.build(videos, "frames.nothing", key="other")
