"""The alpha channel on any open_clip visual tower.

Alpha-CLIP adds one bias-free convolution with a single input channel beside the first
convolution of the image encoder and sums their outputs (arXiv 2312.03818, section 3.2). Here the
tower's first convolution is replaced by one that reads four channels, picture and alpha map
together, so every way through the tower (pooled, intermediate, checkpointed, compiled) carries
the alpha map as part of its input and nothing is kept between calls.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alphaclip.errors import AlphaClipError

ALPHA_MEAN = 0.5
ALPHA_STD = 0.26
"""As the reference code normalises alpha maps; the released weights were trained with it."""
ALPHA_SUFFIX = "_alpha"
"""What the alpha convolution's name adds to the name of the convolution it stands beside."""


class AlphaConv2d(nn.Conv2d):
    """A picture's first convolution plus the alpha map's.

    It takes over the weight and bias of ``rgb``, so their names in a state dict stay open_clip's.
    ``alpha``, of 1 input channel, is registered beside it, in the module that owns both.
    """

    def __init__(self, rgb: nn.Conv2d, alpha: nn.Conv2d) -> None:
        super().__init__(**_geometry(rgb), in_channels=3, bias=False, device="meta")
        self.weight = rgb.weight
        self.bias = rgb.bias
        self._beside = (alpha,)
        self.train(rgb.training)

    def forward(self, input: Tensor) -> Tensor:
        """Sums both convolutions of (N, 4, H, W), red, green, blue, alpha; see `join_alpha`.

        Raises:
            AlphaClipError: the input has no fourth channel
        """
        if input.shape[-3] != 4:
            raise AlphaClipError(
                f"input has shape {tuple(input.shape)}: this tower takes 4 channels, red, green, "
                "blue and alpha; use AlphaCLIP.encode_image(image, alpha) or join_alpha"
            )
        rgb, alpha = input.split((3, 1), dim=-3)
        return super().forward(rgb) + self._beside[0](alpha)


def add_alpha_channel(visual: nn.Module) -> None:
    """Gives an open_clip visual tower an alpha channel, in place, with zero weights.

    Until the new weights are trained or loaded, the output equals the base tower's exactly for
    every finite alpha map. They are named after the convolution they stand beside:
    ``conv1_alpha.weight`` in open_clip's own towers, ``trunk.patch_embed.proj_alpha.weight`` in
    timm's vision transformers, ``trunk.stem_0_alpha.weight`` in ConvNeXt.

    Args:
        visual: ``model.visual`` of any open_clip model; from now on it takes (N, 4, R, R)

    Raises:
        AlphaClipError: the tower has an alpha channel already, or no convolution of a kind that
            can be given one reads its picture
    """
    # One convolution reads the picture; in MobileCLIP's re-parameterised stems two do.
    convolutions = [
        (name, module)
        for name, module in visual.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == 3
    ]
    if any(isinstance(convolution, AlphaConv2d) for _, convolution in convolutions):
        raise AlphaClipError("this visual tower has an alpha channel already")
    unusual = [
        f"{name} ({type(convolution).__name__})"
        for name, convolution in convolutions
        if type(convolution) is not nn.Conv2d or convolution.groups != 1
    ]
    if unusual or not convolutions:
        raise AlphaClipError(
            f"{type(visual).__name__}: the alpha channel needs an ordinary 3-channel Conv2d to "
            f"stand beside, found {', '.join(unusual) or 'none'}"
        )
    for name, rgb in convolutions:
        device, dtype = rgb.weight.device, rgb.weight.dtype
        alpha = nn.Conv2d(
            **_geometry(rgb), in_channels=1, bias=False, device=device, dtype=dtype
        ).train(rgb.training)
        nn.init.zeros_(alpha.weight)
        # A Sequential would run it as one more step, so it moves up to the next other module.
        path, _, own = name.rpartition(".")
        while isinstance(visual.get_submodule(path), (nn.Sequential, nn.ModuleList)):
            path, _, last = path.rpartition(".")
            own = f"{last}_{own}"
        visual.get_submodule(path).add_module(own + ALPHA_SUFFIX, alpha)
        visual.set_submodule(name, AlphaConv2d(rgb, alpha))


def join_alpha(image: Tensor, alpha: Tensor) -> Tensor:
    """The input of a tower with an alpha channel.

    Args:
        image: (N, 3, R, R), normalised with the model's mean and standard deviation
        alpha: (N, 1, R, R), normalised: (x - `ALPHA_MEAN`) / `ALPHA_STD` for x in [0, 1]

    Returns:
        (N, 4, R, R), of the image's dtype

    Raises:
        AlphaClipError: the shapes do not belong together
    """
    if image.ndim != 4 or image.shape[1] != 3:
        raise AlphaClipError(f"image has shape {tuple(image.shape)}: expected (N, 3, R, R)")
    expected = (image.shape[0], 1, *image.shape[2:])
    if tuple(alpha.shape) != expected:
        raise AlphaClipError(
            f"alpha has shape {tuple(alpha.shape)}, image {tuple(image.shape)}: "
            f"alpha must be {expected}, one map for each image and at its resolution"
        )
    return torch.cat((image, alpha.to(image.dtype)), dim=1)


def _geometry(convolution: nn.Conv2d) -> dict[str, Any]:
    names = ("out_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode")
    return {name: getattr(convolution, name) for name in names}
