from __future__ import annotations

from collections import Counter
from math import prod

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from cnnctl.audit.forward import forward
from cnnctl.audit.macs import macs
from cnnctl.nets.meta import Meta, device, run

FEW, MORE = st.integers(1, 4), st.integers(2, 4)
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
laws = settings(max_examples=50, deadline=None)


class Counting(Meta):
    """Adds up the multiply-adds of all operations, and of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = run(func, args, kwargs)
        self.found[func.__name__.partition(".")[0]] += macs(func, args, out)
        return out


def made(*shape: int, learns: bool = True) -> Tensor:
    return torch.empty(shape, device="meta", requires_grad=learns)


def cost(call) -> int:
    with torch.no_grad(), torch.device("meta"), Counting() as mode:
        call()
    return mode.found.total()


def both(call) -> tuple[int, int]:
    """The multiply-adds of a forward pass and of its backward pass."""
    with torch.device("meta"):
        with Counting() as forwards:
            out = call()
        with Counting() as backwards:
            out.sum().backward()
    return forwards.found.total(), backwards.found.total()


@st.composite
def convolutions(draw):
    """Groups, widths of a group, kernel, options and a size that leaves something."""
    kernel, dilation = draw(PAIR), draw(PAIR)
    sides = tuple(d * (k - 1) + draw(FEW) for k, d in zip(kernel, dilation, strict=True))
    options = {"stride": draw(PAIR), "padding": draw(PAIR), "dilation": dilation}
    return draw(FEW), draw(st.tuples(FEW, FEW)), kernel, options, sides


@laws
@given(numbers=convolutions(), batch=FEW, bias=st.booleans())
def test_a_convolution_costs_the_inputs_of_every_output(numbers, batch, bias) -> None:
    groups, (c_in, c_out), kernel, options, sides = numbers
    image, weight = made(batch, groups * c_in, *sides), made(groups * c_out, c_in, *kernel)
    out = F.conv2d(image, weight, **options, groups=groups)
    extra = made(groups * c_out) if bias else None
    expected = out.numel() * c_in * prod(kernel)
    assert cost(lambda: F.conv2d(image, weight, extra, **options, groups=groups)) == expected


@laws
@given(numbers=convolutions(), batch=FEW)
def test_each_gradient_of_a_convolution_costs_what_the_forward_pass_cost(numbers, batch) -> None:
    groups, (c_in, c_out), kernel, options, sides = numbers
    for learns in (True, False):
        image = made(batch, groups * c_in, *sides, learns=learns)
        weight = made(groups * c_out, c_in, *kernel)
        forwards, backwards = both(lambda: F.conv2d(image, weight, **options, groups=groups))  # noqa: B023 - called at once
        assert backwards == (2 if learns else 1) * forwards > 0


@laws
@given(numbers=convolutions(), batch=FEW)
def test_a_transposed_convolution_costs_the_outputs_of_every_input(numbers, batch) -> None:
    groups, (c_in, c_out), kernel, options, sides = numbers
    sides = tuple(side + 6 for side in sides)  # so that padding leaves something
    for learns in (True, False):
        image = made(batch, groups * c_in, *sides, learns=learns)
        weight = made(groups * c_in, c_out, *kernel)
        forwards, backwards = both(
            lambda: F.conv_transpose2d(image, weight, **options, groups=groups)  # noqa: B023 - as above
        )
        assert forwards == image.numel() * c_out * prod(kernel)
        assert backwards == (2 if learns else 1) * forwards


@pytest.mark.parametrize(
    ("layer", "shape", "forwards"),
    [
        (nn.Conv2d(3, 64, 7, 2, 3), (3, 224, 224), 64 * 112 * 112 * 3 * 49),
        (nn.Conv2d(32, 32, 3, 1, 1, groups=32), (32, 112, 112), 32 * 112 * 112 * 9),
        (nn.Conv2d(128, 128, 3, 1, 1, groups=32), (128, 56, 56), 128 * 56 * 56 * 4 * 9),
        (nn.ConvTranspose2d(21, 21, 16, 8, 4, groups=21), (21, 28, 28), 21 * 28 * 28 * 256),
        (nn.Conv1d(3, 5, 3), (3, 10), 5 * 8 * 9),
        (nn.Conv3d(3, 5, 3), (3, 4, 5, 6), 5 * 2 * 3 * 4 * 3 * 27),
        (nn.Linear(4096, 1000), (4096,), 4_096_000),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_layers_of_well_known_nets_by_hand(layer, shape, forwards, batch) -> None:
    layer.to("meta")
    image = made(batch, *shape, learns=False)
    assert both(lambda: layer(image)) == (batch * forwards, batch * forwards)
    assert both(lambda: layer(made(batch, *shape))) == (batch * forwards, 2 * batch * forwards)


@laws
@given(rows=st.lists(FEW, max_size=3), c_in=FEW, c_out=FEW, bias=st.booleans())
def test_a_dense_layer_costs_its_weights_for_every_row(rows, c_in, c_out, bias) -> None:
    weight, extra = made(c_out, c_in), made(c_out) if bias else None
    found = both(lambda: F.linear(made(*rows, c_in), weight, extra))
    assert found == (prod(rows) * c_in * c_out, 2 * found[0])


@laws
@given(batch=MORE, rows=MORE, inner=MORE, columns=MORE)
def test_matrix_products_however_they_are_written(batch, rows, inner, columns) -> None:
    left, right, top = made(batch, rows, inner), made(batch, inner, columns), made(rows, columns)
    whole = batch * rows * inner * columns
    assert both(lambda: left @ right) == (whole, 2 * whole)
    assert both(lambda: torch.baddbmm(top, left, right)) == (whole, 2 * whole)
    assert both(lambda: torch.addbmm(top, left, right)) == (whole, 2 * whole)
    assert cost(lambda: torch.einsum("bij,bjk->bik", left, right)) == whole
    assert cost(lambda: torch.einsum("bij,bjk->ki", left, right)) == whole
    assert cost(lambda: left @ right[0]) == whole
    assert cost(lambda: left[0] @ right[0]) == whole // batch
    assert cost(lambda: torch.addmm(top, left[0], right[0])) == whole // batch
    assert cost(lambda: left[0] @ right[0, :, 0]) == rows * inner
    assert cost(lambda: torch.addmv(top[:, 0], left[0], right[0, :, 0])) == rows * inner
    assert cost(lambda: left[0, 0] @ right[0, :, 0]) == inner
    assert cost(lambda: torch.einsum("bij,oi->boj", left, made(5, rows))) == left.numel() * 5


ATTENTION = st.tuples(FEW, st.integers(1, 2), st.integers(2, 5), st.integers(2, 5), FEW)


@laws
@given(sizes=ATTENTION, masked=st.booleans(), causal=st.booleans())
def test_attention_costs_its_scores_and_their_sum_over_the_values(sizes, masked, causal) -> None:
    batch, heads, length, source, width = sizes
    query = made(batch, heads, length, width)
    key, value = made(batch, heads, source, width), made(batch, heads, source, width)
    mask = made(length, source, learns=False) if masked and not causal else None
    whole = 2 * batch * heads * length * source * width
    attend = F.scaled_dot_product_attention
    options = {"attn_mask": mask, "is_causal": causal}
    assert both(lambda: attend(query, key, value, **options)) == (whole, 2 * whole)


def test_the_attention_of_a_cpu_is_one_operation_that_costs_the_same() -> None:
    with FakeTensorMode() as mode, Counting() as counter:
        shapes = (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)
        query, key, value = (torch.empty(shape, requires_grad=True) for shape in shapes)
        F.scaled_dot_product_attention(query, key, value).sum().backward()
    assert mode is not None
    name = "_scaled_dot_product_flash_attention_for_cpu"
    forwards = 2 * 2 * 3 * 5 * 7 * 4
    assert {k: v for k, v in counter.found.items() if v} == {
        name: forwards,
        f"{name}_backward": 2 * forwards,
    }


@pytest.mark.parametrize("fast", [True, False])
def test_an_encoder_of_transformers_by_hand(fast) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, device="meta").train(not fast)
    projections, attention, dense = 4 * 5 * 8 * 8, 2 * 5 * 5 * 8, 2 * 5 * 8 * 16
    assert cost(lambda: layer(made(3, 5, 8))) == 3 * (projections + attention + dense)


@pytest.mark.parametrize(
    "call",
    [
        nn.AdaptiveAvgPool2d(3), nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(2), nn.AvgPool2d(2),
        nn.MaxPool2d(3, 2, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(),
        nn.LocalResponseNorm(3), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Dropout(),
        lambda x: x * x + x, lambda x: x.mean((2, 3)), lambda x: torch.cat([x, x], 1), F.silu,
    ],
)  # fmt: skip
def test_what_neither_convolves_nor_multiplies_matrices_costs_nothing(call) -> None:
    call = call.to("meta") if isinstance(call, nn.Module) else call
    assert both(lambda: call(made(2, 4, 8, 8))) == (0, 0)


class Bare(nn.Module):
    """Functional calls with parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel, self.matrix = (
            nn.Parameter(torch.empty(5, 3, 3, 3)),
            nn.Parameter(torch.empty(5, 7)),
        )

    def forward(self, image: Tensor) -> Tensor:
        return F.conv2d(image, self.kernel, padding=1).mean((2, 3)) @ self.matrix


class Thrice(nn.Module):
    """One module, called three times, and its weight once more under another name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.tied = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.tied.weight = self.conv.weight

    def forward(self, image: Tensor) -> Tensor:
        return self.tied(self.conv(self.conv(self.conv(image))))


def test_functional_calls_with_bare_parameters_count() -> None:
    with device():
        walk = forward(Bare(), (3, 6, 6)).walk
    assert dict(walk.macs) == {"forward": 5 * 36 * 27 + 5 * 7}
    assert sum(row.params for row in walk.rows) == 5 * 27 + 35
    assert walk.used == {"kernel", "matrix"}


def test_a_module_costs_every_call_and_has_its_parameters_once() -> None:
    with device():
        walk = forward(Thrice(), (3, 6, 6)).walk
    assert [(row.name, row.call, row.macs, row.params) for row in walk.rows] == [
        ("conv", 0, 36 * 81, 84), ("conv", 1, 36 * 81, 0), ("conv", 2, 36 * 81, 0),
        ("tied", 0, 36 * 81, 0),
    ]  # fmt: skip
    assert walk.macs["forward"] == 4 * 36 * 81
