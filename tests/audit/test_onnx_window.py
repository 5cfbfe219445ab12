"""Convolutions, pools, padding and resizing against the shapes that onnx infers."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import audit, inferred, node, write
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.errors import NetError

AUTO = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
PAIR = st.lists(st.integers(1, 3), min_size=2, max_size=2)
PADS = st.lists(st.integers(0, 2), min_size=4, max_size=4)
SIDES = st.lists(st.integers(7, 12), min_size=2, max_size=2)
FEW = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written anew by every example."""
    return tmp_path_factory.mktemp("onnx") / "net.onnx"


def about(kernel: Any, strides: Any, dilations: Any, pads: Any, auto: str) -> dict[str, Any]:
    """The attributes of a window: padding is given or made, never both."""
    window = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "auto_pad": auto}
    return window | ({"pads": pads} if auto == "NOTSET" else {})


@FEW
@given(SIDES, PAIR, PAIR, PAIR, PADS, st.sampled_from(AUTO), st.sampled_from([1, 2]))
def test_convolutions_give_what_onnx_infers(
    file, sides, kernel, strides, dilations, pads, auto, group
) -> None:
    weight = (6, 4 // group, *kernel)
    attributes = about(kernel, strides, dilations, pads, auto)
    conv = node("Conv", "x W", "y", group=group, **attributes)
    found = audit(write(file, [conv], {"W": weight}, (1, 4, *sides)))
    assert found.output == inferred(file)
    assert found.macs == prod(found.output[1:]) * prod(weight)
    assert found.params == prod(weight)
    row = found.rows[-1]
    assert (row.kind, row.form.kernel, row.form.groups) == ("conv", tuple(kernel), group)
    assert row.form.stride == tuple(strides)


@FEW
@given(SIDES, PAIR, PAIR, PAIR, PADS, st.sampled_from(AUTO[:2]), PAIR)
def test_transposed_convolutions_give_what_onnx_infers(
    file, sides, kernel, strides, dilations, pads, auto, extra
) -> None:
    more = [min(e, s) - 1 for e, s in zip(extra, strides, strict=True)]
    attributes = about(kernel, strides, dilations, pads, auto) | {"output_padding": more}
    conv = node("ConvTranspose", "x W", "y", **attributes)
    found = audit(write(file, [conv], {"W": (4, 6, *kernel)}, (1, 4, *sides)))
    assert found.output == inferred(file)
    assert found.macs == prod(sides) * 4 * 6 * prod(kernel)


@FEW
@given(SIDES, PAIR, PAIR, st.sampled_from(AUTO[2:]))
def test_transposed_with_padding_same_every_side_grows_by_the_stride(
    file, sides, kernel, strides, auto
) -> None:
    kernel = [max(pair) for pair in zip(kernel, strides, strict=True)]
    conv = node("ConvTranspose", "x W", "y", strides=strides, auto_pad=auto)
    found = audit(write(file, [conv], {"W": (4, 6, *kernel)}, (1, 4, *sides)))
    assert found.output == (6, *(n * s for n, s in zip(sides, strides, strict=True)))
    assert found.macs == prod(sides) * 4 * 6 * prod(kernel)


@pytest.mark.parametrize("shape", [[15, 14], [1, 6, 15, 14]])
def test_an_output_shape_sets_the_padding_of_a_transposed_convolution(shape, file) -> None:
    conv = node("ConvTranspose", "x W", "y", strides=[2, 2], output_shape=shape)
    found = audit(write(file, [conv], {"W": (4, 6, 3, 3)}, (1, 4, 7, 7)))
    assert found.output == (6, 15, 14)
    assert found.macs == 49 * 4 * 6 * 9


def test_an_output_shape_out_of_reach_is_told(file) -> None:
    conv = node("ConvTranspose", "x W", "y", strides=[2, 2], output_shape=[15, 16])
    write(file, [conv], {"W": (4, 6, 3, 3)}, (1, 4, 7, 7))
    with pytest.raises(NetError, match=r"1x4x7x7: its output has \[15, 15\] places at most"):
        audit(file)


@FEW
@given(
    st.sampled_from(["MaxPool", "AveragePool"]), SIDES, PAIR, PAIR, PAIR, PADS,
    st.sampled_from(AUTO),
)  # fmt: skip
def test_pools_give_what_onnx_infers(
    file, op, sides, kernel, strides, dilations, pads, auto
) -> None:
    attributes = about(kernel, strides, dilations, pads, auto)
    if op == "AveragePool":
        del attributes["dilations"]
    found = audit(write(file, [node(op, "x", "y", **attributes)], image=(1, 4, *sides)))
    assert found.output == inferred(file)
    assert (found.macs, found.params, found.rows[-1].kind) == (0, 0, "pool")


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("size", "kernel", "pad", "floor", "ceil"),
    [(8, 3, 0, 3, 4), (7, 3, 0, 3, 3), (9, 2, 0, 4, 5), (8, 1, 0, 4, 4), (7, 2, 1, 4, 4)],
)
def test_rounding_up_adds_a_window_unless_it_starts_behind_the_image(
    op, size, kernel, pad, floor, ceil, file
) -> None:
    for mode, side in enumerate((floor, ceil)):
        window = {"kernel_shape": [kernel] * 2, "strides": [2, 2], "pads": [pad] * 4}
        write(file, [node(op, "x", "y", ceil_mode=mode, **window)], image=(1, 3, size, size))
        assert audit(file).output == (3, side, side)


