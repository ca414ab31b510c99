"""Tables of captions, as they come."""

import shlex
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from alphaclip.training.pairs.captions.captions_file import CaptionRow, Columns, read_captions
from alphaclip.training.pairs.format.records import PairError


def test_read_captions__csv_with_quotes_and_other_scripts(tmp_path: Path) -> None:
    path = tmp_path / "laion.csv"
    path.write_text(
        '\ufeffURL,TEXT,LICENSE\na/1.jpg,"a dog, and\na cat",cc-by\na/2.jpg,猫,\n',
        "utf-8",
    )
    rows, left_out = read_captions(path)
    assert rows == [
        CaptionRow(0, "a/1.jpg", "a dog, and\na cat", "cc-by"),
        CaptionRow(1, "a/2.jpg", "猫"),
    ]
    assert left_out == []


def test_read_captions__tsv_and_parquet_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "yfcc.tsv").write_text("downloadurl\tdescription\na/1.jpg\ta dog\n")
    table = pa.table({"id": [7], "url": ["a/1.jpg"], "text": ["a dog"]})
    parquet.write_table(table, tmp_path / "coyo.parquet")
    expected = [CaptionRow(0, "a/1.jpg", "a dog")]
    assert read_captions(tmp_path / "yfcc.tsv")[0] == expected
    assert read_captions(tmp_path / "coyo.parquet")[0] == expected


def test_read_captions__rows_with_nothing_in_them_are_counted(tmp_path: Path) -> None:
    table = pa.table({"url": ["a/1", None, "a/3"], "caption": [" ", "a dog", "cat"]})
    parquet.write_table(table, tmp_path / "t.parquet")
    rows, left_out = read_captions(tmp_path / "t.parquet")
    assert [row.row for row in rows] == [2]
    assert [skipped.reason for skipped in left_out] == [
        "row without a caption",
        "row without a picture",
    ]


def test_read_captions__named_columns_and_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("url,link,caption,alt\nx,a.jpg,no,yes\ny,b.jpg,no,also\n")
    rows, _ = read_captions(path, Columns("link", "alt"), most=1)
    assert rows == [CaptionRow(0, "a.jpg", "yes")]
    with pytest.raises(PairError, match="no column 'ALT': its columns are url, link"):
        read_captions(path, Columns("link", "ALT"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"picture,words\na,b\n", "no column called url"),
        ("t.csv", b"url,words\na,b\n", "no column called caption"),
        ("t.csv", b"url,caption\n\xff\xfe,b\n", "in UTF-8"),
        ("t.parquet", b"PAR1 not", "as parquet"),
        ("t.json", b"[]", "ends in '.json'"),
    ],
)
def test_read_captions__bad_tables_say_what_to_do(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PairError, match=message):
        read_captions(tmp_path / name)


def test_read_captions__addresses_are_img2datasets_work(tmp_path: Path) -> None:
    path = tmp_path / "laion.tsv"
    path.write_text("URL\tTEXT\tLICENSE\nhttps://a/1.jpg\ta dog\tcc0\n")
    with pytest.raises(PairError, match="names pictures by their addresses") as caught:
        read_captions(path)
    words = shlex.split(str(caught.value).splitlines()[2])
    assert words == [
        *("img2dataset", "--url_list", str(path), "--input_format", "tsv"),
        *("--url_col", "URL", "--caption_col", "TEXT"),
        *("--save_additional_columns", '["LICENSE"]', "--output_format", "webdataset"),
        *("--output_folder", str(tmp_path / "laion-shards")),
        *("--resize_mode", "no", "--skip_reencode", "True"),
    ]


def test_read_captions__no_such_file(tmp_path: Path) -> None:
    with pytest.raises(PairError, match="is not there"):
        read_captions(tmp_path / "none.csv")


def test_read_captions__a_bomb(tmp_path: Path) -> None:
    captions = pa.DictionaryArray.from_arrays([0] * 3_000, ["x" * 1_000_000])
    table = pa.table({"caption": captions, "url": ["a.png"] * 3_000})
    parquet.write_table(table, tmp_path / "t.parquet", store_schema=False)
    assert (tmp_path / "t.parquet").stat().st_size < 200_000
    with pytest.raises(PairError, match=r"t\.parquet .* MB when it is unpacked"):
        read_captions(tmp_path / "t.parquet")
