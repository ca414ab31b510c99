"""Pictures with captions to GRIT's rows: phrases of the caption, and a box for each that is seen.

Source: Peng et al., "Kosmos-2", 2023 (arXiv 2306.14824), section 2: an expression has the box of
its noun chunk, and a picture of whose phrases none is found is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaclip.detectors.boxes import Grounder
from alphaclip.training.pairs.captions.captions_file import (
    LICENCE_COLUMNS,
    CaptionRow,
    find_name,
)
from alphaclip.training.pairs.captions.noun_chunks import Chunker
from alphaclip.training.pairs.format.jobs import PartJob, PartsReport, Progress, make_parts
from alphaclip.training.pairs.format.pictures import decode_picture
from alphaclip.training.pairs.format.records import PairError, Skipped
from alphaclip.training.pairs.format.reports import Tally
from alphaclip.training.pairs.sources.grit_rows import to_parquet
from alphaclip.training.pairs.sources.img2dataset import (
    PictureFile,
    PictureFolder,
    ShardPicture,
    find_shards,
    scan_shard,
)


@dataclass(frozen=True)
class CaptionPipeline:
    """What turns a caption and its picture into a row of GRIT.

    Attributes:
        pictures: the folder that they are in
        chunker: finds the phrases of a caption
        grounder: finds the phrases in a picture
        language: name of what the chunker is made of, for the plan
        longest: characters of a caption; longer ones are left out
    """

    pictures: PictureFolder
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

    def make(part: Sequence[CaptionRow]) -> tuple[bytes, Tally]:
        grounded, skipped = [], Tally()
        for row in part:
            file = pipeline.pictures.open(row.place)
            made = file if isinstance(file, Skipped) else _ground(row, file, pipeline)
            if isinstance(made, Skipped):
                skipped.add(made)
            else:
                grounded.append(made)
        return to_parquet(grounded), skipped

    return make_parts(rows, make, job, progress)


def read_caption_shards(path: Path) -> tuple[list[CaptionRow], list[Skipped]]:
    """The pictures and captions of img2dataset's shards.

    Args:
        path: a folder of tars, or one

    Returns:
        the rows, their locations in the folder, and what was left out
    """
    rows: list[CaptionRow] = []
    left_out: list[Skipped] = []
    for shard in find_shards(path):
        pictures, lost = scan_shard(shard)
        left_out += lost
        for picture in pictures:
            row = _read_captioned(picture, len(rows))
            if isinstance(row, Skipped):
                left_out.append(row)
            else:
                rows.append(row)
    return rows, left_out


def _read_captioned(picture: ShardPicture, row: int) -> CaptionRow | Skipped:
    if picture.image is None:
        return Skipped("missing in its shard", picture.location)
    try:
        content = picture.content()
    except PairError as error:
        return Skipped("JSON damaged", str(error))
    caption = content.get("caption")
    if not isinstance(caption, str) or not caption.strip():
        return Skipped("row without a caption", picture.location)
    name = find_name(content, LICENCE_COLUMNS)
    licence = content[name] if name is not None else None
    stated = licence if isinstance(licence, str) and licence else None
    return CaptionRow(row, picture.location, caption.strip(), stated)


def _ground(
    row: CaptionRow, file: PictureFile, pipeline: CaptionPipeline
) -> dict[str, Any] | Skipped:
    """A row of GRIT: every phrase of the caption with each of its boxes."""
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
    expressions = [(p.expression, box) for p, box in pairs if p.expression is not None]
    return {
        "key": f"{row.row:09d}",
        "id": row.row,
        "url": "",
        "place": row.place,
        "license": row.licence,
        "caption": row.caption,
        "width": image.shape[1],
        "height": image.shape[0],
        "noun_chunks": [[*phrase.chunk, *box.corners, box.score] for phrase, box in pairs],
        "ref_exps": [[*span, *box.corners, box.score] for span, box in expressions],
    }
