from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cnnctl.audit import geometry
from cnnctl.audit.geometry import RANK, Form, in_place, kind_of, read, shares, tensors
from cnnctl.nets.meta import Meta, run

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
laws = settings(max_examples=30, deadline=None)
IMAGE = torch.empty(2, 4, 12, 12, device="meta")


class Reading(Meta):
    """Remembers what kinds of layers the operations make, silent ones left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, Form | None]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kind, form = read(func, args)
        if kind != "silent":
            self.found.append((kind, form))
        return run(func, args, kwargs)


def kinds(call, image: Tensor = IMAGE) -> list[tuple[str, Form | None]]:
    with torch.device("meta"), Reading() as mode:
        call(image)
    return mode.found


@laws
@given(kernel=PAIR, stride=PAIR, padding=PAIR, dilation=PAIR, groups=st.sampled_from([1, 2, 4]))
def test_the_window_of_a_convolution_is_as_its_layer_has_it(
    kernel, stride, padding, dilation, groups
) -> None:
    window = kernel, stride, padding, dilation
    layer = nn.Conv2d(4, 8, *window, groups=groups, device="meta")
    assert kinds(layer) == [("conv", Form(*window, groups=groups))]
    layer = nn.ConvTranspose2d(
        4, 8, kernel, stride, padding, groups=groups, dilation=dilation, device="meta"
    )
    assert kinds(layer) == [("conv", Form(*window, groups=groups, transposed=True))]


@laws
@given(kernel=PAIR, stride=st.none() | PAIR, padding=st.integers(0, 1), dilation=PAIR)
def test_the_window_of_a_pool_is_as_its_layer_has_it(kernel, stride, padding, dilation) -> None:
    kernel = (kernel[0] + 1, kernel[1] + 1)  # padding is half the kernel at most
    pads, step = (padding, padding), stride or kernel
    layer = nn.MaxPool2d(kernel, stride, padding, dilation)
    assert kinds(layer) == [("pool", Form(kernel, step, pads, dilation))]
    layer = nn.AvgPool2d(kernel, stride, padding)
    assert kinds(layer) == [("pool", Form(kernel, step, pads, (1, 1)))]


@pytest.mark.parametrize(
    ("call", "form"),
    [
        (lambda x: F.max_pool2d(x, 2), Form((2, 2), (2, 2), (0, 0), (1, 1))),
        (lambda x: F.max_pool2d(x, (3,), (2,)), Form((3, 3), (2, 2), (0, 0), (1, 1))),
        (lambda x: F.avg_pool2d(x, [3], padding=[1]), Form((3, 3), (3, 3), (1, 1), (1, 1))),
        (lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), Form((3, 3), (2, 2), (0, 0), (1, 1))),
        (lambda x: F.max_pool1d(x[0], 3), Form((1, 3), (1, 3), (0, 0), (1, 1))),
        (lambda x: F.adaptive_avg_pool2d(x, 3), None),
        (lambda x: F.adaptive_max_pool2d(x, 1), None),
        (lambda x: x.mean((2, 3)), None),
        (lambda x: x.amax((2, 3)), None),
    ],
)
def test_pools_however_they_are_written(call, form) -> None:
    assert kinds(call) == [("pool", form)]


def test_padding_same_is_the_number_that_it_stands_for() -> None:
    weight = torch.empty(4, 4, 5, 3, device="meta")
    form = Form((5, 3), (1, 1), (4, 2), (2, 2))
    assert kinds(lambda x: F.conv2d(x, weight, padding="same", dilation=2)) == [("conv", form)]


def test_convolutions_have_as_many_axes_as_their_kernels() -> None:
    line, room = torch.empty(2, 3, 9, device="meta"), torch.empty(2, 3, 4, 5, 6, device="meta")
    ones = (1,) * 3
    found = kinds(nn.Conv1d(3, 5, 3, 2, device="meta"), line)
    assert found == [("conv", Form((3,), (2,), (0,), (1,)))]
    found = kinds(nn.Conv3d(3, 5, 2, device="meta"), room)
    assert found == [("conv", Form((2, 2, 2), ones, (0, 0, 0), ones))]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: F.linear(x, torch.empty(3, 12)), "dense"),
        (lambda x: F.linear(x, torch.empty(3, 12), torch.empty(3)), "dense"),
        (lambda x: x[0] @ x[1], "dense"),
        (lambda x: torch.baddbmm(x[0], x[0], x[1]), "dense"),
        (lambda x: x[0, 0] @ x[0, 0, 0], "dense"),
        (lambda x: F.batch_norm(x, None, None, training=True), "norm"),
        (lambda x: F.layer_norm(x, (12,)), "norm"),
        (lambda x: F.group_norm(x, 2), "norm"),
        (F.instance_norm, "norm"),
        (lambda x: F.interpolate(x, scale_factor=2), "resize"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), "resize"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), "resize"),
        (lambda x: x + x, "join"),
        (lambda x: x - x[:1], "join"),
        (lambda x: x * x.sigmoid(), "join"),
        (lambda x: x.add_(x), "join"),
        (lambda x: x.mul_(x[:, :1]), "join"),
        (lambda x: torch.cat([x, x], 1), "join"),
    ],
)
def test_the_kind_of_other_operations(call, expected) -> None:
    assert kinds(call) == [(expected, None)]


@pytest.mark.parametrize(
    "call",
    [
        F.relu, F.silu, torch.sigmoid, lambda x: x + 1, lambda x: 2 * x, lambda x: x - 0.5,
        lambda x: x.mul_(2), lambda x: x.add_(1), lambda x: x * torch.empty(()),
        lambda x: x.permute(0, 2, 3, 1).contiguous(), lambda x: x.flatten(1), lambda x: x[:, :2],
        lambda x: F.pad(x, (1, 1)), lambda x: x.clone(),
    ],
)  # fmt: skip
def test_numbers_activations_and_views_make_no_layer(call) -> None:
    assert kinds(call) == []


def test_the_kind_that_tells_most_about_a_layer_ranks_highest() -> None:
    order = ["silent", "join", "resize", "norm", "pool", "dense", "conv"]
    assert sorted(RANK, key=RANK.__getitem__) == order
    assert set(geometry.KINDS.values()) <= set(order)


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.BatchNorm2d(3), "norm"), (nn.BatchNorm1d(3), "norm"), (nn.InstanceNorm2d(3), "norm"),
        (nn.GroupNorm(1, 3), "norm"), (nn.LayerNorm(3), "norm"), (nn.LocalResponseNorm(3), "norm"),
        (nn.Conv2d(3, 3, 1), "silent"), (nn.ReLU(), "silent"), (nn.Flatten(), "silent"),
    ],
)  # fmt: skip
def test_a_normalisation_is_one_by_its_class(module, kind) -> None:
    assert kind_of(module) == kind


def test_tensors_are_found_in_lists_and_tuples() -> None:
    one, two, three = (torch.empty(1) for _ in range(3))
    found = list(tensors((one, None, [two, 3, (three,)], "text", {"key": one})))
    assert [id(value) for value in found] == [id(one), id(two), id(three)]


def test_a_view_shares_and_a_copy_does_not() -> None:
    value = torch.empty(4, 4)
    for view in (value, value.view(16), value[1:], value.detach(), value.add_(1)):
        assert shares(view, [torch.empty(1), value])
    for new in (value.clone(), value + 0, torch.empty(4, 4)):
        assert not shares(new, [value])
    assert not shares(value, [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add_.Tensor", True), ("relu_.default", True), ("copy_.default", True),
        ("add.Tensor", False), ("relu.default", False), ("_softmax.default", False),
        ("_unsafe_view.default", False),
    ],
)  # fmt: skip
def test_an_operation_in_place_is_known_by_its_name(name, expected) -> None:
    operation, _, overload = name.partition(".")
    assert in_place(getattr(getattr(torch.ops.aten, operation), overload)) is expected
