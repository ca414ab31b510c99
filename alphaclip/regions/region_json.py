"""Regions as one line of JSON each, so that a job can be described by files alone."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np

from alphaclip.errors import RegionError
from alphaclip.regions.region import Region


def region_to_json(region: Region) -> str:
    """Writes a region; nothing is lost.

    Returns:
        an object with ``box``, ``rings`` and ``mask`` (``shape``, and the uint8 values deflated, in
        base64); what a region has not is left out
    """
    box = region.box
    if (
        box is not None
        and region.mask is None
        and not region.rings
        and {*map(type, box)} == {float}
    ):
        return f'{{"box": {list(box)!r}}}'  # As json does it, in a third of the time
    content: dict[str, object] = {}
    if box is not None:
        content["box"] = list(box)
    if region.rings:
        content["rings"] = [ring.tolist() for ring in region.rings]
    if region.mask is not None:
        packed = zlib.compress(np.ascontiguousarray(region.mask).tobytes(), 1)
        values = base64.b64encode(packed).decode("ascii")
        content["mask"] = {"shape": list(region.mask.shape), "values": values}
    return json.dumps(content)


def region_from_json(text: str) -> Region:
    """Reads what :func:`region_to_json` wrote.

    Raises:
        RegionError: if it is not that
    """
    try:
        content = json.loads(text)
        if content.keys() - {"box", "rings", "mask"}:
            raise KeyError("it has other names")
        box, rings, mask = (content.get(name) for name in ("box", "rings", "mask"))
        return Region(
            None if box is None else Region.from_box(box).box,
            None if mask is None else _unpack(mask["shape"], mask["values"]),
            () if rings is None else Region.from_polygon(rings).rings,
        )
    except (
        ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, zlib.error
    ) as error:  # fmt: skip
        raise RegionError(f"region is {text!r:.80}: expected what region_to_json wrote") from error


def _unpack(shape: list[int], values: str) -> np.ndarray:
    height, width = shape
    expected = height * width
    if min(height, width) < 0:
        raise ValueError(f"mask has shape {shape}")
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(base64.b64decode(values), expected + 1)
    if len(content) != expected:
        raise ValueError(f"mask has {len(content)} values, its shape is {shape}")
    return np.frombuffer(content, np.uint8).reshape(height, width)
