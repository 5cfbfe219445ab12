from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode
from zoo import build, count, numbers, on_meta, outputs, refused, spec

from cnnctl.errors import NetError
from cnnctl.nets.blocks import Lrn
from cnnctl.nets.googlenet import Module, inception

TABLE_1 = {  # type of row -> size and depth of its output
    "conv1": (64, 112, 112), "pool1": (64, 56, 56), "conv2": (192, 56, 56), "pool2": (192, 28, 28),
    "inception3a": (256, 28, 28), "inception3b": (480, 28, 28), "pool3": (480, 14, 14),
    "inception4a": (512, 14, 14), "inception4b": (512, 14, 14), "inception4c": (512, 14, 14),
    "inception4d": (528, 14, 14), "inception4e": (832, 14, 14), "pool4": (832, 7, 7),
    "inception5a": (832, 7, 7), "inception5b": (1024, 7, 7), "avgpool": (1024, 1, 1),
    "drop": (1024,), "fc": (1000,),
}  # fmt: skip
SMALL = (3, 32, 32)
NAIVE = {"n1x1": 1, "n3x3": 9, "n5x5": 25}  # weights of a kernel, by the columns that are used


def macs(net: nn.Module, *shape: int) -> int:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net(torch.empty(*shape, device="meta"))
    return counter.get_total_flops() // 2


def rows(name: str = "googlenet") -> list[Module]:
    return [Module(*row) for stage in numbers(name)["stages"] for row in stage]


def pretend(row: Module, c_in: int, **changes) -> nn.Module:
    with torch.device("meta"):
        return inception(row, c_in, spec("googlenet", **changes))[0]


def test_the_sizes_are_those_of_table_1() -> None:
    shapes = outputs(on_meta("googlenet"), (3, 224, 224))
    assert {name: shapes[name] for name in TABLE_1} == TABLE_1
    names = [name for name in shapes if not name.endswith("_act")]
    stem = ["conv1", "pool1", "norm1", "conv2_reduce", "conv2", "norm2", "pool2"]
    assert names == [*stem, *list(TABLE_1)[4:-2], "flatten", "drop", "fc"]


def test_the_weights_of_the_rows_are_those_that_table_1_rounds() -> None:
    net = on_meta("googlenet")
    assert {name: count(layer) for name, layer in net.named_children() if count(layer)} == {
        "conv1": 9_472, "conv2_reduce": 4_160, "conv2": 110_784, "inception3a": 163_696,
        "inception3b": 388_736, "inception4a": 376_176, "inception4b": 449_160,
        "inception4c": 510_104, "inception4d": 605_376, "inception4e": 868_352,
        "inception5a": 1_043_456, "inception5b": 1_444_080, "fc": 1_025_000,
    }  # fmt: skip


def test_a_module_has_the_four_branches_of_figure_2b() -> None:
    module = on_meta("googlenet").inception3a
    assert {name: tuple(layer.weight.shape) for name, layer in module.named_modules()
            if isinstance(layer, nn.Conv2d)} == {
        "1x1.1x1": (64, 192, 1, 1),
        "3x3.3x3_reduce": (96, 192, 1, 1), "3x3.3x3": (128, 96, 3, 3),
        "5x5.5x5_reduce": (16, 192, 1, 1), "5x5.5x5": (32, 16, 5, 5),
        "pool.pool_proj": (32, 192, 1, 1),
    }  # fmt: skip


def test_twenty_two_layers_with_weights_stand_on_one_path() -> None:
    names = [name for name, layer in on_meta("googlenet").named_modules()
             if isinstance(layer, nn.Conv2d | nn.Linear)]  # fmt: skip
    assert len(names) == 58
    beside = ("1x1.1x1", "5x5.5x5", "5x5.5x5_reduce", "pool.pool_proj")
    assert len([name for name in names if not name.endswith(beside)]) == 22


