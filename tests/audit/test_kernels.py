from __future__ import annotations

import platform
from typing import Any

import pytest
import torch
from allocator import convolution, gradient, inside
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.audit import kernels
from cnnctl.audit.kernels import Convolution, own_kernel
from cnnctl.audit.workspace import workspace

aten = torch.ops.aten
DOUBLE = torch.float64
BF16 = torch.bfloat16
FORWARD, BACKWARD = aten.convolution.default, aten.convolution_backward.default
THREAD = 50_000  # bytes that a thread has for itself, about
ALL, FIRST, IMAGE = (True, True, True), (False, True, True), (True, False, False)
x86 = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"} or not torch.backends.mkldnn.is_available(),
    reason="oneDNN copies like this on x86 processors alone",
)


def both(func: Any, args: tuple[Any, ...]) -> tuple[int, int]:
    """Bytes beside arguments and results: foretold, and taken."""
    return workspace(func, args, func(*args)), inside(lambda: func(*args))


def whole(func: Any, args: tuple[Any, ...]) -> int:
    values = [*args[:3], *(out if isinstance(out := func(*args), tuple) else (out,))]
    return sum(value.nbytes for value in values if isinstance(value, torch.Tensor))


def near(func: Any, args: tuple[Any, ...], share: float) -> None:
    told, taken = both(func, args)
    assert abs(told - taken) <= share * whole(func, args) + THREAD * torch.get_num_threads()


SIZES = st.tuples(
    st.integers(1, 3), st.tuples(st.integers(1, 6), st.integers(1, 6)), st.integers(5, 9),
    st.integers(1, 3), st.integers(1, 2), st.integers(0, 1),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(SIZES, st.booleans(), st.sampled_from([ALL, FIRST, IMAGE]))
def test_columns_of_torchs_own_kernels_are_told_to_the_byte(numbers, transposed, wanted) -> None:
    args = convolution(*numbers, kind=DOUBLE, transposed=transposed)
    name = own_kernel(Convolution(*args[:2], aten.convolution(*args), *args[3:]))
    assert name == ("SlowTranspose2d" if transposed else "Slow2d")
    told, taken = both(FORWARD, args)
    assert told == taken
    told, taken = both(BACKWARD, gradient(args, wanted))
    assert told == taken


@settings(max_examples=8, deadline=None)
@given(SIZES)
def test_dilated_ones_unfold_one_image_after_the_other(numbers) -> None:
    args = convolution(*numbers[:4], 1, 3, 2, kind=DOUBLE)
    image, weight, *_ = args
    out = aten.convolution(*args)
    assert own_kernel(Convolution(image, weight, out, *args[3:])) == "SlowDilated2d"
    told, taken = both(FORWARD, args)
    assert told == taken == weight[0].nbytes * out[0, 0].numel()
    told, taken = both(BACKWARD, gradient(args, IMAGE))
    assert told == taken


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [2, 4])
def test_groups_are_computed_one_after_the_other_and_joined(groups, transposed) -> None:
    args = convolution(4, (8, 16), 12, 3, groups=groups, kind=DOUBLE, transposed=transposed)
    told, taken = both(FORWARD, args)
    assert told == taken
    near(BACKWARD, gradient(args, ALL), 0.2)


# batch, channels, size of the image, kernel, stride, padding, dilation, groups
PLAIN = {
    "one channel": (8, (1, 6), 28, 5),
    "few channels": (8, (3, 64), 64, 7, 1, 3),
    "narrow": (8, (6, 16), 32, 5),
    "odd": (8, (20, 50), 32, 3),
    "usual": (8, (64, 64), 28, 3, 1, 1),
    "deep": (8, (256, 256), 7, 3, 1, 1),
    "many": (16, (64, 128), 28, 1),
    "apart": (8, (64, 64), 40, 3, 2, 1),
    "even": (8, (64, 32), 40, 2, 2),
    "in two": (8, (48, 128), 27, 5, 1, 2, 1, 2),
    "depthwise": (8, (96, 96), 28, 3, 1, 1, 1, 96),
    "depthwise apart": (8, (96, 96), 28, 3, 2, 1, 1, 96),
    "depthwise wide": (8, (96, 96), 28, 5, 1, 2, 1, 96),
    "depthwise odd": (8, (20, 20), 28, 3, 1, 1, 1, 20),
}
TURNED = {
    "up": (8, (64, 32), 28, 2, 2),
    "odd up": (8, (24, 40), 28, 2, 2),
    "up four": (8, (64, 64), 28, 4, 2, 1),
    "up three": (8, (32, 64), 28, 3, 2, 1),
    "same": (8, (32, 64), 28, 3, 1, 1),
    "in two": (8, (64, 64), 28, 2, 2, 0, 1, 2),
}
CASES = [
    *(pytest.param(numbers, False, id=name) for name, numbers in PLAIN.items()),
    *(pytest.param(numbers, True, id=f"transposed {name}") for name, numbers in TURNED.items()),
]


