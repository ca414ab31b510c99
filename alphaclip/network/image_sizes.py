"""Another size of the pictures that a model takes."""

from __future__ import annotations

from dataclasses import replace

from open_clip.model import resize_pos_embed
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import nn

from alphaclip.errors import AlphaClipError
from alphaclip.network.model import AlphaCLIP

_POSITIONS = "visual.positional_embedding"


def set_image_size(model: AlphaCLIP, size: int) -> None:
    """Makes a model take larger or smaller pictures, in place.

    Its patches stay as large as they are, so there are more or fewer of them; where each is, is
    interpolated from what the model has learnt.

    Args:
        model: a vision transformer of open_clip's own or of timm's
        size: side of the pictures in pixels, a multiple of the patch's

    Raises:
        AlphaClipError: the image encoder is of another kind, or the size no such multiple
    """
    if size == model.image_size:
        return
    visual, name = model.clip.visual, model.config.name
    grid = getattr(getattr(visual, "trunk", None), "patch_embed", visual)
    if not isinstance(visual, VisionTransformer | TimmModel) or not hasattr(grid, "grid_size"):
        raise AlphaClipError(
            f"{name}: its image encoder ({type(visual).__name__}) takes {model.image_size} pixels "
            "only: leave image_size out, or take a vision transformer of open_clip's"
        )
    patch = model.image_size // grid.grid_size[0]
    if size % patch:
        raise AlphaClipError(
            f"image_size is {size}, but {name} has patches of {patch} pixels: take a multiple"
        )
    if isinstance(visual, TimmModel):
        visual.set_input_size(size)
    else:
        visual.image_size, visual.grid_size = (size, size), (size // patch, size // patch)
        state = {_POSITIONS: visual.positional_embedding.detach()}
        resize_pos_embed(state, model.clip)
        visual.positional_embedding = nn.Parameter(state[_POSITIONS])
    settings = model.config.settings
    vision = {**settings["vision_cfg"], "image_size": size}
    model.config = replace(model.config, settings={**settings, "vision_cfg": vision})
    model.image_size = size
