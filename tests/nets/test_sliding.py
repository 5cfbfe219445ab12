from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracle import answer, aten, meta, real, told
from torch import nn

from cnnctl.nets import sliding

convolution = aten.convolution.default
convolution_backward = aten.convolution_backward.default
max_pool = aten.max_pool2d_with_indices.default
avg_pool = aten.avg_pool2d.default

PAIR = st.lists(st.integers(1, 3), min_size=2, max_size=2)
FEW = st.lists(st.integers(0, 2), min_size=2, max_size=2)
SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
# A real kernel makes the weight's gradient along with the bias's, wanted or not.
WANTED = [(True, True, True), (False, True, True), (True, True, False), (True, False, False)]
laws = settings(max_examples=50, deadline=None)


def left(size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


@laws
@given(
    batch=st.integers(0, 2), groups=st.integers(1, 3), widths=st.tuples(PAIR), sides=SIDES,
    kernel=PAIR, stride=PAIR, padding=FEW, dilation=PAIR, bias=st.booleans(), last=st.booleans(),
)  # fmt: skip
def test_a_convolution_gives_what_a_real_one_gives(
    batch, groups, widths, sides, kernel, stride, padding, dilation, bias, last
) -> None:
    (c_in, c_out), *_ = widths
    image = meta(batch, c_in * groups, *sides, last=last)
    weight = meta(c_out * groups, c_in, *kernel)
    bias = meta(c_out * groups) if bias else None
    args = (image, weight, bias, stride, padding, dilation, False, [0, 0], groups)
    out = answer(convolution, *args)
    expected = tuple(map(left, sides, kernel, stride, padding, dilation))
    assert (out is None) == (min(expected) < 1)
    assert out is None or tuple(out.shape) == (batch, c_out * groups, *expected)


@laws
@given(
    groups=st.integers(1, 2), widths=PAIR, kernel=PAIR, stride=PAIR, padding=FEW,
    wanted=st.sampled_from(WANTED), last=st.booleans(),
)  # fmt: skip
def test_its_gradients_are_laid_out_as_real_ones(
    groups, widths, kernel, stride, padding, wanted, last
) -> None:
    image = meta(2, widths[0] * groups, 7, 8, last=last)
    weight = meta(widths[1] * groups, widths[0], *kernel)
    window = (stride, padding, [1, 1], False, [0, 0], groups)
    out = sliding.convolution(image, weight, None, *window)
    bias = [weight.shape[0]] if wanted[2] else None
    found = answer(convolution_backward, out, image, weight, bias, *window, list(wanted))
    assert [gradient is not None for gradient in found] == list(wanted)


@laws
@given(shape=st.tuples(*[st.integers(1, 3)] * 4), order=st.permutations(range(4)), padding=FEW)
def test_a_convolution_of_permuted_images_chooses_the_layout_that_torch_chooses(
    shape, order, padding
) -> None:
    image = meta(*shape).permute(order)
    args = window(padding=padding).values()
    assert answer(convolution, image, meta(4, image.shape[1], 1, 1), None, *args) is not None


def test_one_pixel_of_one_channel_is_no_image_in_channels_last() -> None:
    out = answer(
        convolution, meta(2, 1, 1, 1), meta(4, 1, 1, 1), None, *window(padding=[1, 1]).values()
    )
    assert out.is_contiguous()


def window(**changes):
    return {
        "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "transposed": False,
        "output_padding": [0, 0], "groups": 1,
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("weight", "bias", "changes"),
    [
        (meta(4, 2, 3, 3), None, {}),
        (meta(4, 3, 3), None, {}),
        (meta(4, 3, 9, 3), None, {}),
        (meta(4, 3, 3, 3), meta(3), {}),
        (meta(4, 3, 3, 3, dtype=torch.float64), None, {}),
        (meta(3, 2, 3, 3), None, {"groups": 2}),
        (meta(4, 3, 3, 3), None, {"stride": [0, 1]}),
        (meta(4, 3, 3, 3), None, {"padding": [-1, 0]}),
    ],
)
def test_a_convolution_that_does_not_fit_is_left_to_torch(weight, bias, changes) -> None:
    args = (meta(1, 4 if "groups" in changes else 3, 8, 8), weight, bias)
    assert answer(convolution, *args, *window(**changes).values()) is None


@pytest.mark.parametrize(
    ("image", "weight", "transposed"),
    [
        (meta(1, 3, 8), meta(3, 4, 3), True),
        (meta(1, 3, 6, 8, 8), meta(4, 3, 3, 3, 3), False),
        (meta(1, 3, 8), meta(4, 3, 3), False),
    ],
)
def test_other_convolutions_than_those_of_images_are_left_to_torch(
    image, weight, transposed
) -> None:
    axes = weight.dim() - 2
    args = (image, weight, None, [1] * axes, [0] * axes, [1] * axes, transposed, [0] * axes, 1)
    assert sliding.convolution(*args) is None
    assert convolution(*real(args)).dim() == image.dim()


@laws
@example(
    sides=(3, 3), kernel=[1, 1], stride=[3, 3], padding=[0, 0], dilation=[1, 1], ceil=True,
    last=False, batch=1,
)  # fmt: skip
@given(
    sides=SIDES, kernel=PAIR, stride=st.one_of(st.just([]), PAIR), padding=FEW, dilation=PAIR,
    ceil=st.booleans(), last=st.booleans(), batch=st.integers(0, 2),
)  # fmt: skip
def test_max_pooling_gives_values_and_places_as_a_real_one(
    sides, kernel, stride, padding, dilation, ceil, last, batch
) -> None:
    image = meta(batch, 3, *sides, last=last)
    found = answer(max_pool, image, kernel, stride, padding, dilation, ceil)
    fits = all(2 * pad <= size for pad, size in zip(padding, kernel, strict=True))
    if not ceil and fits:
        assert (found is None) == (
            min(map(left, sides, kernel, stride or kernel, padding, dilation)) < 1
        )


@laws
@given(
    sides=SIDES, kernel=PAIR, stride=st.one_of(st.just([]), PAIR), padding=FEW,
    ceil=st.booleans(), last=st.booleans(), padded=st.booleans(),
    divisor=st.sampled_from([None, 0, 3]),
)  # fmt: skip
def test_average_pooling_gives_what_a_real_one_gives(
    sides, kernel, stride, padding, ceil, last, padded, divisor
) -> None:
    image = meta(2, 3, *sides, last=last)
    found = answer(avg_pool, image, kernel, stride, padding, ceil, padded, divisor)
    fits = all(2 * pad <= size for pad, size in zip(padding, kernel, strict=True))
    if not ceil and fits and divisor != 0:
        assert (found is None) == (min(map(left, sides, kernel, stride or kernel, padding)) < 1)


@pytest.mark.parametrize("pool", [max_pool, avg_pool, aten.avg_pool3d.default])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride"),
    [
        ((1, 3, 9, 8), [3, 3], [0, 1]),
        ((1, 0, 9, 8), [3, 3], [1, 1]),
        ((3, 9, 8), [3, 3], []),
        ((1, 3, 9, 8, 7), [3, 3], []),
        ((3, 9, 8, 7), [3, 2, 1], []),
        ((9, 8), [3, 3], []),
    ],
)
def test_pools_of_other_shapes_are_left_to_torch(pool, shape, kernel, stride) -> None:
    assert answer(pool, meta(*shape), kernel, stride) is None


