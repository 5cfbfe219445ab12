"""What holds for the parts of every net, whatever its family."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode
from zoo import count

from cnnctl.nets.blocks import Concat, Gate, Lrn, Residual, ScaledTanh, unit

POSITIVE = torch.rand(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
SIGNED = POSITIVE - 0.5


def macs(net: nn.Module, shape: tuple[int, int, int]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        net.to("meta")(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2


def test_a_1x1_convolution_is_one_dense_layer_for_all_positions() -> None:
    conv, shared = nn.Conv2d(4, 6, 1), nn.Linear(4, 6)
    shared.load_state_dict({"weight": conv.weight[:, :, 0, 0], "bias": conv.bias})
    one_by_one = shared(SIGNED.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(conv(SIGNED), one_by_one)


def separable(c_in: int, c_out: int, kernel: int) -> list[nn.Sequential]:
    """A convolution, a depthwise and a pointwise one, all without biases."""
    plain = {"activation": "none", "bias": False}
    return [
        nn.Sequential(unit("conv", c_in, c_out, kernel, **plain)),
        nn.Sequential(unit("depthwise", c_in, c_in, kernel, groups=c_in, **plain)),
        nn.Sequential(unit("pointwise", c_in, c_out, 1, **plain)),
    ]


def test_256_kernels_of_5x5x3_against_depthwise_and_pointwise() -> None:
    layers = separable(3, 256, 5)
    assert [macs(layer, (3, 8, 8)) for layer in layers] == [1_228_800, 4_800, 49_152]
    assert [count(layer) for layer in layers] == [19_200, 75, 768]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3, 5]), st.integers(5, 9))
def test_depthwise_and_pointwise_cost_a_share_of_the_convolution(c_in, c_out, kernel, size) -> None:
    whole, depthwise, pointwise = separable(c_in, c_out, kernel)
    share = 1 / c_out + 1 / kernel**2  # Howard et al. 2017, section 3.1
    assert count(depthwise) + count(pointwise) == pytest.approx(share * count(whole))
    shape = (c_in, size, size)
    assert macs(depthwise, shape) + macs(pointwise, shape) == pytest.approx(
        share * macs(whole, shape)
    )


def true_convolution(image: Tensor, kernel: Tensor) -> Tensor:
    """(f * g)[x, y] = Σ f[m, n] g[x − m, y − n], where the kernel lies inside the image."""
    side, left = len(kernel), len(image) - len(kernel) + 1
    return torch.tensor([
        [
            sum(
                kernel[m, n] * image[x + side - 1 - m, y + side - 1 - n]
                for m in range(side)
                for n in range(side)
            )
            for y in range(left)
        ]
        for x in range(left)
    ])  # fmt: skip


def test_a_convolution_layer_correlates_and_convolves_with_a_flipped_kernel() -> None:
    image, kernel = SIGNED[0, 0], SIGNED[0, 1, :3, :3]
    layer, flipped = (
        conv2d(image[None, None], k[None, None])[0, 0] for k in (kernel, kernel.flip(0, 1))
    )
    torch.testing.assert_close(flipped, true_convolution(image, kernel))
    torch.testing.assert_close(layer, true_convolution(image, kernel.flip(0, 1)))
    assert not torch.allclose(layer, flipped)


def test_a_residual_block_with_a_zero_branch_is_the_identity() -> None:
    branch = nn.Conv2d(4, 4, 3, padding=1)
    nn.init.zeros_(branch.weight)
    nn.init.zeros_(branch.bias)
    assert torch.equal(Residual(branch)(SIGNED), SIGNED)
    assert torch.equal(Residual(branch, act=nn.ReLU())(POSITIVE), POSITIVE)
    assert torch.equal(Residual(branch, act=nn.ReLU())(SIGNED), torch.relu(SIGNED))


def test_a_residual_block_adds_its_shortcut_and_then_activates() -> None:
    branch, shortcut = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 1)
    block = Residual(branch, shortcut, nn.ReLU())
    assert torch.equal(block(SIGNED), torch.relu(branch(SIGNED) + shortcut(SIGNED)))


def test_the_widths_of_parallel_branches_add_up_in_their_order() -> None:
    branches = OrderedDict(one=nn.Conv2d(4, 2, 1), two=nn.Conv2d(4, 5, 1), pool=nn.Identity())
    both = Concat(branches)(SIGNED)
    assert both.shape == (2, 2 + 5 + 4, 5, 5)
    for part, branch in zip(both.split([2, 5, 4], 1), branches.values(), strict=True):
        assert torch.equal(part, branch(SIGNED))


@pytest.mark.parametrize("size", [5, 3])
def test_lrn_is_the_formula_of_the_alexnet_paper(size) -> None:
    k, alpha, beta, a = 2, 1e-4, 0.75, 100 * SIGNED.double()
    b, maps = torch.empty_like(a), a.shape[1]
    for i in range(maps):
        neighbours = range(max(0, i - size // 2), min(maps - 1, i + size // 2) + 1)
        b[:, i] = a[:, i] / (k + alpha * sum(a[:, j] ** 2 for j in neighbours)) ** beta
    torch.testing.assert_close(Lrn(size)(a), b, rtol=1e-12, atol=0)
    assert (b / a).std() > 0.01


@pytest.mark.parametrize(("bias", "factor"), [(200, 1), (-200, 0), (0, 0.5)])
def test_a_gate_that_is_open_changes_nothing(bias, factor) -> None:
    gate = Gate(4, 2)
    nn.init.zeros_(gate.excite.weight)
    nn.init.constant_(gate.excite.bias, bias)
    assert torch.equal(gate(SIGNED), factor * SIGNED)


def test_a_gate_weighs_whole_maps() -> None:
    factors = Gate(4, 2)(POSITIVE) / POSITIVE
    torch.testing.assert_close(factors, factors[..., :1, :1].expand_as(factors))
    assert count(Gate(4, 2)) == (4 * 2 + 2) + (2 * 4 + 4)


def test_the_scaled_tanh_keeps_one_and_minus_one() -> None:
    ends = ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0]))
    torch.testing.assert_close(ends, torch.tensor([-1.0, 0.0, 1.0]), rtol=0, atol=2e-5)
