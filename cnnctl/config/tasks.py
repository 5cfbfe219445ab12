"""What is learned, by the family of the net; without torch, beside which the families stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Task = Literal["classify", "segment", "reconstruct"]
FAMILIES: dict[str, Task] = {
    **dict.fromkeys(("fcn", "library_masks", "segnet", "unet"), "segment"),
    "autoencoder": "reconstruct",
}


def of(model: Mapping[str, Any]) -> Task:
    """A class for each image, a class for each pixel, or the image itself."""
    return FAMILIES.get(str(model.get("family")), "classify")