def test_the_pool_over_channels_has_three_axes() -> None:
    found = answer(aten.avg_pool3d.default, meta(2, 1, 9, 5, 5), [5, 1, 1], [1, 1, 1])
    assert found.shape == (2, 1, 5, 5, 5)


@laws
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    padding=st.lists(st.integers(-2, 3), max_size=9),
    last=st.booleans(),
)
def test_padding_makes_more_or_less_of_every_axis(shape, padding, last) -> None:
    image = meta(*shape, last=last and len(shape) == 4)
    found = answer(aten.constant_pad_nd.default, image, padding)
    if found is not None:
        assert found.numel() > 0


@pytest.mark.parametrize("padding", [(-3, -3), (-5, 5), (1, 1, 1), (1, 1) * 5])
def test_padding_that_does_not_fit_is_left_to_torch(padding) -> None:
    assert answer(aten.constant_pad_nd.default, meta(2, 3, 4, 4), padding) is None


@laws
@given(
    shape=st.lists(st.integers(1, 4), min_size=4, max_size=4),
    order=st.permutations(range(4)),
    part=st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 2)),
    last=st.booleans(),
)
def test_what_is_like_a_tensor_keeps_the_order_of_its_axes(shape, order, part, last) -> None:
    axis, end, step = part
    value = meta(*shape, last=last).permute(order)
    value = value[(slice(None),) * axis + (slice(0, end, step),)]
    assert told(sliding.like(value)) == told(torch.relu(real(value)))


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (1, 1, 4, 4), (1, 3, 1, 4)])
def test_what_is_like_an_expanded_tensor_is_laid_out_row_by_row(shape) -> None:
    value = meta(*shape).expand(2, 3, 4, 4)
    assert told(sliding.like(value)) == told(torch.relu(real(value)))


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("channels", [slice(0, 4), slice(4, 8), slice(0, 8, 2), slice(0, 1)])
def test_a_part_of_the_channels_keeps_the_memory_format(last, channels) -> None:
    part = meta(2, 8, 5, 6, last=last)[:, channels]
    weight = meta(7, part.shape[1], 3, 3)
    out = answer(convolution, part, weight, None, *window().values())
    assert out.is_contiguous(memory_format=torch.channels_last) is last


def test_one_number_stands_for_all_axes() -> None:
    assert [sliding.along([3], axis) for axis in (0, 1)] == [3, 3]
    assert [sliding.along([3, 5], axis) for axis in (0, 1)] == [3, 5]
    image = meta(1, 2, 9, 9)
    assert sliding.max_pool(image, [3, 3], [2])[0].shape == (1, 2, 4, 4)
    assert nn.functional.max_pool2d(real(image), 3, (2,)).shape == (1, 2, 4, 4)
