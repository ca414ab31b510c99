"""open_clip's models for photographs: licence, size and published accuracy of each.

Licences are those of the weights, as their makers state them (read in November 2026): PE-Core in
the repository facebookresearch/perception_models and SigLIP 2 in google-research/big_vision
(Apache-2.0), DataComp's, LAION's and OpenAI's (MIT), DFN's on their model cards (Apple's, for
research). Accuracies are zero-shot on ImageNet: of PE-Core in arXiv 2504.13181, of the others in
open_clip's own table of results.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FREE = ("MIT", "Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "CC BY 4.0")
"""Licences that allow commercial use."""

APPLE = "Apple Machine Learning Research Model Licence, for research only"


def allows_commerce(licence: str) -> bool | None:
    """Whether a licence allows commercial use; None where that is not known here."""
    own = licence.rpartition(": ")[2].lower()
    if own in map(str.lower, FREE):
        return True
    return False if "nc" in re.split("[ -]", own) or "research only" in own else None


@dataclass(frozen=True)
class Candidate:
    """A model of open_clip's.

    Attributes:
        model: ARCHITECTURE/TAG of open_clip's
        accuracy: zero-shot on ImageNet, in percent, as published
        licence: of the weights
        megabytes: of the download, about: four bytes a parameter
        gigaflops: of the image tower for one region, about
        tokens: of a text that it reads, the two at its ends included
    """

    model: str
    accuracy: float
    licence: str
    megabytes: int
    gigaflops: int
    tokens: int = 77

    @property
    def is_free(self) -> bool:
        """Whether it may be used commercially."""
        return allows_commerce(self.licence) is True

    @property
    def size(self) -> str:
        """Of the download, for people."""
        return f"{self.megabytes / 1000:.1f} GB"


PE_L = Candidate("PE-Core-L-14-336/meta", 83.5, "Apache-2.0", 2680, 390, tokens=32)
PE_B = Candidate("PE-Core-B-16/meta", 78.4, "Apache-2.0", 1790, 37, tokens=32)
PE_S = Candidate("PE-Core-S-16-384/meta", 72.7, "Apache-2.0", 350, 32, tokens=32)

CANDIDATES = (
    Candidate("ViT-H-14-378-quickgelu/dfn5b", 84.4, APPLE, 3950, 1010),
    PE_L,
    Candidate("ViT-L-14-quickgelu/dfn2b", 81.4, APPLE, 1710, 162),
    Candidate("ViT-L-14/datacomp_xl_s13b_b90k", 79.2, "MIT", 1710, 162),
    PE_B,
    Candidate("ViT-L-14-336-quickgelu/openai", 76.6, "MIT", 1710, 382),
    Candidate("ViT-B-16-quickgelu/dfn2b", 76.2, APPLE, 600, 35),
    Candidate("ViT-L-14-quickgelu/openai", 75.5, "MIT", 1710, 162),
    Candidate("ViT-B-16/datacomp_xl_s13b_b90k", 73.5, "MIT", 600, 35),
    PE_S,
    Candidate("ViT-B-16/laion2b_s34b_b88k", 70.2, "MIT", 600, 35),
    Candidate("ViT-B-16-quickgelu/openai", 68.3, "MIT", 600, 35),
)
"""The most accurate first. Only models whose tokenizer comes with open_clip, so that text works
without internet."""

SIGLIP = Candidate("ViT-SO400M-16-SigLIP2-384/webli", 84.1, "Apache-2.0", 4540, 510, tokens=64)
"""For long texts and many languages; its tokenizer is downloaded beside it."""


@dataclass(frozen=True)
class HubModel:
    """A dual encoder or a detector of transformers'.

    Attributes:
        name: loads it
        licence: of the weights, as their makers state it
        gigabytes: of the download, about
        tokens: of a text that it reads
        summary: what it is good for
    """

    name: str
    licence: str
    gigabytes: float
    tokens: int
    summary: str


HUB_MODELS = (
    HubModel("hf:google/tipsv2-b14", "CC-BY-4.0", 0.8, 64, "patches aligned to text: +maskpool"),
    HubModel("hf:google/siglip2-base-patch16-naflex", "Apache-2.0", 1.5, 64, "many languages"),
    HubModel("hf:google/siglip2-so400m-patch16-naflex", "Apache-2.0", 4.5, 64, "many languages"),
    HubModel(
        "hf:facebook/metaclip-2-worldwide-huge-quickgelu",
        "CC-BY-NC-4.0",
        7.4,
        77,
        "many languages",
    ),
    HubModel("hf:Qwen/Qwen3-VL-Embedding-2B", "Apache-2.0", 4.3, 512, "long texts; slow"),
)
"""Some of those that `alphaclip.weights.dual_encoders` can load."""

DETECTORS = (
    HubModel("IDEA-Research/grounding-dino-tiny", "Apache-2.0", 0.7, 256, "any words; the usual"),
    HubModel(
        "IDEA-Research/grounding-dino-base", "Apache-2.0", 0.9, 256, "the same, surer, slower"
    ),
    HubModel("google/owlv2-base-patch16-ensemble", "Apache-2.0", 0.6, 16, "names of things"),
)
"""Detectors of words, of which the first that is here is taken where none is named."""


def find_detector(name: str) -> HubModel | None:
    """The detector of this name, None if it is none of `DETECTORS`."""
    return next((one for one in DETECTORS if one.name == name), None)


OFFERED = {"cuda": PE_L, "cpu": PE_B, "small": PE_S}
"""What is offered for download, for each device: free to use, and of a size that it can bear."""