def test_reduction_leaves_a_tenth_of_the_multiplications() -> None:
    row = Module(64, 96, 128, 16, 92, 32)
    naive, reduced = (pretend(row, 200, inception=kind)["5x5"] for kind in ("naive", "reduced"))
    assert macs(naive, 1, 200, 32, 32) == 5 * 5 * 200 * 32 * 32 * 92 == 471_040_000
    assert macs(reduced, 1, 200, 32, 32) == 3_276_800 + 37_683_200 == 40_960_000


def test_naive_modules_keep_all_maps_of_the_pool() -> None:
    c_in, params = 192, 9_472 + 4_160 + 110_784
    widths = {}
    shapes = outputs(on_meta("googlenet", inception="naive"), (3, 224, 224))
    for name, row in zip([name for name in shapes if "inception" in name], rows(), strict=True):
        params += sum((c_in * area + 1) * getattr(row, key) for key, area in NAIVE.items())
        c_in += sum(getattr(row, key) for key in NAIVE)
        widths[name] = c_in
    assert {name: shapes[name][0] for name in widths} == widths
    assert widths["inception3a"] == 64 + 128 + 32 + 192
    assert count(on_meta("googlenet", inception="naive")) == params + (c_in + 1) * 1000


@given(
    st.builds(Module, *[st.integers(1, 40)] * 6),
    st.integers(1, 40),
    st.sampled_from(["reduced", "naive"]),
    st.sampled_from([5, 3]),
)
@settings(max_examples=30, deadline=None)
def test_a_module_is_as_wide_as_it_says_and_keeps_the_size(row, c_in, kind, kernel5) -> None:
    with torch.device("meta"):
        made = spec("googlenet", inception=kind, kernel5=kernel5)
        module, width = inception(row, c_in, made)
        assert module(torch.empty(1, c_in, 7, 9)).shape == (1, width, 7, 9)
    assert width == row.n1x1 + row.n3x3 + row.n5x5 + (c_in if kind == "naive" else row.pool_proj)


def test_the_kernel_of_the_5x5_branch_can_be_3() -> None:
    saved = sum((25 - 9) * row.n5x5_reduce * row.n5x5 for row in rows())
    assert count(on_meta("googlenet", kernel5=3)) == 6_998_552 - saved
    row = Module(1, 1, 1, 1, 92, 1)
    five, three = (count(pretend(row, 200, inception="naive", kernel5=side)) for side in (5, 3))
    assert five - three == (25 - 9) * 200 * 92


def test_batch_normalisation_replaces_each_bias_by_scale_and_shift() -> None:
    net = on_meta("googlenet", norm="batch")
    layers = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert count(net) == 6_998_552 + sum(layer.num_features for layer in layers)
    assert (len(layers), {layer.eps for layer in layers}) == (57, {0.001})


def test_switches_without_weights_change_their_layers_alone() -> None:
    plain = dict(on_meta("googlenet").named_children())
    without = dict(on_meta("googlenet", lrn=False, dropout=0, activation="silu").named_children())
    assert plain.keys() - without.keys() == {"norm1", "norm2", "drop"}
    assert isinstance(plain["norm1"], Lrn)
    assert isinstance(without["conv1_act"], nn.SiLU)
    assert isinstance(without["inception5b"]["3x3"][1], nn.SiLU)
    kernels = [on_meta("googlenet", last_pool=2).get_submodule(f"pool{n}").kernel_size
               for n in (1, 2, 3, 4)]  # fmt: skip
    assert kernels == [3, 3, 3, 2]


def test_both_classifiers_cost_what_section_5_says() -> None:
    net = on_meta("googlenet", aux=0.3)
    names = [name for name, _ in net.named_children()]
    assert names[names.index("inception4a") + 1] == "aux1"
    assert names[names.index("inception4d") + 1] == "aux2"
    assert outputs(net.aux1, (512, 14, 14)) == {
        "pool": (512, 4, 4), "conv": (128, 4, 4), "conv_act": (128, 4, 4), "flatten": (2048,),
        "f1": (1024,), "f1_act": (1024,), "f1_drop": (1024,), "fc": (1000,),
    }  # fmt: skip
    assert net.aux1.f1_drop.p == 0.7
    assert count(net) == 13_378_280
    assert macs(net, 1, 3, 224, 224) == 1_591_044_096
    assert macs(net.eval(), 1, 3, 224, 224) == 1_582_671_872


