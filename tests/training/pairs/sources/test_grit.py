"""GRIT's rows to pictures with masks, on scenes whose masks are known."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from alphaclip.errors import AlphaClipError
from alphaclip.regions.region import Region
from alphaclip.sam.sam import SamModel, load_sam
from alphaclip.training.pairs.format.reading import open_pairs
from alphaclip.training.pairs.format.records import PairError, PairPicture, Skipped
from alphaclip.training.pairs.format.writing import write_pairs
from alphaclip.training.pairs.sources.grit import GritMaker, GritSettings, read_phrases
from alphaclip.training.pairs.sources.grit_rows import GritEntry, open_grit, to_parquet
from alphaclip.training.pairs.sources.img2dataset import PictureFolder
from recipes.small_sam.scenes import ShapeScene, draw_scene

WEIGHTS = Path(__file__).parents[3] / "sam_vit_nano.safetensors"
SCENES = 12
MEAN_IOU = 0.78
"""The least that the small SAM gives, as in tests/alphaclip/test_sam.py."""

CAPTION = "a dog with a red ball"
DOG, BALL, ALL = (0, 5), (11, 21), (0, 21)
BOX = (0.1, 0.2, 0.5, 0.6)


@pytest.fixture(scope="module")
def small() -> SamModel:
    return load_sam(WEIGHTS, "cpu")


def row_of(scene: ShapeScene, name: str) -> dict:
    """A row of GRIT: the caption names the shapes in order."""
    caption = " and ".join(f"a {shape.name}" for shape in scene.shapes)
    chunks, start = [], 0
    for shape in scene.shapes:
        x, y, w, h = shape.box
        end = start + len(f"a {shape.name}")
        chunks.append([start, end, x, y, x + w, y + h, 0.9])
        start = end + len(" and ")
    height, width = scene.image.shape[:2]
    sizes = {"width": width, "height": height}
    return {"caption": caption, "noun_chunks": chunks, "ref_exps": [], "place": name, **sizes}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ShapeScene]]:
    """A parquet of GRIT, the pictures beside it, and what they show."""
    folder = tmp_path_factory.mktemp("grit")
    drawn = [draw_scene(np.random.default_rng(2_000_000 + n)) for n in range(SCENES)]
    for number, scene in enumerate(drawn):
        Image.fromarray(scene.image).save(folder / f"{number}.png")
    rows = [row_of(scene, f"{number}.png") for number, scene in enumerate(drawn)]
    (folder / "grit.parquet").write_bytes(to_parquet(rows))
    return folder, drawn


def make(content: dict, folder: Path, **settings: object) -> PairPicture | Skipped:
    """What becomes of a row; boxes stay boxes."""
    maker = GritMaker(PictureFolder(folder), None, GritSettings(**settings))
    return maker(GritEntry("k", content))


def phrase(span: Sequence[float], box: Sequence[float] = BOX, score: float = 0.9) -> list[float]:
    return [*span, *box, score]


def test_write_pairs__masks_of_scenes_fit(
    scenes: tuple[Path, list[ShapeScene]], small: SamModel, tmp_path: Path
) -> None:
    folder, drawn = scenes
    entries, left_out = open_grit(folder)
    assert (len(entries), left_out) == (SCENES, [])
    maker = GritMaker(PictureFolder(folder), small)
    report = write_pairs(entries, maker, tmp_path / "set")
    shapes = [shape for scene in drawn for shape in scene.shapes]
    assert (report.pictures, report.regions) == (SCENES, len(shapes))
    ious = []
    for pair, shape in zip(open_pairs(tmp_path / "set"), shapes, strict=True):
        assert pair.texts == (f"a {shape.name}",)
        mask = pair.region.alpha_map(*shape.mask.shape) > 127
        ious.append((mask & shape.mask).sum() / (mask | shape.mask).sum())
    assert np.mean(ious) >= MEAN_IOU
    region = next(open_pairs(tmp_path / "set").pictures()).regions[0]
    assert 0 < region.scores["mask_quality"] <= 1
    assert region.scores["grounding"] == 0.9


def test_maker__a_picture_is_encoded_once_and_a_box_once(
    scenes: tuple[Path, list[ShapeScene]], small: SamModel, tmp_path: Path
) -> None:
    folder, drawn = scenes
    number = next(n for n, scene in enumerate(drawn) if len(scene.shapes) > 1)
    content = row_of(drawn[number], f"{number}.png")
    content["ref_exps"] = [[0, len(content["caption"]), *content["noun_chunks"][0][2:]]]
    calls = []
    hook = small.network.image_encoder.register_forward_hook(lambda *_: calls.append(1))
    made = GritMaker(PictureFolder(folder), small)(GritEntry("k", content))
    hook.remove()
    assert len(calls) == 1
    assert isinstance(made, PairPicture)
    assert len(made.regions) == len(drawn[number].shapes)
    assert made.regions[0].texts == (content["caption"], f"a {drawn[number].shapes[0].name}")


def test_maker__the_encoder_scores_each_region(
    scenes: tuple[Path, list[ShapeScene]], tmp_path: Path
) -> None:
    class Half:
        def encode_regions(self, image: np.ndarray, regions: list[Region]) -> np.ndarray:
            return np.tile([0.6, 0.8], (len(regions), 1))

        def encode_text(self, texts: list[str]) -> np.ndarray:
            return np.tile([0.0, 1.0], (len(texts), 1))

    folder, drawn = scenes
    store = PictureFolder(folder)
    made = GritMaker(store, None, encoder=Half())(GritEntry("k", row_of(drawn[0], "0.png")))
    assert isinstance(made, PairPicture)
    assert {region.scores["clip"] for region in made.regions} == {0.8}


def test_read_phrases__expressions_first_and_which_are_wanted() -> None:
    content = {
        "caption": CAPTION,
        "noun_chunks": [phrase(DOG), phrase(BALL, (0.5, 0.5, 0.6, 0.6))],
        "ref_exps": [phrase(ALL)],
    }
    texts = {
        kind: [found.text for found in read_phrases(content, GritSettings(kind))[0]]
        for kind in ("both", "expressions", "chunks")
    }
    assert texts == {
        "both": [CAPTION, "a dog", "a red ball"],
        "expressions": [CAPTION],
        "chunks": ["a dog", "a red ball"],
    }


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (phrase((0, 22)), "span does not fit its caption"),
        (phrase((-1, 5)), "span does not fit its caption"),
        (phrase((5, 5)), "span does not fit its caption"),
        (phrase((0.5, 5)), "span does not fit its caption"),
        (phrase((float("nan"), 5)), "span does not fit its caption"),
        (phrase((5, 6)), "span without a word"),
        (phrase(DOG, (0.1, 0.1, 1.2, 0.5)), "box outside its picture"),
        (phrase(DOG, (-0.5, 0.1, 0.2, 0.5)), "box outside its picture"),
        (phrase(DOG, (0.5, 0.1, 0.2, 0.5)), "box outside its picture"),
        (phrase(DOG, (0.1, 0.1, float("inf"), 0.5)), "box outside its picture"),
        (phrase(DOG, score=0.2), "box not sure enough"),
        (phrase(DOG, score=float("nan")), "box not sure enough"),
        ([0, 5, 0.1], "phrase of another form"),
        (None, "phrase of another form"),
        (["a", *phrase(DOG)[1:]], "phrase of another form"),
    ],
)
def test_read_phrases__what_does_not_fit_is_counted(wrong: object, reason: str) -> None:
    content = {"caption": CAPTION, "noun_chunks": [wrong, phrase(BALL)], "ref_exps": None}
    kept, left_out = read_phrases(content, GritSettings(least_score=0.5))
    assert [found.text for found in kept] == ["a red ball"]
    assert [skipped.reason for skipped in left_out] == [reason]


def test_read_phrases__a_box_a_little_outside_is_clipped() -> None:
    content = {"caption": CAPTION, "noun_chunks": [phrase(DOG, (-0.004, 0, 0.5, 1.004))]}
    (found,), _ = read_phrases(content, GritSettings())
    assert found.corners == (0, 0, 0.5, 1)


def test_maker__left_out_phrases_go_with_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    content = {"caption": CAPTION, "noun_chunks": [phrase(DOG), phrase((0, 99))], "ref_exps": []}
    made = make({**content, "place": "a.png"}, tmp_path)
    assert isinstance(made, PairPicture)
    assert made.regions[0].region.box == pytest.approx((0.1, 0.2, 0.4, 0.4))
    assert [skipped.reason for skipped in made.left_out] == ["span does not fit its caption"]
    assert made.caption == CAPTION


def test_maker__rows_that_give_nothing_say_why(tmp_path: Path) -> None:
    good = {"caption": CAPTION, "noun_chunks": [phrase(DOG)], "ref_exps": []}
    reasons = []
    for content in (
        {"caption": None},
        {**good, "noun_chunks": [phrase((0, 99))]},
        {**good, "place": "none.png"},
        {**good, "url": "file:///etc/hostname"},
    ):
        made = make(content, tmp_path)
        assert isinstance(made, Skipped)
        reasons.append(made.reason)
    assert reasons == ["no phrase kept", "no phrase kept", "missing", "an address, not a file"]


def test_open_grit__shards_whose_json_is_grits(tmp_path: Path) -> None:
    path = tmp_path / "00000.tar"
    content = {"caption": CAPTION, "noun_chunks": [phrase(DOG)], "ref_exps": [], "url": "http://a"}
    stream = io.BytesIO()
    Image.new("RGB", (40, 30)).save(stream, "PNG")
    members = {"a.png": stream.getvalue(), "a.json": json.dumps(content).encode()}
    members |= {"b.png": stream.getvalue(), "b.json": b"{", "c.json": b"{}"}
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    entries, left_out = open_grit(tmp_path)
    assert left_out == []
    assert entries[0].location == "00000.tar/a"
    maker = GritMaker(PictureFolder(tmp_path), None)
    good, bad = (maker(entry) for entry in entries)
    assert isinstance(good, PairPicture)
    assert (good.source, good.key) == ("http://a", "00000-00000000")
    assert isinstance(bad, Skipped)
    assert bad.reason == "JSON damaged"


def test_open_grit__several_parquet_files_as_one(tmp_path: Path) -> None:
    for number in range(2):
        rows = [{"caption": f"{number} {row}"} for row in range(3)]
        (tmp_path / f"{number}.parquet").write_bytes(to_parquet(rows))
    entries, _ = open_grit(tmp_path)
    captions = [entry.content["caption"] for entry in entries]
    assert captions == ["0 0", "0 1", "0 2", "1 0", "1 1", "1 2"]
    assert [entry.key for entry in entries[2:4]] == ["00000-00000002", "00001-00000000"]
    assert entries[-1].content["caption"] == "1 2"
    with pytest.raises(IndexError):
        entries[6]


def test_open_grit__other_files_are_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"caption": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(PairError, match="no column 'noun_chunks'"):
        open_grit(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(PairError, match="cannot be read as parquet"):
        open_grit(tmp_path / "a.parquet")
    with pytest.raises(PairError, match=r"holds no \.tar"):
        open_grit(tmp_path / "nowhere")


def test_settings__out_of_range() -> None:
    with pytest.raises(AlphaClipError, match="phrases is 'all'"):
        GritSettings("all")
    with pytest.raises(AlphaClipError, match="least_score is 2"):
        GritSettings(least_score=2)


def test_open_grit__a_bomb(tmp_path: Path) -> None:
    captions = pa.DictionaryArray.from_arrays([0] * 3_000, ["x" * 1_000_000])
    others = {"noun_chunks": [[]] * 3_000, "ref_exps": [[]] * 3_000, "url": ["a"] * 3_000}
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"caption": captions, **others}), path, store_schema=False)
    assert path.stat().st_size < 200_000
    rows, _ = open_grit(path)
    assert len(rows) == 3_000
    assert "MB when it is unpacked" in rows[7].problem
