from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any

import pytest
import torch
from asked import CLASSES, flat, images, settings
from learners import CPU
from torch import nn

from cnnctl.errors import NetError, SmallImageError, UsageError
from cnnctl.nets.net import Net
from cnnctl.scoring.dense import Averaged, Dense
from cnnctl.scoring.scorer import Eager

SHAPE = (3, 8, 8)


def dense_net() -> Net:
    torch.manual_seed(0)
    layers = {
        "conv": nn.Conv2d(3, 4, 3, stride=2), "act": nn.ReLU(), "flatten": nn.Flatten(),
        "fc": nn.Linear(36, 3),
    }  # fmt: skip
    return Net(OrderedDict[str, nn.Module](layers), "torch")


def eager(net: Net | None = None, precision: Any = "32-true") -> Eager:
    device = dataclasses.replace(CPU, precision=precision)
    return Eager(net or dense_net(), settings(), CLASSES, device)


def test_a_map_is_averaged_over_its_places() -> None:
    maps = nn.Sequential(nn.Identity())
    given = torch.randn(2, 3, 4, 5)
    assert torch.equal(Averaged(maps)(given), given.mean((2, 3)))


@pytest.mark.parametrize("make", [dense_net, flat])
def test_on_its_own_size_it_gives_what_the_net_gives(make: Any) -> None:
    scorer, given = eager(make()), images()
    torch.testing.assert_close(Dense(scorer, SHAPE, 8)(given), scorer(given))


def test_a_larger_image_is_the_mean_over_its_windows() -> None:
    scorer, given = eager(), images(2, 12)
    windows = [
        given[:, :, top : top + 8, left : left + 8] for top in (0, 2, 4) for left in (0, 2, 4)
    ]
    wanted = torch.stack([scorer(one) for one in windows]).mean(0)
    torch.testing.assert_close(Dense(scorer, SHAPE, 8)(given), wanted)


@pytest.mark.parametrize(
    ("precision", "near"), [("bf16-mixed", 0.05), ("bf16-true", 0.05), ("64-true", 1e-5)]
)
def test_it_computes_in_the_precision_of_the_net(precision: str, near: float) -> None:
    given = images(2, 12)
    wanted = Dense(eager(), SHAPE, 8)(given)
    found = Dense(eager(precision=precision), SHAPE, 8)(given)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=near, rtol=near)
    assert torch.equal(found, wanted) is False


def test_the_scorer_that_it_is_made_of_goes_on_as_before() -> None:
    scorer, given = eager(), images()
    before = scorer(given)
    Dense(scorer, SHAPE, 8)(images(1, 20))
    assert torch.equal(scorer(given), before)


def test_it_knows_the_classes_and_no_loss() -> None:
    made = Dense(eager(), SHAPE, 8)
    assert made.classes == CLASSES
    assert made.loss(torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64)) is None


def test_an_exported_file_cannot_slide() -> None:
    class File:
        classes = CLASSES

    with pytest.raises(UsageError) as caught:
        Dense(File(), SHAPE, 8)  # pyright: ignore[reportArgumentType] - nothing else is looked at
    text = "crops=dense needs the layers of the net; an exported file takes 8x8 images alone"
    assert str(caught.value) == f"{text} (give the run or the checkpoint that it is from)"


def test_the_smallest_scale_is_tried_before_any_image() -> None:
    text = r"a 6x6 image is too small for layer 'fc': \(2 − 3\)/1 \+ 1 = 0 \(larger scales\)"
    with pytest.raises(SmallImageError, match=text):
        Dense(eager(), SHAPE, 6)


def test_a_net_that_cannot_slide() -> None:
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten(), output=nn.Linear(192, 3))
    with pytest.raises(NetError, match="it has no convolution"):
        Dense(eager(Net(layers, "torch")), SHAPE, 8)
