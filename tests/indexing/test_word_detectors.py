"""SAM 3, YOLOE and YOLO-World of FiftyOne's zoo: FiftyOne's own classes, with networks that know
where a white square is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import fiftyone as fo
import fiftyone.core.models as fom
import fiftyone.zoo as foz
import numpy as np
import pytest
import torch
from PIL import Image

from alphaclip.detectors.boxes import Grounder, GroundingSettings
from alphaclip.errors import AlphaClipError, MissingWeightsError
from alphaclip.indexing import segment
from alphaclip.indexing.dataset.labels import label_region
from alphaclip.indexing.word_detectors import installed_detector, open_detector
from alphaclip.regions.region import Region

SAM_3, YOLOE, WORLD = "segment-anything-3-image-torch", "yoloe11s-seg-torch", "yolov8s-world-torch"
HEIGHT, WIDTH = 60, 80
LEFT, TOP, RIGHT, BOTTOM = 8, 12, 40, 36
SCORES = {"a square": 0.9, "a box": 0.4}
"""By which each word is seen at the square; others are not."""


def picture() -> np.ndarray:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[TOP:BOTTOM, LEFT:RIGHT] = 255
    return image


def is_square(region: Region) -> bool:
    """Up to the row and the column of pixels that FiftyOne's rounding takes off YOLO's masks."""
    covered, square = region.alpha_map(HEIGHT, WIDTH) > 127, picture()[..., 0] > 0
    return (covered & square).sum() / (covered | square).sum() > 0.9


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """A zoo with all downloaded, as it makes its models; the options that each was loaded with."""
    loaded: list[dict[str, Any]] = []

    def load(name: str, **options: Any) -> Any:
        loaded.append(options)
        made_of = deepcopy(foz.get_zoo_model(name).default_deployment_config_dict)
        return fom.load_model(made_of, model_path=str(tmp_path / f"{name}.pt"), **options)

    monkeypatch.setattr(foz, "is_zoo_model_downloaded", lambda name: foz.get_zoo_model(name))
    monkeypatch.setattr(foz, "load_zoo_model", load)
    give_ultralytics(monkeypatch)
    give_sam_3(monkeypatch)
    return loaded


def give_ultralytics(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of ultralytics that FiftyOne calls."""
    import fiftyone.utils.ultralytics as fouu

    class Predictor:
        def __init__(self, overrides: dict, _callbacks: Any) -> None:
            self.args = SimpleNamespace(imgsz=64, rect=False, conf=overrides["conf"])
            self.dataset, self.batch = [None], None

        def setup_model(self, model: Any, verbose: bool) -> None:
            self.model = model

        def setup_source(self, source: Any) -> None:
            pass

        def inference(self, images: torch.Tensor) -> torch.Tensor:
            return images

        def postprocess(self, preds: Any, images: torch.Tensor, originals: list) -> list:
            assert np.array_equal(originals[0], picture())
            names = dict(enumerate(self.model.classes))
            seen = [n for n in names if SCORES.get(names[n], 0) >= self.args.conf]
            box = torch.tensor([[LEFT, TOP, RIGHT, BOTTOM]] * len(seen)).float()
            size = torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
            middle = torch.cat([(box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]], 1) / size
            scores = torch.tensor([SCORES[names[n]] for n in seen])
            boxes = Boxes(xyxy=box, xywhn=middle, cls=torch.tensor(seen), conf=scores)
            mask = torch.tensor(picture()[..., 0] > 0).float()
            masks = SimpleNamespace(data=mask.repeat(len(seen), 1, 1))
            one = SimpleNamespace(boxes=boxes, masks=masks, names=names, orig_img=originals[0])
            return [one]

    class Boxes(SimpleNamespace):
        is_track = False

        def __len__(self) -> int:
            return len(self.conf)

    class YOLO:
        task, predictor = "segment", None

        def __init__(self, model: str) -> None:
            self.overrides, self.callbacks = {}, {}
            self.task_map = {"segment": {"predictor": Predictor}}
            self.model = SimpleNamespace(stride=32, fp16=False, classes=())

        def to(self, device: Any) -> YOLO:
            return self

        def set_classes(self, classes: list[str], vectors: Any = None) -> None:
            assert (vectors is not None) == (type(self) is YOLOE_)
            self.model.classes = classes

    class YOLOE_(YOLO):
        def get_text_pe(self, classes: list[str]) -> torch.Tensor:
            return torch.zeros(len(classes), 4)

    package = ModuleType("ultralytics")
    package.YOLOE = YOLOE_
    package.YOLO = lambda model: (YOLOE_ if "yoloe" in model else YOLO)(model)
    letterbox = lambda *size, **how: lambda image: np.zeros((64, 64, 3), np.uint8)  # noqa: E731
    package.data = SimpleNamespace(augment=SimpleNamespace(LetterBox=letterbox))
    scale = SimpleNamespace(scale_masks=lambda masks, shape: masks)
    package.utils = SimpleNamespace(ops=scale)
    monkeypatch.setitem(sys.modules, "ultralytics", package)
    monkeypatch.setattr(fouu, "ultralytics", package)


