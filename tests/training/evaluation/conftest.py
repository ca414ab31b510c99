"""An encoder that sees colours only, and pictures of plain colours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alphaclip.encoder.encoder import Failure, OnError
from alphaclip.errors import ImageError, RegionError
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region
from alphaclip.training.datasets.examples import Example, LabelledRegion, RegionSet

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class ColourEncoder:
    """A region's vector is its mean colour, a text's the sum of the colours that it names.

    Attributes:
        name: as of an encoder
        dim: red, green, blue
        fingerprint: may be set
        opened: the pictures that were encoded, in order
    """

    name = "colours"
    dim = 3

    def __init__(self, fingerprint: str = "f" * 32) -> None:
        self.fingerprint = self.text_fingerprint = fingerprint
        self.opened: list[str] = []

    def encode_many(
        self,
        items: Iterable[tuple[Path, Sequence[Region]]],
        on_error: OnError | None = None,
    ) -> Iterator[np.ndarray]:
        """As :meth:`alphaclip.encoder.encoder.Encoder.encode_many`."""
        for place, (path, regions) in enumerate(items):
            self.opened.append(path.stem)
            try:
                image = open_image(path)
            except ImageError as error:
                self._fail(on_error, Failure(place, None, error))
                yield np.full((len(regions), 3), np.nan, np.float32)
                continue
            yield self._rows(image, regions, place, on_error)

    def encode_text(
        self, prompts: Sequence[str], templates: Sequence[str] | None = None
    ) -> np.ndarray:
        """As :meth:`alphaclip.encoder.encoder.Encoder.encode_text`; templates do not count."""
        rows = [sum(np.array(rgb) for name, rgb in COLOURS.items() if name in p) for p in prompts]
        vectors = np.array(rows, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _rows(
        self, image: np.ndarray, regions: Sequence[Region], place: int, on_error: OnError | None
    ) -> np.ndarray:
        rows = np.full((len(regions), 3), np.nan, np.float32)
        for number, region in enumerate(regions):
            try:
                region.bounds(*image.shape[:2])
            except RegionError as error:
                self._fail(on_error, Failure(place, number, error))
                continue
            mean = image[region.alpha_map(*image.shape[:2]) > 0].mean(axis=0)
            rows[number] = mean / np.linalg.norm(mean)
        return rows

    def _fail(self, on_error: OnError | None, failure: Failure) -> None:
        if on_error is None:
            raise failure.error
        on_error(failure)


@pytest.fixture
def colour_encoder() -> ColourEncoder:
    """An encoder that sees colours only."""
    return ColourEncoder()


@pytest.fixture
def paint(tmp_path: Path) -> Callable[..., Example]:
    """Makes pictures of stripes of colours, each a region: ``paint("a", "red", ("blue", "red"))``.

    A stripe is 10 pixels wide and 20 high. Where a pair is given, the first is what it shows, the
    second what it is labelled as.
    """

    def make(name: str, *stripes: str | tuple[str, str], area: float = 200.0) -> Example:
        pairs = [(stripe, stripe) if isinstance(stripe, str) else stripe for stripe in stripes]
        image = np.repeat([[COLOURS[shown] for shown, _ in pairs]], 20, axis=0)
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.repeat(image, 10, axis=1).astype(np.uint8)).save(path)
        share = 1 / len(pairs)
        regions = tuple(
            LabelledRegion(
                f"{name}{i}", Region.from_box((i * share, 0, share, 1)), area, label, (label,)
            )
            for i, (_, label) in enumerate(pairs)
        )
        return Example(name, path, 10 * len(pairs), 20, regions)

    return make


@pytest.fixture
def colour_set(paint: Callable[..., Example]) -> RegionSet:
    """Five regions of three pictures; two are labelled as what they do not show."""
    examples = (
        paint("a", "red", ("red", "green")),
        paint("b", ("blue", "green"), "green", area=2000.0),
        paint("c", "red"),
    )
    return RegionSet("colours", examples, ("red", "green", "blue"))
