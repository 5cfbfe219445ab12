from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from exports import manifest, pixels
from torch import Tensor
from torch.nn.functional import interpolate

from cnnctl.data.source import Source, Stored
from cnnctl.errors import ExportError
from cnnctl.export import parity
from cnnctl.export.remade import Remade
from cnnctl.export.shown import Shown, choose

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
ABOUT = manifest(
    channels=3, size=16, mean=MEAN, std=STD, include=("preprocess",),
    config={"model": {"family": "autoencoder"}},
)  # fmt: skip
BARE = dataclasses.replace(ABOUT, include=())
WHOLE = Remade(manifest=ABOUT, softmax=False, tolerance=1e-4, raw_tolerance=1e-2)
ANY = dataclasses.replace(WHOLE, tolerance=None, raw_tolerance=None)


def darker(images: Tensor) -> Tensor:
    """What the net of these tests makes of bytes: half their intensities."""
    return images.float() / 255 / 2


class Says:
    """A scorer that gives what `makes` makes of images, as a net gives it: normalised."""

    classes = tuple("abc")

    def __init__(self, makes: Callable[[Tensor], Tensor] = darker) -> None:
        self.makes = makes

    def __call__(self, images: Tensor, /) -> Tensor:
        mean, std = (torch.tensor(one).view(-1, 1, 1) for one in (MEAN, STD))
        if images.shape[-2:] != (16, 16):  # as a file does it, but not as well
            images = interpolate(images, (16, 16), mode="nearest")
        return (self.makes(images) - mean) / std

    def loss(self, _logits: Tensor, _labels: Tensor, /) -> Tensor | None:
        return None


def shown(count: int = 40) -> Shown:
    images = Stored(pixels(count, 3, 16, 16), np.zeros(count, np.int64))
    return choose(Source(tuple("abc"), {"test": images}), "test", count, 16)


def proven(proof: Remade, file: Says, eager: Says | None = None) -> dict[str, Any]:
    kinds = parity.BATCHES
    return parity.prove(proof, eager or Says(), file, shown(), kinds, lambda *_: None)


def test_the_same_images_are_proven_the_same() -> None:
    found = proven(WHOLE, Says())
    assert (found["n"], found["split"], found["of"]) == (40, "test", "intensities")
    assert (found["max_abs_error"], found["error"]) == (0, 0)
    assert [row["batch_size"] for row in found["batches"]] == [1, 3, 32]
    assert not [name for name in found if "top1" in name]


def test_the_figures_are_those_of_numpy() -> None:
    """Of the net, which halves them, and of a file that gives the images as they are."""
    found = proven(ANY, Says(lambda images: images.float() / 255))
    true = pixels(40, 3, 16, 16).double().numpy() / 255
    mse = ((true / 2 - true) ** 2).mean()
    spread = ((true - true.mean((0, 2, 3), keepdims=True)) ** 2).mean()
    assert found["mse_eager"] == pytest.approx(mse, rel=1e-5)
    assert found["psnr_eager"] == pytest.approx(10 * np.log10(1 / mse), rel=1e-5)
    assert found["explained_eager"] == pytest.approx(1 - mse / spread, abs=1e-6)
    assert found["explained_export"] == pytest.approx(1)
    assert found["psnr_export"] == pytest.approx(120)


def grey(images: Tensor) -> Tensor:
    """A hundredth of white more in one pixel of the third channel."""
    made = darker(images)
    made[0, 2, 3, 3] += 0.01
    return made


def test_the_error_is_told_as_the_file_gives_it_and_judged_as_a_share_of_white() -> None:
    found = proven(ANY, Says(grey))
    assert (found["of"], found["max_abs_error"]) == ("intensities", pytest.approx(0.01, rel=1e-4))
    assert found["error"] == pytest.approx(0.01, rel=1e-4)
    bare = proven(dataclasses.replace(ANY, manifest=BARE), Says(grey))
    assert (bare["of"], bare["max_abs_error"]) == ("values", pytest.approx(0.01 / 0.3, rel=1e-4))
    assert bare["error"] == pytest.approx(0.01, rel=1e-4)


def test_an_error_is_refused_and_the_tolerance_named_that_would_take_it() -> None:
    line = r"on batches of 1 it is off by 0\.01 of the largest intensity, 0\.0001 is allowed"
    with pytest.raises(ExportError, match=line) as caught:
        proven(WHOLE, Says(grey))
    assert caught.value.hint == "nothing was kept; tolerance=0.02 would take it"


def test_what_is_brighter_than_white_allows_as_much_more() -> None:
    def bright(images: Tensor) -> Tensor:
        return darker(images) + 100

    def brighter(images: Tensor) -> Tensor:
        return bright(images) + 0.005

    assert 4e-5 < proven(WHOLE, Says(brighter), Says(bright))["error"] < 6e-5


@pytest.mark.parametrize("who", ["file", "net"])
def test_numbers_that_are_not_finite_are_refused(who: str) -> None:
    broken = Says(lambda images: darker(images) / 0)
    told = {"file": "the file gives numbers that are not", "net": "the net itself gives numbers"}
    with pytest.raises(ExportError, match=told[who]):
        proven(ANY, *((broken, Says()) if who == "file" else (Says(), broken)))


def test_images_of_other_sizes_are_compared_with_what_the_net_is_shown() -> None:
    """A file that resizes by picking pixels gives something else."""
    with pytest.raises(ExportError, match="on images of other sizes it is off by"):
        parity.prove_raw(WHOLE, Says(), Says(), shown(), lambda *_: None)
    found = parity.prove_raw(ANY, Says(), Says(), shown(), lambda *_: None)
    assert (found["n"], found["sizes"], found["scaled"]) == (40, 3, True)
    assert found["explained_eager"] != found["explained_export"]
