"""Pictures with captions to GRIT's rows: phrases of the caption, and a box for each that is seen.

Source: Peng et al., "Kosmos-2", 2023 (arXiv 2306.14824), section 2: an expression has the box of
its noun chunk, and a picture of whose phrases none is found is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaclip.training.pairs.captions.captions_file import CaptionRow
from alphaclip.training.pairs.captions.grounding import FoundBox, Grounder
from alphaclip.training.pairs.captions.noun_chunks import Chunker, Phrase
from alphaclip.training.pairs.format.errors import PairError
from alphaclip.training.pairs.format.parts import Made, PartJob, PartsReport, make_parts
from alphaclip.training.pairs.format.pictures import decode_picture
from alphaclip.training.pairs.format.records import Skipped
from alphaclip.training.pairs.format.reports import Tally
from alphaclip.training.pairs.format.writing import Progress
from alphaclip.training.pairs.sources.fetching import PictureFile, PictureStore
from alphaclip.training.pairs.sources.grit_rows import to_parquet
from alphaclip.training.pairs.sources.img2dataset import ShardPicture, find_shards, scan_shard


@dataclass(frozen=True)
class CaptionPipeline:
    """What turns a caption and its picture into a row of GRIT.

    Attributes:
        store: opens the pictures
        chunker: finds the phrases of a caption
        grounder: finds the phrases in a picture
        language: name of what the chunker is made of, for the plan
        longest: characters of a caption; longer ones are left out
    """

    store: PictureStore
    chunker: Chunker
    grounder: Grounder
    language: str = ""
    longest: int = 1000


def ground_captions(
    rows: Sequence[CaptionRow],
    pipeline: CaptionPipeline,
    folder: Path,
    per_part: int = 1000,
    progress: Progress | None = None,
) -> PartsReport:
    """Writes ``grit-000000.parquet`` and so on; run again after an interruption, it goes on.

    Args:
        rows: pictures and captions
        pipeline: what to find, and how
        folder: of the files
        per_part: rows of a file, before those without a box are left out
        progress: of rows

    Raises:
        PairError: if the folder holds those of other rows or models
    """
    settings = {
        "grounder": pipeline.grounder.name,
        "language": pipeline.language,
        "longest": pipeline.longest,
    }
    job = PartJob(folder, "grit", "parquet", per_part, settings)
    return make_parts(rows, lambda part: _make_part(part, pipeline), job, progress)


def read_caption_shards(path: Path) -> tuple[list[CaptionRow], list[Skipped]]:
    """The pictures and captions of img2dataset's shards.

    Args:
        path: a folder of tars, or one

    Returns:
        the rows, their places in the folder, and what was left out
    """
    rows: list[CaptionRow] = []
    left_out: list[Skipped] = []
    for shard in find_shards(path):
        pictures, lost = scan_shard(shard)
        left_out += lost
        for picture in pictures:
            found = _read_captioned(picture, len(rows))
            if isinstance(found, Skipped):
                left_out.append(found)
            else:
                rows.append(found)
    return rows, left_out


def _read_captioned(picture: ShardPicture, row: int) -> CaptionRow | Skipped:
    if picture.image is None:
        return Skipped("missing in its shard", picture.place)
    try:
        content = picture.content()
    except PairError as error:
        return Skipped("JSON damaged", str(error))
    caption, licence = content.get("caption"), content.get("license")
    if not isinstance(caption, str) or not caption.strip():
        return Skipped("row without a caption", picture.place)
    known = licence if isinstance(licence, str) and licence else None
    return CaptionRow(row, picture.place, caption.strip(), known)


def _make_part(rows: Sequence[CaptionRow], pipeline: CaptionPipeline) -> Made:
    found, skipped = [], Tally()
    files = pipeline.store.open_all(row.place for row in rows)
    for row, file in zip(rows, files, strict=True):
        made = file if isinstance(file, Skipped) else _ground(row, file, pipeline)
        if isinstance(made, Skipped):
            skipped.add(made)
        else:
            found.append(made)
    return to_parquet(found), skipped


def _ground(
    row: CaptionRow, file: PictureFile, pipeline: CaptionPipeline
) -> dict[str, Any] | Skipped:
    if len(row.caption) > pipeline.longest:
        return Skipped("caption too long", f"row {row.row}: {len(row.caption)} characters")
    phrases = pipeline.chunker(row.caption)
    if not phrases:
        return Skipped("no phrase in the caption", f"row {row.row}: {row.caption[:80]!r}")
    image = decode_picture(file.content, row.place)
    chunks = [row.caption[slice(*phrase.chunk)] for phrase in phrases]
    names = list(dict.fromkeys(chunks))
    boxes = dict(zip(names, pipeline.grounder.ground(image, names), strict=True))
    pairs = [(p, box) for p, name in zip(phrases, chunks, strict=True) for box in boxes[name]]
    if not pairs:
        return Skipped("no phrase found in the picture", f"row {row.row}: {row.caption[:80]!r}")
    return _grit_row(row, image.shape[:2], pairs)


def _grit_row(
    row: CaptionRow, shape: tuple[int, ...], pairs: Sequence[tuple[Phrase, FoundBox]]
) -> dict[str, Any]:
    expressions = [(p.expression, box) for p, box in pairs if p.expression is not None]
    return {
        "key": f"{row.row:09d}",
        "id": row.row,
        "url": row.place if "://" in row.place else "",
        "place": row.place,
        "license": row.licence,
        "caption": row.caption,
        "width": shape[1],
        "height": shape[0],
        "noun_chunks": [[*phrase.chunk, *box.corners, box.score] for phrase, box in pairs],
        "ref_exps": [[*span, *box.corners, box.score] for span, box in expressions],
    }
