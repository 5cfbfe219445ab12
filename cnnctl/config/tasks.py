"""What is learned, by the family of the net; without torch, beside which the families stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Task = Literal["classify", "segment", "reconstruct"]
FAMILIES: dict[str, Task] = {
    **dict.fromkeys(("fcn", "library_masks", "segnet", "unet"), "segment"),
    "autoencoder": "reconstruct",
}
TORCHVISION = (  # its nets that give a class for each pixel
    "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet101", "deeplabv3_resnet50", "fcn_resnet101",
    "fcn_resnet50", "lraspp_mobilenet_v3_large",
)  # fmt: skip
FIGURES: dict[Task, str] = {  # by which an epoch is judged: more is better
    "classify": "top1", "segment": "miou", "reconstruct": "explained",
}  # fmt: skip


def of(model: Mapping[str, Any]) -> Task:
    """A class for each image, a class for each pixel, or the image itself."""
    return FAMILIES.get(str(model.get("family")), "classify")