@FEW
@given(st.integers(4, 9), st.integers(2, 3), st.integers(1, 2), st.sampled_from(AUTO[2:]))
def test_uneven_padding_is_seen_by_the_receptive_field(file, size, kernel, stride, auto) -> None:
    conv = node("Conv", "x W", "y", strides=[stride] * 2, auto_pad=auto)
    write(file, [conv], {"W": (2, 1, kernel, kernel)}, (1, 1, size, size))
    row = audit(file).rows[-1]
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    before = total // 2 if auto == "SAME_UPPER" else total - total // 2
    for axis in row.field.axes:
        assert axis.seen == ((-before, kernel - 1 - before),)
        assert axis.advance == stride


def test_convolutions_of_one_and_three_axes(file) -> None:
    nodes = [
        node("Squeeze", "x A", "line"),
        node("Conv", "line L", "wide", strides=[2]),
        node("Unsqueeze", "wide B", "cube"),
        node("Conv", "cube K", "y"),
    ]
    tensors = {"A": [2], "B": [3, 4], "L": (5, 3, 2), "K": (2, 5, 3, 1, 1)}
    found = audit(write(file, nodes, tensors, (1, 3, 1, 12)))
    assert found.output == (2, 4, 1, 1)
    assert found.macs == 6 * 30 + 4 * 30


@FEW
@given(SIDES, st.lists(st.integers(4, 24), min_size=2, max_size=2))
def test_resizing_by_scales_rounds_down_as_onnx_infers(file, sides, eighths) -> None:
    scales = np.array([8, 8, *eighths], dtype=np.float32) / 8
    write(file, [node("Resize", "x - K", "y")], {"K": scales}, (1, 4, *sides))
    assert audit(file).output == inferred(file)


@FEW
@given(SIDES, st.lists(st.integers(-3, 4), min_size=4, max_size=4))
def test_padding_adds_on_both_sides_or_cuts_off(file, sides, pads) -> None:
    full = [0, 0, *pads[:2], 0, 0, *pads[2:]]
    write(file, [node("Pad", "x P", "y")], {"P": full}, (1, 4, *sides))
    height, width = sides
    wanted = (4, height + pads[0] + pads[2], width + pads[1] + pads[3])
    assert audit(file).output == wanted == inferred(file)


def test_resizing_multiplies_in_single_precision_as_runtimes_do(file) -> None:
    scales = np.array([1, 1, 1.9, 1.9], dtype=np.float32)  # ten of these are a bit less than 19
    write(file, [node("Resize", "x - K", "y")], {"K": scales}, (1, 3, 10, 10))
    assert audit(file).output == (3, 19, 19)
