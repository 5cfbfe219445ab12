from __future__ import annotations

from typing import Any

import pytest
import torch
from allocator import convolution, gradient, inside
from torch import Tensor

from cnnctl.audit.workspace import none, workspace

aten = torch.ops.aten
LAST = torch.channels_last
ONE = torch.float32
HALF = torch.bfloat16
CHANNELS = 100  # bytes a channel that are not worth telling


def told(func: Any, *args: Any) -> int:
    return workspace(func, args, func(*args))


def images(*shape: int, kind: torch.dtype = ONE, last: bool = False) -> Tensor:
    made = torch.randn(shape).to(kind)
    return made.to(memory_format=LAST) if last else made


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("gaps", [False, True])
def test_batch_norm_makes_its_gradient_twice_unless_there_are_gaps(
    kind, last, training, gaps
) -> None:
    image = images(4, 16, 20, 20, kind=kind, last=last)
    wide = torch.float64 if kind is torch.float64 else ONE
    weight, mean = torch.ones(16, dtype=wide), torch.zeros(16, dtype=wide)
    saved = aten.native_batch_norm(image, weight, mean, mean, weight, training, 0.1, 1e-5)[1:]
    back = images(4, 32, 20, 20, kind=kind, last=last)[:, :16] if gaps else torch.randn_like(image)
    args = (back, image, weight, mean, weight, *saved, training, 1e-5, [True] * 3)
    func = aten.native_batch_norm_backward.default
    half = 4 * image.numel() if kind is HALF else 0
    assert told(func, *args) == (half if gaps else image.nbytes)
    if not (gaps and last):
        assert abs(inside(lambda: func(*args)) - told(func, *args)) <= 16 * CHANNELS


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize(
    ("left", "right", "copied"),
    [
        (images(4, 3, 5), images(4, 3, 5), 0),
        (images(4, 3, 5, kind=HALF), images(4, 3, 5), 240),
        (images(4, 3, 5), images(4, 3, 5, kind=HALF), 240),
        (images(4, 3, 5), images(3, 1, kind=HALF), 12),
        (images(4, 3, 5), torch.arange(15).view(3, 5), 60),
        (images(4, 3, 5), torch.tensor(2.0, dtype=torch.float64), 0),
        (images(4, 3, 5), 2.0, 0),
    ],
)
def test_operands_of_another_type_are_copied(name, left, right, copied) -> None:
    func = getattr(aten, name).Tensor
    assert told(func, left, right) == copied
    scalars = 16 if copied == 0 else 0  # a number is made a tensor
    assert inside(lambda: func(left, right)) <= copied + scalars
    assert inside(lambda: func(left, right)) >= copied


def test_operands_are_copied_in_place_too() -> None:
    left, right = images(4, 3, 5), images(4, 3, 5, kind=HALF)
    for name in ("add_", "sub_", "mul_", "div_"):
        func = getattr(aten, name).Tensor
        assert told(func, left, right) == inside(lambda func=func: func(left, right)) == 240


@pytest.mark.parametrize(("kind", "width"), [(ONE, 0), (HALF, 4), (torch.float64, 0)], ids=str)
def test_a_mean_of_16_bit_numbers_is_taken_over_floats(kind, width) -> None:
    image = images(2, 8, 10, 10, kind=kind)
    assert told(aten.mean.dim, image, [2, 3], True) == width * (image.numel() + 16)  # noqa: FBT003 - torch's signature
    taken = inside(lambda: image.mean((2, 3), keepdim=True))
    assert abs(taken - width * (image.numel() + 16)) <= CHANNELS


def test_images_with_gaps_are_copied_before_they_are_convolved() -> None:
    args = list(convolution(2, (8, 6), 12, 3, kind=torch.float64))
    func = aten.convolution.default
    dense = told(func, *args)
    args[0] = images(2, 16, 12, 12, kind=torch.float64)[:, :8]
    assert told(func, *args) - dense == args[0].nbytes == 2 * 8 * 144 * 8
    assert inside(lambda: func(*args)) == told(func, *args)


def test_gradients_with_gaps_are_copied_too() -> None:
    func = aten.convolution_backward.default
    args = list(gradient(convolution(2, (8, 6), 12, 3, kind=torch.float64), (True, True, True)))
    dense = told(func, *args)
    args[0] = images(2, 16, 10, 10, kind=torch.float64)[:, :6]
    assert told(func, *args) - dense == args[0].nbytes == 2 * 6 * 100 * 8
    assert inside(lambda: func(*args)) == told(func, *args)


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.relu.default, (images(2, 3),)),
        (aten.mm.default, (images(2, 3), images(3, 4))),
        (aten.cat.default, ([images(2, 3), images(2, 3)], 1)),
        (aten.native_batch_norm.default, (images(2, 3, 4, 4), *[None] * 4, True, 0.1, 1e-5)),
        (aten.convolution.default, (images(2, 3, 9), images(4, 3, 3), None, [1], [0], [1], False,
                                    [0], 1)),
    ],
)  # fmt: skip
def test_of_other_operations_nothing_is_known(func, args) -> None:
    assert told(func, *args) == 0


def test_of_other_devices_nothing_is_known() -> None:
    args = convolution(2, (8, 6), 12, 3)
    assert none(aten.convolution.default, args, aten.convolution(*args)) == 0


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("name", ["_softmax", "_log_softmax"])
def test_softmax_copies_maps_that_do_not_lie_row_by_row(name, cut, last) -> None:
    value = (
        images(2, 5, 40, 40, last=last)[..., 4:36, 4:36] if cut else images(2, 5, 40, 40, last=last)
    )
    func = getattr(aten, name).default
    args = (value, 1, False)
    assert told(func, *args) == inside(lambda: func(*args)) == (value.nbytes if cut or last else 0)


@pytest.mark.parametrize("name", ["upsample_nearest2d", "upsample_bilinear2d"])
@pytest.mark.parametrize(("side", "last"), [(32, False), (32, True), (80, False), (80, True)])
def test_small_maps_are_resized_in_channels_last(name, side, last) -> None:
    func = getattr(aten, name).default
    args = (
        images(4, 8, side, side, last=last),
        [2 * side] * 2,
        *([False] if "bil" in name else []),
    )
    found = inside(lambda: func(*args))
    assert abs(told(func, *args) - found) <= CHANNELS * 2 * side  # tables of a line and a column
    assert (found > args[0].nbytes) == (side == 32 and not last)


@pytest.mark.parametrize("last", [False, True])
def test_the_gradient_of_bicubic_maps_is_copied_if_it_is_in_channels_last(last) -> None:
    func = aten.upsample_bicubic2d_backward.default
    gradient = images(2, 5, 40, 40, last=last)
    args = (gradient, [40, 40], [2, 5, 20, 20], False)
    assert told(func, *args) == (gradient.nbytes if last else 0)
    assert abs(inside(lambda: func(*args)) - told(func, *args)) <= CHANNELS * 80
