"""How a box is shown in referring expression comprehension."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from alphaclip.views.view import View

BLUR_SIGMA = 100.0
"""In pixels of the original picture (ReCLIP's ``blur_std_dev``)."""

REPRESENTATIONS: Mapping[str, View] = MappingProxyType(
    {
        "full": View("squash"),
        "blur": View("squash", background="blur", blur_sigma=BLUR_SIGMA),
        "gray": View("squash", background="gray"),
        "crop": View("context", context=1.0),
    }
)
"""By the names of Alpha-CLIP's code, table 13: the whole picture squashed to the model's square
with the mask as alpha; the same, blurred or gray outside the mask; and the box's crop padded to a
square with black. The picture is scaled with antialiasing, as the reference does by PIL; so is the
mask, whose scaling there depends on torchvision's version."""
