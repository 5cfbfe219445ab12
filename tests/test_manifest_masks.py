"""What a file of a net for masks says of itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import exports
import numpy as np
from safetensors.numpy import save_file

from cnnctl import manifest
from cnnctl.manifest import Manifest

ONE = exports.manifest(classes=("membrane", "cell", "other"))


def kept(text: str) -> Path:
    """A file that says this of itself."""
    save_file({"a": np.zeros(3)}, "net.safetensors", {manifest.ENTRY: text})
    return Path("net.safetensors")


def test_a_file_without_sides_is_not_of_a_net_for_masks() -> None:
    gone = ("least", "stride", "margin")
    document = {key: value for key, value in ONE.document().items() if key not in gone}
    assert manifest.read(kept(json.dumps(document))) == ONE


def masks(**changes: Any) -> Manifest:
    """The paper's U-Net: sides of 16n + 188, of which 92 pixels at each edge are lost."""
    unet = {"least": 188, "stride": 16, "margin": 92, "channels": 1}
    return dataclasses.replace(ONE, **unet | changes)


def test_the_sides_of_the_paper() -> None:
    assert [masks().side(length) for length in (1, 4, 5, 388, 389)] == [188, 188, 204, 572, 588]
    assert masks(least=1, stride=1, margin=0).side(37) == 37


def test_masks_are_as_large_as_the_image() -> None:
    one = masks()
    assert one.takes["shape"] == ["batch", 1, "height", "width"]
    assert (one.takes["type"], one.gives["name"]) == ("uint8", "probabilities")
    assert one.takes["about"] == "grey bytes of any size; the answer is as large"
    assert one.gives["shape"] == ["batch", 3, "height", "width"]
    assert manifest.read(kept(one.text())) == one


def test_the_net_alone_takes_sides_of_its_own() -> None:
    one = masks(include=(), config={"data": {"resize": 512}})
    assert one.takes["type"] == "float32"
    assert one.takes["about"] == (
        "(byte / 255 − mean) / std, channel by channel; height and width are 188 or any multiple of"
        " 16 more, 92 pixels at each edge mirrored; resize the short side to 512 pixels first, as"
        " in training"
    )
    assert one.gives["shape"] == ["batch", 3, "height - 184", "width - 184"]
    padded = masks(include=(), margin=0, least=16)
    assert padded.gives["shape"] == ["batch", 3, "height", "width"]
    assert "mirrored" not in padded.takes["about"]