@x86
@pytest.mark.parametrize(("numbers", "transposed"), CASES)
def test_copies_that_onednn_makes_are_told(numbers, transposed) -> None:
    args = convolution(*numbers, transposed=transposed)
    assert own_kernel(Convolution(*args[:2], aten.convolution(*args), *args[3:])) == ""
    near(FORWARD, args, 0.05)
    for wanted in (ALL, FIRST):
        near(BACKWARD, gradient(args, wanted), 0.05)


@x86
def test_a_dilation_changes_nothing_forwards_nor_for_the_image() -> None:
    args = convolution(8, (32, 64), 40, 3, 1, 2, 2)
    near(FORWARD, args, 0.05)
    near(BACKWARD, gradient(args, IMAGE), 0.05)


@x86
@pytest.mark.parametrize(("numbers", "transposed"), CASES)
def test_in_channels_last_only_weights_are_copied(numbers, transposed) -> None:
    args = convolution(*numbers, transposed=transposed, last=True)
    near(FORWARD, args, 0.05)
    near(BACKWARD, gradient(args, ALL), 0.05)


@x86
@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bfloat16"
)
@pytest.mark.parametrize("name", ["usual", "deep", "apart", "even", "depthwise", "many"])
def test_copies_of_16_bit_numbers_are_told_but_for_tiles(name) -> None:
    args = convolution(64, *PLAIN[name][1:], kind=BF16)
    near(FORWARD, args, 0.1)
    near(BACKWARD, gradient(args, ALL), 0.1)


@x86
def test_a_transposed_convolution_needs_its_result_twice_more() -> None:
    args = convolution(8, (64, 32), 28, 2, 2, transposed=True)
    out = aten.convolution(*args)
    assert workspace(FORWARD, args, out) == 2 * out.nbytes


@x86
@pytest.mark.parametrize(("numbers", "transposed"), CASES)
def test_shapes_tell_the_same_as_real_tensors(numbers, transposed) -> None:
    real = convolution(*numbers, transposed=transposed)
    back = gradient(real, ALL)
    for func, args in ((FORWARD, real), (BACKWARD, back)):
        shapes = [value.to("meta") if isinstance(value, torch.Tensor) else value for value in args]
        assert workspace(func, shapes, func(*shapes)) == workspace(func, args, func(*args)) > 0


@pytest.mark.parametrize(
    ("capability", "floats"), [("AVX512", 16), ("AVX512_BF16", 16), ("AVX2", 8), ("DEFAULT", 8)]
)
def test_a_block_is_as_wide_as_a_register(monkeypatch, capability, floats) -> None:
    kernels.block.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert kernels.block() == floats
    kernels.block.cache_clear()


def test_16_bit_numbers_are_in_rows_where_they_are_multiplied_in_tiles(monkeypatch) -> None:
    args = convolution(8, (64, 64), 28, 3, 1, 1, kind=BF16)
    made = Convolution(*args[:2], aten.convolution(*args), *args[3:])
    for tiles in (True, False):
        monkeypatch.setattr(kernels, "tiles", lambda tiles=tiles: tiles)
        assert made.rows(apart=False) == made.rows(apart=True) == tiles


@x86
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("channels", "side"), [(4, 60), (21, 40)])
def test_channels_spread_by_themselves_without_bias_are_copied_once(channels, side, last) -> None:
    args = convolution(
        2, (channels, channels), side, 4, 2, groups=channels, transposed=True, last=last
    )
    bare = (*args[:2], None, *args[3:])
    near(FORWARD, bare, 0.01)
    near(BACKWARD, gradient(args, IMAGE), 0.01)


@x86
@pytest.mark.parametrize("channels", [(16, 16), (64, 32)])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (4, 2)])
def test_in_channels_last_an_image_for_each_thread_is_spread(channels, kernel, stride) -> None:
    near(FORWARD, convolution(4, channels, 48, kernel, stride, transposed=True, last=True), 0.02)
