"""Where the encoder looked: which parts of a picture carry a region's likeness to a text.

Found by occlusion: squares of what the encoder is shown are blanked in turn, and what the cosine
loses is put down to them. That needs nothing of the model but its output, so it works with every
tower; it costs as many passes as there are squares.
"""

from __future__ import annotations

import math

import numpy as np

from alphaclip.arguments import checked
from alphaclip.encoder.encoder import Encoder
from alphaclip.regions.images import open_image
from alphaclip.regions.region import Region
from alphaclip.views.cutter import make_views
from alphaclip.views.prefetch import Picture

CELLS = 10
"""Places of the square in a row and in a column."""

COVER = 2.0
"""Side of the square in distances between its places: neighbours overlap by half."""


@checked(cells=(2, 64), longest=(8, math.inf))
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
    import torch
    from PIL import Image

    pixels = open_image(image)
    size, whole = encoder.image_size, region.is_whole_image
    picture, alpha = make_views(pixels, [region], encoder.view, size)
    query = encoder.encode_text([text])[0]
    # The first blanks nothing: what the others lose, they lose to it.
    squares = [(slice(0, 0), slice(0, 0)), *_squares(size, cells)]
    blank = torch.tensor(encoder._model.mean).view(3, 1, 1) * 255.0
    at_once = 256 if encoder.device.type == "cuda" else 32
    cosines = []
    for start in range(0, len(squares), at_once):
        some = squares[start : start + at_once]
        copies = picture.float().repeat(len(some), 1, 1, 1)
        for copy, (rows, columns) in zip(copies, some, strict=True):
            copy[:, rows, columns] = blank
        maps = alpha.repeat(len(some), 1, 1, 1)
        cosines.append(encoder.encode_views(copies, maps, [whole] * len(some)) @ query)
    losses = np.concatenate(cosines)
    losses = np.maximum(losses[0] - losses[1:], 0).reshape(cells, cells)
    losses[losses < 1e-6] = 0  # float32's noise
    if losses.any():
        losses /= losses.max()
    # Each pixel of the result looks up its cell in the window, which may reach beyond the picture.
    height, width = pixels.shape[:2]
    left, top, right, bottom = encoder.view.window(region, height, width)
    shrink = min(1.0, longest / max(height, width))
    high, wide = max(1, round(height * shrink)), max(1, round(width * shrink))
    scale = np.array([cells / (right - left), cells / (bottom - top)])
    across = ((np.arange(wide) + 0.5) * (width / wide) - left) * scale[0]
    down = ((np.arange(high) + 0.5) * (height / high) - top) * scale[1]
    smooth = Image.fromarray(np.asarray(losses, np.float32))
    fine = np.asarray(smooth.resize((256, 256), Image.Resampling.BILINEAR), np.float32)
    at = [np.floor(v * (256 / cells)).astype(int) for v in (down, across)]
    inside = [(a >= 0) & (a < 256) for a in at]
    seen = fine[np.ix_(*(np.clip(a, 0, 255) for a in at))]
    return np.clip(seen * np.outer(*inside), 0, 1).astype(np.float32)


def _squares(size: int, cells: int) -> list[tuple[slice, slice]]:
    """The squares, row by row; each is centred on its cell."""
    step = size / cells
    reach = COVER * step / 2
    middles = [(i + 0.5) * step for i in range(cells)]
    spans = [slice(max(0, round(m - reach)), min(size, round(m + reach))) for m in middles]
    return [(rows, columns) for rows in spans for columns in spans]
