"""Where published data sets come from, and how their folders look.

Readers raise :class:`MissingDataError` where a file is not there, and another AlphaClipError where
one has another form than expected. Entries that are bad are left out, with a line each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alphaclip.errors import AlphaClipError


class MissingDataError(AlphaClipError):
    """A file of a published dataset is not where it is expected.

    The message says where to get it and what layout is expected.
    """


@dataclass(frozen=True)
class Source:
    """A published data set: its name, where to get it, and how its folder looks."""

    name: str
    get: str
    layout: str

    def require(self, path: Path) -> Path:
        """A file or folder of the data set, which has to be there."""
        if not path.exists():
            raise MissingDataError(
                f"{path} is not there: it belongs to {self.name}.\nGet it from {self.get}.\n"
                f"The folder given as data looks like this:\n{self.layout}"
            )
        return path


COCO = Source(
    "COCO 2017",
    "https://cocodataset.org/#download (2017 Val images, 2017 Train/Val annotations)",
    "  annotations/instances_val2017.json\n  val2017/000000000139.jpg ...",
)

LVIS = Source(
    "LVIS v1",
    "https://www.lvisdataset.org/dataset (annotations; the pictures are COCO 2017's, and the "
    "validation set has pictures of train2017 as well)",
    "  annotations/lvis_v1_val.json\n  val2017/000000000139.jpg ...\n"
    "  train2017/000000000009.jpg ...",
)

IMAGENET_S_JSON = Source(
    "ImageNet-S with Alpha-CLIP's annotations",
    "https://huggingface.co/datasets/Zery/MaskImageNet (imagenet_919.json; CC BY-NC 4.0) and "
    "https://github.com/LUSSeg/ImageNet-S (pictures, made from your copy of ImageNet-1k)",
    "  imagenet_919.json\n  ImageNetS919/validation/n01440764/ILSVRC2012_val_00000293.JPEG ...",
)

IMAGENET_S = Source(
    "ImageNet-S",
    "https://github.com/LUSSeg/ImageNet-S (data_preparation.sh, with your copy of ImageNet-1k)",
    "  ImageNetS50/validation/n01443537/ILSVRC2012_val_00004677.JPEG ...\n"
    "  ImageNetS50/validation-segmentation/n01443537/ILSVRC2012_val_00004677.png ...\n"
    "  (the same with ImageNetS300 and ImageNetS919)",
)

RECLIP = Source(
    "RefCOCO, RefCOCO+ and RefCOCOg as ReCLIP has them",
    "https://github.com/allenai/reclip (reclip_data.tar.gz) and "
    "http://images.cocodataset.org/zips/train2014.zip (pictures)",
    "  reclip_data/refcoco_val.jsonl ...\n  reclip_data/refcoco_dets_dict.json ...\n"
    "  train2014/COCO_train2014_000000000009.jpg ...",
)

REFER = Source(
    "RefCOCO, RefCOCO+ and RefCOCOg as refer has them",
    "https://github.com/lichengunc/refer (refcoco.zip, refcoco+.zip, refcocog.zip) and "
    "http://images.cocodataset.org/zips/train2014.zip (pictures)",
    "  refcocog/instances.json\n  refcocog/refs(umd).p\n"
    "  train2014/COCO_train2014_000000000009.jpg ...",
)

VISUAL_GENOME = Source(
    "Visual Genome",
    "https://homes.cs.washington.edu/~ranjay/visualgenome/api.html (version 1.2: image meta "
    "data, region descriptions, both parts of the images)",
    "  image_data.json\n  region_descriptions.json\n  VG_100K/107899.jpg ...\n"
    "  VG_100K_2/1.jpg ...",
)