def test_the_loss_adds_the_weighted_losses_of_the_classifiers() -> None:
    net = build("googlenet", SMALL, 10, aux=0.3, small_input=True)
    images, labels = torch.randn(2, *SMALL), torch.tensor([3, 7])
    logits, aux1, aux2 = made = net(images)
    main = cross_entropy(logits, labels)
    expected = main + 0.3 * (cross_entropy(aux1, labels) + cross_entropy(aux2, labels))
    torch.testing.assert_close(net.loss(made, labels), expected)
    net.loss(made, labels).backward()
    assert all(parameter.grad.any() for parameter in net.parameters())
    net.eval()
    assert torch.equal(net.loss(net(images), labels), cross_entropy(net(images), labels))


def test_evaluation_gives_the_logits_as_if_there_were_no_classifiers() -> None:
    net = build("googlenet", SMALL, 10, aux=0.3, small_input=True).eval()
    plain = build("googlenet", SMALL, 10, small_input=True).eval()
    left_over = plain.load_state_dict(net.state_dict(), strict=False)
    assert left_over.missing_keys == []
    assert {key.split(".")[0] for key in left_over.unexpected_keys} == {"aux1", "aux2"}
    images = torch.randn(2, *SMALL)
    assert torch.equal(net(images), plain(images))


def test_small_images_meet_no_stride_before_pool2() -> None:
    shapes = outputs(on_meta("googlenet", SMALL, small_input=True), SMALL)
    sizes = {name: shapes[name][1] for name in ("conv1", "conv2", "pool2", "pool3", "pool4")}
    assert sizes == {"conv1": 32, "conv2": 32, "pool2": 16, "pool3": 8, "pool4": 4}
    assert "pool1" not in shapes


@pytest.mark.parametrize(
    ("size", "changes", "said"),
    [
        (32, {}, "32x32 image is too small for layer 'aux1.pool': (2 − 5)/3 + 1 = 0"),
        (16, {"small_input": True}, "16x16 image is too small for layer 'aux1.pool': (4 − 5)/3"),
        (4, {"small_input": True, "aux": None}, "4x4 image is too small for layer 'pool4': (1 −"),
    ],
)
def test_an_image_too_small_names_the_layer(size, changes, said) -> None:
    with pytest.raises(NetError) as caught:
        on_meta("googlenet", (3, size, size), **{"aux": 0.3} | changes)
    assert said in str(caught.value)


ROW = [64, 96, 128, 16, 32, 32]
MISSING = "inception4d, which model.stages does not have"
COLUMNS = "(n1x1, n3x3_reduce, n3x3, n5x5_reduce, n5x5, pool_proj)"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": []}, "model.stages: want at least one row, got []"),
        ({"stages": [[ROW], []]}, "model.stages.1: want at least one row, got []"),
        ({"stages": [[ROW, [1, 2]]]}, f"model.stages.0.1: want 6 numbers {COLUMNS}, got [1, 2]"),
        ({"stem": [64, 192]}, "model.stem must be a list of 3 whole numbers, got [64, 192]"),
        ({"kernel5": 7}, "model.kernel5 must be one of 5, 3, got 7"),
        ({"inception": "big"}, "model.inception must be one of reduced, naive, got 'big'"),
        ({"aux": 0}, "model.aux must be above 0, got 0"),
        (
            {"aux": 0.3, "stages": [[ROW], [ROW, ROW, ROW]]},
            f"model.aux: a classifier stands on {MISSING} (model.aux=null)",
        ),
    ],
)
def test_a_table_that_cannot_be_built_gives_one_line(changes, said) -> None:
    assert refused("googlenet", **changes) == [said]
