"""Where the encoder looked: which parts of a picture carry a region's likeness to a text.

Found by occlusion: squares of what the encoder is shown are blanked in turn, and what the cosine
loses is put down to them. That needs nothing of the model but its output, so it works with every
tower; it costs as many passes as there are squares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from alphaclip.encoder.encoder import Encoder
from alphaclip.errors import AlphaClipError
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region
from alphaclip.views.cutter import make_views
from alphaclip.views.prefetch import Picture

if TYPE_CHECKING:
    from torch import Tensor

CELLS = 10
"""Places of the square in a row and in a column."""

COVER = 2.0
"""Side of the square in distances between its places: neighbours overlap by half."""


def explain(
    encoder: Encoder,
    image: Picture,
    region: Region,
    text: str,
    cells: int = CELLS,
    longest: int = 512,
) -> np.ndarray:
    """Says how much each part of a picture speaks for a text, in the eyes of the encoder.

    Only the pixels are blanked, with the colour that the model was normalised to; the alpha map
    stays, so that the region remains the one that is asked about.

    Args:
        encoder: loaded
        image: a path, a PIL image, or uint8 (H, W, 3)
        region: of this picture
        text: what the region is compared with
        cells (10): places of the square in a row; cells x cells passes of the model are run
        longest (512): the map is scaled down where the picture's longer side exceeds this

    Returns:
        float32 (h, w) of the picture's aspect, in [0, 1]: 1 where blanking costs the most, 0 where
        it costs nothing or helps, and beyond what the encoder is shown; all 0 if nothing costs

    Raises:
        AlphaClipError: if the region has no area in the picture, a number is out of range, or the
            encoder is an ensemble, whose members do not look at one view
    """
    if not 2 <= cells <= 64 or longest < 8:
        raise AlphaClipError(
            f"cells is {cells}, longest {longest}: expected 2 to 64, and at least 8 pixels"
        )
    pixels = open_image(image)
    losses = _losses(encoder, pixels, region, text, cells)
    return _in_picture(losses, encoder, region, pixels.shape[0], pixels.shape[1], longest)


def _losses(
    encoder: Encoder, pixels: np.ndarray, region: Region, text: str, cells: int
) -> np.ndarray:
    """What blanking costs at each place: float32 (cells, cells), in [0, 1]."""
    size = encoder.image_size
    picture, alpha = make_views(pixels, [region], encoder.view, size)
    wanted = encoder.encode_text([text])[0]
    squares = [(slice(0, 0), slice(0, 0)), *_squares(size, cells)]
    whole = region.is_whole_image
    cosines = np.concatenate(
        [
            _encode(encoder, picture, alpha, some, whole) @ wanted
            for some in _batches(encoder, squares)
        ]
    )
    costs = np.maximum(cosines[0] - cosines[1:], 0).reshape(cells, cells)
    costs[costs < 1e-6] = 0
    top = costs.max()
    return np.asarray(costs / top if top > 0 else costs, np.float32)


def _squares(size: int, cells: int) -> Iterator[tuple[slice, slice]]:
    """The squares, row by row; each is centred on its cell."""
    step = size / cells
    reach = COVER * step / 2
    spans = []
    for i in range(cells):
        middle = (i + 0.5) * step
        spans.append(slice(max(0, round(middle - reach)), min(size, round(middle + reach))))
    for rows in spans:
        for columns in spans:
            yield rows, columns


def _batches(
    encoder: Encoder, squares: list[tuple[slice, slice]]
) -> Iterator[list[tuple[slice, slice]]]:
    size = 256 if encoder.device.type == "cuda" else 32
    for start in range(0, len(squares), size):
        yield squares[start : start + size]


def _encode(
    encoder: Encoder,
    picture: Tensor,
    alpha: Tensor,
    blanked: list[tuple[slice, slice]],
    whole: bool,
) -> np.ndarray:
    """The vectors of one view with a square blanked in each copy: float32 (n, dim), unit norm."""
    import torch

    copies = picture.float().repeat(len(blanked), 1, 1, 1)
    blank = torch.tensor(encoder._model.mean).view(3, 1, 1) * 255.0
    for copy, (rows, columns) in zip(copies, blanked, strict=True):
        copy[:, rows, columns] = blank
    maps = alpha.repeat(len(blanked), 1, 1, 1)
    return encoder.encode_views(copies, maps, [whole] * len(blanked))


def _in_picture(
    losses: np.ndarray, encoder: Encoder, region: Region, height: int, width: int, longest: int
) -> np.ndarray:
    """The map laid over the picture, scaled down."""
    from PIL import Image

    left, top, right, bottom = encoder.view.window(region, height, width)
    shrink = min(1.0, longest / max(height, width))
    high, wide = max(1, round(height * shrink)), max(1, round(width * shrink))
    scale = np.array([losses.shape[1] / (right - left), losses.shape[0] / (bottom - top)])
    # Each pixel of the result looks up its place in the window, which may reach beyond the picture.
    columns = ((np.arange(wide) + 0.5) * (width / wide) - left) * scale[0]
    rows = ((np.arange(high) + 0.5) * (height / high) - top) * scale[1]
    smooth = Image.fromarray(losses).resize((256, 256), Image.Resampling.BILINEAR)
    fine = np.asarray(smooth, np.float32)
    at = [np.floor(v * (256 / losses.shape[0])).astype(int) for v in (rows, columns)]
    inside = [(a >= 0) & (a < 256) for a in at]
    shown = fine[np.ix_(*(np.clip(a, 0, 255) for a in at))]
    return np.clip(shown * np.outer(*inside), 0, 1).astype(np.float32)
