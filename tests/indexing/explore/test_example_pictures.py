"""Pictures that were searched with, kept with the dataset."""

import io
from collections.abc import Callable
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from alphaclip.errors import AlphaClipError
from alphaclip.indexing.dataset.records import Records
from alphaclip.indexing.explore.example_pictures import MAX_SIDE, MOST, keep_picture, open_picture


@pytest.fixture(scope="module")
def empty(dataset_factory: Callable) -> fo.Dataset:
    return dataset_factory()


def of_color(number: int) -> np.ndarray:
    return np.full((16, 24, 3), 10 * number, np.uint8)


def test_keep_picture__whatever_it_is_given_as(empty: fo.Dataset, tmp_path: Path) -> None:
    pixels, path, file = of_color(7), tmp_path / "a.png", io.BytesIO()
    picture = Image.fromarray(pixels)
    picture.save(path)
    picture.save(file, "PNG")
    names = {
        keep_picture(empty, one) for one in (pixels, picture, path, str(path), file.getvalue())
    }
    assert len(names) == 1
    np.testing.assert_allclose(open_picture(empty, names.pop()), pixels, atol=2)
    assert open_picture(empty, str(path)) == str(path)


def test_keep_picture__small_enough_and_upright(empty: fo.Dataset) -> None:
    large, file = Image.new("RGB", (4000, 1000), "red"), io.BytesIO()
    exif = large.getexif()
    exif[274] = 6
    large.save(file, "JPEG", exif=exif)
    assert open_picture(empty, keep_picture(empty, file.getvalue())).shape == (MAX_SIDE, 400, 3)


def test_keep_picture__the_oldest_go_and_the_same_moves_up(dataset_factory: Callable) -> None:
    dataset = dataset_factory()
    names = [keep_picture(dataset, of_color(number)) for number in range(MOST)]
    assert keep_picture(dataset, of_color(0)) == names[0]
    names += [keep_picture(dataset, of_color(MOST))]
    assert len(Records(dataset, "example_pictures").keys()) == MOST
    for name in (*names[2:], names[0]):
        assert open_picture(dataset, name).shape == (16, 24, 3)
    with pytest.raises(AlphaClipError, match=r"keeps the last 20 pictures.*give the picture again"):
        open_picture(dataset, names[1])


@pytest.mark.parametrize("image", [b"", b"no picture", "/nowhere.png", 7, None, np.zeros(3)])
def test_keep_picture__that_is_none(empty: fo.Dataset, image: object) -> None:
    before = Records(empty, "example_pictures").keys()
    with pytest.raises(AlphaClipError):
        keep_picture(empty, image)
    assert Records(empty, "example_pictures").keys() == before
