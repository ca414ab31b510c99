"""Segment Anything (SAM) as a network: its architectures, and reading weights of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaclip.errors import AlphaClipError, CheckpointError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class SamArchitecture:
    """The sizes that tell one SAM from another.

    Attributes:
        width: of the image encoder
        depth: blocks of the image encoder
        heads: of each block
        global_blocks: those that attend over the whole picture, not over windows
        image_size: side in pixels to which the longer side of a picture is brought
        prompt_width: of the mask decoder
        decoder_hidden: width inside the mask decoder's MLPs
        window: side of a window, in patches
        mlp_ratio: width inside the image encoder's MLPs, as a multiple of its width
        patch: side of a patch in pixels
    """

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    image_size: int = 1024
    prompt_width: int = 256
    decoder_hidden: int = 2048
    window: int = 14
    mlp_ratio: float = 4.0
    patch: int = 16

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch


SAM_ARCHITECTURES = {
    "vit_b": SamArchitecture(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": SamArchitecture(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": SamArchitecture(1280, 32, 16, (7, 15, 23, 31)),
    "vit_nano": SamArchitecture(
        96, 5, 4, (1, 3, 4), image_size=96, prompt_width=64, decoder_hidden=256, window=6,
        mlp_ratio=3.0, patch=8,
    ),
}  # fmt: skip
"""The released three, and a small one for tests."""


def read_sam(path: Path) -> tuple[str, nn.Module]:
    """Builds the SAM that a file holds the weights of.

    Args:
        path: ``.safetensors``, or a PyTorch file, read with ``torch.load(weights_only=True)``

    Returns:
        the name of the architecture, and the model, on the CPU, in evaluation mode

    Raises:
        CheckpointError: unreadable, unsafe, not SAM weights, or tensors missing, unexpected, of
            another shape or not finite
    """
    import torch

    from alphaclip.weights.checkpoints import check_tensors, read_tensors

    tensors = {}
    for name, value in read_tensors(path).items():
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            raise CheckpointError(
                f"{path}: {name} is a {type(value).__name__}, expected a floating-point tensor: "
                "give the state dict itself, not what a training script saved around it"
            )
        tensors[name] = value.float()
    name = "image_encoder.pos_embed"
    shape = tuple(tensors[name].shape) if name in tensors else None
    by_shape = {(1, s.grid, s.grid, s.width): name for name, s in SAM_ARCHITECTURES.items()}
    if shape not in by_shape:
        seen = f"{name} has shape {shape}" if shape else f"there is no {name}"
        raise CheckpointError(
            f"{path}: these are not weights of a SAM that is known here ({seen}); known are "
            f"{', '.join(SAM_ARCHITECTURES)}. SAM 2 is used through FiftyOne's zoo: "
            "model='segment-anything-2-hiera-tiny-image-torch'"
        )
    architecture = by_shape[shape]
    model = build_sam(architecture)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    check_tensors(tensors, expected, str(path), f"SAM {architecture}")
    infinite = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if infinite:
        raise CheckpointError(
            f"{path}: {infinite[0]} is not finite: the file is damaged, get it again"
        )
    model.load_state_dict(tensors)
    return architecture, model


def build_sam(architecture: str) -> nn.Module:
    """One of `SAM_ARCHITECTURES` with random weights, in evaluation mode, made of the package's
    own modules."""
    from torch.nn import LayerNorm

    modeling = import_segment_anything().modeling
    sizes = SAM_ARCHITECTURES[architecture]
    side = sizes.grid
    return modeling.Sam(
        image_encoder=modeling.ImageEncoderViT(
            depth=sizes.depth,
            embed_dim=sizes.width,
            img_size=sizes.image_size,
            mlp_ratio=sizes.mlp_ratio,
            norm_layer=partial(LayerNorm, eps=1e-6),
            num_heads=sizes.heads,
            patch_size=sizes.patch,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=sizes.global_blocks,
            window_size=sizes.window,
            out_chans=sizes.prompt_width,
        ),
        prompt_encoder=modeling.PromptEncoder(
            embed_dim=sizes.prompt_width,
            image_embedding_size=(side, side),
            input_image_size=(sizes.image_size, sizes.image_size),
            mask_in_chans=16,
        ),
        mask_decoder=modeling.MaskDecoder(
            num_multimask_outputs=3,
            transformer=modeling.TwoWayTransformer(
                depth=2, embedding_dim=sizes.prompt_width, mlp_dim=sizes.decoder_hidden, num_heads=8
            ),
            transformer_dim=sizes.prompt_width,
            iou_head_depth=3,
            iou_head_hidden_dim=sizes.prompt_width,
        ),
    ).eval()


def import_segment_anything() -> Any:
    """The package ``segment_anything``.

    Raises:
        AlphaClipError: if it is not installed
    """
    try:
        import segment_anything
    except ImportError as error:
        raise AlphaClipError(
            f"the package segment-anything cannot be imported ({error}): "
            "pip install segment-anything"
        ) from error
    return segment_anything
