from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import answer, aten, meta, told

from cnnctl.nets.shapes import LIKES, RULES

SIDE = st.integers(1, 4)
SHAPE = st.lists(SIDE, min_size=1, max_size=4)
IMAGES = st.lists(SIDE, min_size=4, max_size=4)
TYPE = st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool])
laws = settings(max_examples=50, deadline=None)
LONG = torch.int64

batch_norm = aten.native_batch_norm.default
batch_norm_backward = aten.native_batch_norm_backward.default
POINTWISE = [
    "relu", "hardtanh", "sigmoid", "tanh", "silu", "gelu", "elu", "leaky_relu", "neg",
]  # fmt: skip
BACKWARD = {
    "hardtanh_backward": (-1, 1), "sigmoid_backward": (), "tanh_backward": (),
    "silu_backward": (), "gelu_backward": (), "leaky_relu_backward": (0.01, False),
    "threshold_backward": (0,),
}  # fmt: skip
ARITHMETIC = ["add", "sub", "mul", "div"]
FLOATS = [torch.float32, torch.float64, torch.bfloat16]


@laws
@given(name=st.sampled_from(POINTWISE), shape=IMAGES, last=st.booleans(), kind=TYPE)
def test_a_function_of_every_value_keeps_shape_type_and_layout(name, shape, last, kind) -> None:
    found = answer(getattr(aten, name).default, meta(*shape, last=last, dtype=kind))
    assert (found is not None) == kind.is_floating_point


@laws
@given(name=st.sampled_from(sorted(BACKWARD)), shape=IMAGES, lasts=st.tuples(*[st.booleans()] * 2))
def test_its_gradient_is_laid_out_as_a_real_one(name, shape, lasts) -> None:
    values = [meta(*shape, last=last) for last in lasts]
    assert answer(getattr(aten, name).default, *values, *BACKWARD[name]) is not None


def repeated(shape: list[int], ones: tuple[bool, ...], cut: int) -> list[int]:
    """A shape that reaches `shape` when some of its axes are repeated."""
    return [1 if one else side for side, one in zip(shape, ones, strict=True)][cut:]


@laws
@given(
    name=st.sampled_from(ARITHMETIC), shape=IMAGES, ones=st.tuples(*[st.booleans()] * 4),
    cut=st.integers(0, 4), swapped=st.booleans(), last=st.booleans(), kinds=st.tuples(TYPE, TYPE),
)  # fmt: skip
def test_one_of_two_tensors_is_repeated_to_cover_the_other(
    name, shape, ones, cut, swapped, last, kinds
) -> None:
    part = meta(*repeated(shape, ones, cut), dtype=kinds[1])
    pair = [meta(*shape, last=last, dtype=kinds[0]), part]
    found = answer(getattr(aten, name).Tensor, *(pair[::-1] if swapped else pair))
    simple = kinds[0] == kinds[1] and kinds[0].is_floating_point
    assert found is not None or not simple or (swapped and last)


@laws
@given(
    name=st.sampled_from([*ARITHMETIC, "pow"]), kind=TYPE, shape=SHAPE,
    number=st.sampled_from([2, 0.5, True, 1j]),
)  # fmt: skip
def test_a_number_changes_nothing_or_is_left_to_torch(name, kind, shape, number) -> None:
    operation = aten.pow.Tensor_Scalar if name == "pow" else getattr(aten, name).Scalar
    value = meta(*shape, dtype=kind)
    found = answer(operation, value, number)
    assert (found is not None) == (kind.is_floating_point and number in {2, 0.5})


@laws
@given(
    name=st.sampled_from(["add_", "mul_"]),
    shapes=st.tuples(SHAPE, SHAPE),
    kinds=st.tuples(TYPE, TYPE),
)
def test_in_place_the_left_one_stays_or_torch_decides(name, shapes, kinds) -> None:
    left, right = (meta(*shape, dtype=kind) for shape, kind in zip(shapes, kinds, strict=True))
    operation = getattr(aten, name).Tensor
    assert answer(operation, left, right) in {None, left}
    assert answer(operation, left, left) is left
    assert answer(operation, left, 2) is (None if kinds[0] == torch.bool else left)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("uniform_.default", (0, 1)), ("normal_.default", (0, 1)), ("bernoulli_.float", (0.5,)),
        ("erfinv_.default", ()), ("clamp_.default", (0, 1)), ("div_.Scalar", (2,)),
        ("zero_.default", ()), ("fill_.Scalar", (3,)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [torch.float32, LONG])
def test_filling_gives_the_tensor_itself(name, args, kind) -> None:
    operation, _, overload = name.partition(".")
    value = meta(2, 3, dtype=kind)
    exact = operation in {"zero_", "fill_"}
    expected = value if exact or kind.is_floating_point else None
    assert answer(getattr(getattr(aten, operation), overload), value, *args) is expected


@laws
@given(shape=IMAGES, dims=st.lists(st.integers(-5, 4), max_size=3), keep=st.booleans(), kind=TYPE)
def test_means_and_sums_lose_the_axes_they_go_over(shape, dims, keep, kind) -> None:
    value = meta(*shape, dtype=kind)
    for operation in (aten.mean.dim, aten.sum.dim_IntList):
        found = answer(operation, value, dims, keep)
        fits = len({dim % 4 for dim in dims}) == len(dims) and all(-4 <= dim < 4 for dim in dims)
        assert (found is not None) == (fits and kind.is_floating_point)