def give_sam_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of sam3 that FiftyOne calls: of each query, its score and mask of two objects."""
    import fiftyone.utils.sam3 as fous

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            transforms = SimpleNamespace(resolution=64)
            self.inst_interactive_predictor = SimpleNamespace(
                _transforms=transforms, model=SimpleNamespace(backbone=None)
            )
            self.backbone = None

        def forward(self, points: list[Any]) -> list[dict[str, torch.Tensor]]:
            (point,) = points
            assert np.array_equal(np.asarray(point.images[0].data), picture())
            scores = [SCORES.get(query.query_text, 0.001) for query in point.find_queries]
            logits = torch.tensor([[score, 0.01] for score in scores]).logit()[..., None]
            mask = torch.tensor(np.where(picture()[..., 0] > 0, 9.0, -9.0)).float()
            masks = mask.repeat(len(scores), 2, 1, 1)
            presence = torch.full((len(scores), 1), 30.0)
            return [{"pred_logits": logits, "pred_masks": masks, "presence_logit_dec": presence}]

    def build(**options: Any) -> Network:
        assert options["enable_inst_interactivity"] is True
        return Network()

    builder = ModuleType("sam3.model_builder")
    builder.build_sam3_image_model = build
    monkeypatch.setitem(sys.modules, "sam3", ModuleType("sam3"))
    monkeypatch.setitem(sys.modules, "sam3.model_builder", builder)
    named = ("Datapoint", "Image", "FindQueryLoaded", "InferenceMetadata")
    monkeypatch.setattr(fous, "sam3ds", SimpleNamespace(**dict.fromkeys(named, SimpleNamespace)))
    collate = SimpleNamespace(collate_fn_api=lambda points, dict_key: {dict_key: points})
    monkeypatch.setattr(fous, "sam3coll", collate)
    copy = SimpleNamespace(copy_data_to_device=lambda points, device, non_blocking: points)
    monkeypatch.setattr(fous, "sam3misc", copy)
    scale = lambda masks, size, **how: torch.nn.functional.interpolate(masks, size)  # noqa: E731
    data_misc = SimpleNamespace(interpolate=scale)
    monkeypatch.setattr(fous, "sam3", SimpleNamespace(model=SimpleNamespace(data_misc=data_misc)))
    monkeypatch.setattr(fous, "build_sam_datapoint_transform", lambda: lambda point: point)
    monkeypatch.setattr(fous.SegmentAnything3ImageModel, "_download_model", lambda *_: None)


@pytest.fixture
def dataset(dataset_factory: Callable, tmp_path: Path) -> fo.Dataset:
    Image.fromarray(picture()).save(tmp_path / "square.png")
    dataset = dataset_factory("word_detectors")
    dataset.add_sample(fo.Sample(tmp_path / "square.png"))
    return dataset


@pytest.mark.parametrize("name", [SAM_3, YOLOE, WORLD])
def test_open_detector__of_the_zoo(zoo: list, name: str) -> None:
    detector: Grounder = open_detector(name, "cpu", GroundingSettings(0.35))
    words = ["a dog", "a box", "a square"]
    nothing, (doubtful,), (sure,) = detector.ground(picture(), words)
    assert nothing == [] and detector.ground(picture(), []) == []
    assert (doubtful.score, sure.score) == (pytest.approx(0.4), pytest.approx(0.9))
    corners = (LEFT / WIDTH, TOP / HEIGHT, RIGHT / WIDTH, BOTTOM / HEIGHT)
    assert sure.corners == pytest.approx(corners, abs=0.01)
    assert (sure.outline is None) == (name == WORLD)
    if sure.outline:
        assert is_square(sure.outline)
    detector.ground(picture(), words)
    ((only,),) = detector.ground(picture(), ["a square"])
    assert only == sure
    # SAM 3 reads the words with each picture; a YOLO is made for them
    assert len(zoo) == (1 if name == SAM_3 else 2) and all(one["device"] == "cpu" for one in zoo)
    surest = open_detector(name, "cpu", GroundingSettings(0.6)).ground(picture(), words)
    assert [len(boxes) for boxes in surest] == [0, 0, 1]


def test_open_detector__gives_sam_3_what_its_own_loader_gives(zoo: list, tmp_path: Path) -> None:
    from alphaclip.indexing.word_detectors import _sam_item

    Image.fromarray(picture()).save(tmp_path / "square.png")
    model = foz.load_zoo_model(SAM_3, operation_mode="concept", classes=["a square"])
    sample = {"id": "", "filepath": str(tmp_path / "square.png")}
    theirs, ours = model.build_get_item()(sample), _sam_item(picture(), ["a square"])
    assert np.array_equal(theirs.pop("image"), ours.pop("image"))
    assert theirs == ours


@pytest.mark.parametrize("name", [SAM_3, YOLOE])
def test_segment__by_a_detector_that_draws(dataset: fo.Dataset, zoo: list, name: str) -> None:
    """No other model is needed for the masks, and none is loaded."""
    options = {"concepts": ["a square", "a dog"], "least_score": 0.5, "progress": False}
    report = segment(dataset, into="found", model=name, device="cpu", **options)
    assert (report.added, report.skipped, len(zoo)) == (1, [], 1)
    (mask,) = dataset.first().found.detections
    assert is_square(label_region(mask))
    assert (mask.label, mask.confidence) == ("a square", pytest.approx(0.9))
    assert name in mask.source
    named = segment(dataset, into="found", detector=name, device="cpu", **options)
    assert named.done_before == 1


@pytest.mark.parametrize(
    "name", ["yolo11n-coco-torch", "yoloe26n-seg-pf-torch", "segment-anything-3-video-torch"]
)
def test_open_detector__that_takes_no_words(zoo: list, name: str) -> None:
    with pytest.raises(AlphaClipError, match="looks for no words"):
        open_detector(name)


def test_open_detector__that_is_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingWeightsError, match=r"facebook/sam3 sam3\.pt --local-dir"):
        open_detector(SAM_3)
    with pytest.raises(MissingWeightsError, match="download_zoo_model"):
        open_detector(WORLD)
    monkeypatch.setattr("alphaclip.weights.hub.try_to_load_from_cache", lambda *names: None)
    with pytest.raises(MissingWeightsError, match="grounding-dino-tiny --install"):
        installed_detector()
    monkeypatch.setattr(foz, "list_downloaded_zoo_models", lambda: {YOLOE: 0, "yolo11n": 0})
    assert installed_detector() == YOLOE
