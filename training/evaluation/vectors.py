"""Vectors of a set's regions, computed once for each encoder and kept in a cache folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alphaclip.encoder.encoder import Encoder, Failure
from alphaclip.files import write_atomically
from alphaclip.training.datasets.examples import Example, RegionSet
from alphaclip.training.evaluation.outcomes import Progress

logger = logging.getLogger(__name__)

PICTURES_IN_PART = 32
"""Pictures whose vectors share a file: what a killed run has to do again."""

OnSkip = Callable[[str], None]


def region_vectors(
    encoder: Encoder,
    regions: RegionSet,
    cache: Path | None = None,
    progress: Progress | None = None,
    on_skip: OnSkip | None = None,
) -> np.ndarray:
    """Encodes every region of a set.

    A file of the cache holds the vectors of a few pictures. It is found by the encoder's
    fingerprint, which covers its view, by each picture's path, size and time of change, and by
    each region's digest. It is there whole or not at all. A run that was killed goes on where it
    was; a row that failed is tried again.

    Args:
        encoder: encodes the regions
        regions: what to encode
        cache: folder, made if need be; None keeps nothing
        progress: called with pictures done and pictures in all
        on_skip: called with a line for each picture or region that cannot be encoded; without it
            the lines are logged as warnings

    Returns:
        float32 (len(regions), dim), unit length, in the order of ``regions.regions``; NaN in the
        rows that cannot be encoded
    """
    starts = range(0, len(regions.examples), PICTURES_IN_PART)
    groups = [regions.examples[start : start + PICTURES_IN_PART] for start in starts]
    parts = [_Part.of(encoder, group, cache) for group in groups]
    jobs = [job for part in parts for job in part.jobs()]
    total, left = len(regions.examples), len(jobs)

    def failed(failure: Failure) -> None:
        example = jobs[failure.item].example
        line = f"picture {example.id}: {failure.error}"
        if failure.region is not None:
            line = f"region {example.regions[failure.region].id} of {example.path}: {failure.error}"
        if on_skip is None:
            logger.warning("left out: %s", line)
        else:
            on_skip(line)

    items = ((job.example.path, [r.region for r in job.example.regions]) for job in jobs)
    for job, vectors in zip(jobs, encoder.encode_many(items, on_error=failed), strict=True):
        job.part.vectors[job.rows] = vectors
        if job.ends_part and job.part.path is not None:
            _save(job.part.path, job.part.vectors)
        left -= 1
        if progress is not None:
            progress(total - left, total)
    rows = [part.vectors for part in parts]
    return np.concatenate(rows) if rows else np.zeros((0, encoder.dim), np.float32)


def text_vectors(
    encoder: Encoder,
    prompts: Sequence[str],
    templates: Sequence[str] | None = None,
    cache: Path | None = None,
) -> np.ndarray:
    """Encodes texts as :meth:`Encoder.encode_text` does, or finds them in the cache, where encoders
    of one text tower share them: float32 (len(prompts), dim), unit length.
    """
    if cache is None:
        return encoder.encode_text(prompts, templates)
    content = repr((tuple(prompts), None if templates is None else tuple(templates)))
    path = _folder(cache, encoder, encoder.text_fingerprint) / f"texts-{_digest(content)}.npz"
    vectors = _load(path, (len(prompts), encoder.dim))
    if vectors is None:
        vectors = encoder.encode_text(prompts, templates)
        _save(path, vectors)
    return vectors


@dataclass(frozen=True)
class _Part:
    """Some pictures in a row, their file, and the vectors so far; NaN where there is none."""

    examples: Sequence[Example]
    path: Path | None
    vectors: np.ndarray

    @classmethod
    def of(cls, encoder: Encoder, examples: Sequence[Example], cache: Path | None) -> _Part:
        shape = sum(len(example.regions) for example in examples), encoder.dim
        path = vectors = None
        if cache is not None:
            pictures = [
                (
                    file_stamp(example.path),
                    [labelled.region.digest() for labelled in example.regions],
                )
                for example in examples
            ]
            path = _folder(cache, encoder, encoder.fingerprint) / f"{_digest(repr(pictures))}.npz"
            vectors = _load(path, shape)
        return cls(
            examples, path, np.full(shape, np.nan, np.float32) if vectors is None else vectors
        )

    def jobs(self) -> list[_Job]:
        """The pictures with a row that has no vector."""
        todo = [
            _Job(self, example, rows)
            for example, rows in zip(self.examples, rows_of(self.examples), strict=True)
            if np.isnan(self.vectors[rows]).any()
        ]
        return [*todo[:-1], *(replace(job, ends_part=True) for job in todo[-1:])]


@dataclass(frozen=True)
class _Job:
    """A picture to encode."""

    part: _Part
    example: Example
    rows: slice
    ends_part: bool = False


def rows_of(examples: Sequence[Example]) -> list[slice]:
    """The rows that each picture's regions have in the vectors of all."""
    ends = np.cumsum([len(example.regions) for example in examples], dtype=int)
    return [slice(e - len(x.regions), e) for x, e in zip(examples, ends, strict=True)]


def _folder(cache: Path, encoder: Encoder, fingerprint: str) -> Path:
    """Vectors of another precision stand apart: how far they are off may be the question."""
    precision = str(getattr(encoder, "dtype", "")).removeprefix("torch.")
    return cache / "-".join(filter(None, (fingerprint, precision)))


def file_stamp(path: Path) -> tuple[str, int, int]:
    """Path, size and time of change of a file: equal while it is the same."""
    try:
        status = path.stat()
    except OSError:
        return str(path.absolute()), -1, -1
    return str(path.absolute()), status.st_size, status.st_mtime_ns


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _load(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """What a file holds; None where it is not there or is damaged."""
    try:
        with np.load(path, allow_pickle=False) as content:
            vectors: np.ndarray = content["vectors"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # a damaged zip raises all sorts of errors
        logger.warning("%s is damaged (%s): its pictures are encoded again", path, error)
        return None
    if vectors.shape != shape or vectors.dtype != np.float32:
        logger.warning("%s holds something else: its pictures are encoded again", path)
        return None
    return vectors


def _save(path: Path, vectors: np.ndarray) -> None:
    write_atomically(path, lambda stream: np.savez(stream, vectors=vectors))