@laws
@given(
    shape=IMAGES, sizes=st.lists(SIDE, min_size=1, max_size=3), dim=st.integers(-5, 4),
    odd=st.integers(0, 3), last=st.booleans(), more=st.booleans(),
)  # fmt: skip
def test_parts_side_by_side_add_up_along_one_axis(shape, sizes, dim, odd, last, more) -> None:
    parts = []
    for size in sizes:
        side = [*shape]
        side[dim if -4 <= dim < 4 else 0] = size
        parts.append(meta(*side, last=last))
    if more:
        parts.append(meta(*[side + (axis == odd) for axis, side in enumerate(shape)], last=last))
    fits = -4 <= dim < 4 and (not more or odd == dim % 4)
    found = answer(aten.cat.default, parts, dim)
    assert (found is not None) == fits


@pytest.mark.parametrize(
    "parts", [[meta(2, 3), meta(2)], [meta(0), meta(2, 3)], [meta(2), meta(2, dtype=LONG)]]
)
def test_parts_of_other_kinds_are_left_to_torch(parts) -> None:
    assert answer(aten.cat.default, parts, 0) is None


@laws
@given(rows=SIDE, inner=SIDE, columns=SIDE, odd=SIDE, bias=st.lists(SIDE, max_size=3))
def test_matrices_that_meet_are_multiplied(rows, inner, columns, odd, bias) -> None:
    left, right = meta(rows, inner), meta(odd, columns)
    assert (answer(aten.mm.default, left, right) is None) == (inner != odd)
    found = answer(aten.addmm.default, meta(*bias), left, right)
    ends = zip(reversed(bias), (columns, rows), strict=False)
    fits = inner == odd and len(bias) <= 2 and all(side in {1, end} for side, end in ends)
    assert (found is not None) == fits
    wide = meta(inner, columns, dtype=torch.float64)
    assert answer(aten.mm.default, left, wide) is None
    assert answer(aten.addmm.default, meta(columns), left, wide) is None


@pytest.mark.parametrize("dim", [-3, -2, 0, 1, 2])
@pytest.mark.parametrize("name", ["_softmax", "_log_softmax"])
@pytest.mark.parametrize("kind", [torch.float32, LONG])
def test_softmax_along_an_axis_that_is_there(name, dim, kind) -> None:
    found = answer(getattr(aten, name).default, meta(4, 5, dtype=kind), dim, False)  # noqa: FBT003 - half to float
    assert (found is not None) == (-2 <= dim < 2 and kind.is_floating_point)


def test_the_gradient_of_softmax() -> None:
    args = (meta(4, 5), meta(4, 5), 1, torch.float32)
    assert answer(aten._log_softmax_backward_data.default, *args) is not None


@pytest.mark.parametrize(("groups", "fits"), [(1, True), (3, True), (4, False), (0, False)])
@pytest.mark.parametrize("last", [True, False])
def test_groups_that_divide_the_channels_are_shuffled(groups, fits, last) -> None:
    found = answer(aten.channel_shuffle.default, meta(2, 6, 3, 3, last=last), groups)
    assert (found is not None) is fits


@pytest.mark.parametrize("labels", [4, 5])
@pytest.mark.parametrize("reduction", [0, 1, 2])
def test_the_loss_of_a_batch_is_one_number(labels, reduction) -> None:
    args = (meta(4, 7), meta(labels, dtype=LONG), None, reduction, -100)
    found = answer(aten.nll_loss_forward.default, *args)
    assert (found is not None) == (labels == 4 and reduction > 0)
    if found is not None:
        gradient = answer(
            aten.nll_loss_backward.default, found[0], *args[:2], None, reduction, -100, found[1]
        )
        assert gradient.shape == (4, 7)


@laws
@given(
    shape=st.lists(SIDE, min_size=2, max_size=4), kind=st.sampled_from(FLOATS),
    affine=st.booleans(), running=st.booleans(), training=st.booleans(), last=st.booleans(),
)  # fmt: skip
def test_batch_normalisation_saves_what_the_kernels_of_a_cpu_save(
    shape, kind, affine, running, training, last
) -> None:
    image = meta(*shape, last=last and len(shape) == 4, dtype=kind)
    weight = meta(shape[1], dtype=kind) if affine else None
    mean = meta(shape[1], dtype=kind) if running or not training else None
    found = answer(batch_norm, image, weight, weight, mean, mean, training, 0.1, 1e-5)
    assert [part.numel() > 0 for part in found] == [True, training, training]
    for wanted in ([True, True, True], [False, affine, affine], [True, False, False]):
        parts = (image, image, weight, mean, mean, *found[1:], training, 1e-5, wanted)
        assert answer(batch_norm_backward, *parts) is not None


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("operation", LIKES)
def test_a_new_tensor_is_like_the_old_one_unless_its_type_or_place_changes(operation, last) -> None:
    value = meta(2, 3, 4, 5, last=last)
    assert answer(operation, value) is not None
    rule = RULES[operation]
    same = {"dtype": None, "pin_memory": False, "memory_format": torch.preserve_format}
    assert told(rule(value, **same)) == told(value)
    for change in (
        {"dtype": LONG}, {"device": "cpu"}, {"layout": torch.sparse_coo},
        {"memory_format": torch.contiguous_format},
    ):  # fmt: skip
        assert rule(value, **change) is None
