from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy
from zoo import build, count, on_meta, outputs, refused

from cnnctl.errors import NetError
from cnnctl.nets.inception import Step, sizes, steps

V3, V4 = "inception_v3", "inception_v4"
FULL, GREY = (3, 299, 299), (1, 32, 32)
STEPS = "such as '1x7 192', '3x3 384 /2 V', '1x3+3x1 256', 'avg', 'avg_inside' or 'max /2 V'"
ODD = st.sampled_from([1, 3, 5])
NAMES = "conv, pool, stem, mixed, inception or reduction, then letters, digits or _"
TABLES = {
    V3: {
        "conv_1a": (32, 149, 149), "conv_2a": (32, 147, 147), "conv_2b": (64, 147, 147),
        "pool_3a": (64, 73, 73), "conv_3b": (80, 73, 73), "conv_4a": (192, 71, 71),
        "pool_5a": (192, 35, 35),
        "mixed_5b": (256, 35, 35), "mixed_5c": (288, 35, 35), "mixed_5d": (288, 35, 35),
        **{f"mixed_6{letter}": (768, 17, 17) for letter in "abcde"},
        "mixed_7a": (1280, 8, 8), "mixed_7b": (2048, 8, 8), "mixed_7c": (2048, 8, 8),
        "avgpool": (2048, 1, 1), "flatten": (2048,), "drop": (2048,), "fc": (1000,),
    },
    V4: {
        "stem_1a": (32, 149, 149), "stem_2a": (32, 147, 147), "stem_2b": (64, 147, 147),
        "stem_3a": (160, 73, 73), "stem_4a": (192, 71, 71), "stem_5a": (384, 35, 35),
        **{f"inception_a{number}": (384, 35, 35) for number in range(1, 5)},
        "reduction_a": (1024, 17, 17),
        **{f"inception_b{number}": (1024, 17, 17) for number in range(1, 8)},
        "reduction_b": (1536, 8, 8),
        **{f"inception_c{number}": (1536, 8, 8) for number in range(1, 4)},
        "avgpool": (1536, 1, 1), "flatten": (1536,), "drop": (1536,), "fc": (1000,),
    },
}  # fmt: skip


def tiny(branch: str, **changes) -> nn.Module:
    """A net of one module, `mixed`, of this branch."""
    rows = [["mixed", 1, [branch]]]
    return build(V3, (2, 64, 64), 10, stem=[], modules=rows, **changes)


@pytest.mark.parametrize("name", TABLES)
def test_the_grids_and_widths_are_those_of_the_papers(name) -> None:
    assert outputs(on_meta(name), FULL) == TABLES[name]


def test_a_module_of_figure_7_splits_two_of_its_branches() -> None:
    convs = {
        path: (layer.kernel_size, layer.out_channels)
        for path, layer in on_meta(V3).mixed_7c.named_modules()
        if isinstance(layer, nn.Conv2d)
    }
    assert convs == {
        "branch1.conv1.conv": ((1, 1), 320),
        "branch2.conv1.conv": ((1, 1), 384),
        "branch2.conv2.1x3.conv": ((1, 3), 384),
        "branch2.conv2.3x1.conv": ((3, 1), 384),
        "branch3.conv1.conv": ((1, 1), 448),
        "branch3.conv2.conv": ((3, 3), 384),
        "branch3.conv3.1x3.conv": ((1, 3), 384),
        "branch3.conv3.3x1.conv": ((3, 1), 384),
        "branch4.conv2.conv": ((1, 1), 192),
    }


@pytest.mark.parametrize(
    ("branch", "seen"),
    [
        ("1x7 2, 7x1 2", {(h, w) for h in range(7) for w in range(7)}),
        ("3x3 2, 3x3 2", {(h, w) for h in range(1, 6) for w in range(1, 6)}),
        ("1x3+3x1 2", {(2, 3), (3, 2), (3, 3), (3, 4), (4, 3)}),
    ],
)
def test_factorised_kernels_see_what_the_large_one_sees(branch, seen) -> None:
    torch.manual_seed(0)
    net = tiny(branch, activation="none", norm="none")
    image = torch.zeros(1, 2, 7, 7, requires_grad=True)
    net.mixed(image)[0, :, 3, 3].sum().backward()
    assert {*map(tuple, image.grad[0, 0].nonzero().tolist())} == seen


def test_a_1x7_and_a_7x1_cost_two_sevenths_of_a_7x7() -> None:
    factorised, square = (count(tiny(branch).mixed) for branch in ("1x7 2, 7x1 2", "7x7 2"))
    assert (factorised - 4 * 2) * 7 == (square - 2 * 2) * 2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(ODD, ODD, st.integers(1, 3), st.booleans()), min_size=1, max_size=3))
def test_a_branch_is_what_its_text_says_and_makes_the_sizes_told(layers) -> None:
    text = ", ".join(f"{h}x{w} 4 /{stride}{' V' * v}" for h, w, stride, v in layers)
    read = steps(text)
    assert read == [Step(((h, w),), 4, None, stride, v) for h, w, stride, v in layers]
    with torch.device("meta"):
        made = tiny(text).eval().mixed(torch.empty(1, 2, 64, 64))
    assert sizes(read, 64) == {tuple(made.shape[2:])}


@pytest.mark.parametrize(("pool", "corner"), [("avg", 4 / 9), ("avg_inside", 1), ("max", 1)])
def test_padding_counts_in_avg_alone(pool, corner) -> None:
    made = tiny(pool).mixed(torch.ones(1, 2, 5, 5))
    assert made[0, 0, 0, 0].item() == pytest.approx(corner)
    assert made[0, 0, 2, 2].item() == 1


@pytest.mark.parametrize(("name", "after"), [(V3, "mixed_7a"), (V4, "reduction_b")])
@pytest.mark.parametrize("small", [False, True])
def test_the_auxiliary_classifier_stands_at_the_end_of_the_17x17_grid(name, after, small) -> None:
    shape, classes = (GREY, 10) if small else (FULL, 1000)
    net = on_meta(name, shape, classes, aux=0.4, small_input=small)
    names = [child for child, _ in net.named_children()]
    assert names[names.index("aux") + 1] == after
    width, side = (768 if name == V3 else 1024), (7 if small else 17)
    shapes = list(outputs(net.aux, (width, side, side)).values())
    pooled = [] if small else [(width, 5, 5)]
    side = 3 if small else 1
    assert shapes == [
        *pooled, *[(128, side + 4, side + 4)] * 3, *[(768, side, side)] * 3,
        (768, 1, 1), (768,), (classes,),
    ]  # fmt: skip
    own = 128 * width + 2 * 128 + 25 * 128 * 768 + 2 * 768 + 769 * classes
    assert count(net.aux) == own


def test_with_the_auxiliary_classifier_it_is_torchvisions_inception_v3_with_it() -> None:
    import torchvision

    with torch.device("meta"):
        theirs = torchvision.models.inception_v3(weights=None, init_weights=False)
    ours = on_meta(V3, aux=0.4)
    assert count(ours) == count(theirs) == 27_161_264
    assert [value.shape for value in ours.state_dict().values()] == [
        value.shape for value in theirs.state_dict().values()
    ]
    tapped = build(V3, aux=0.4).aux.eval()
    branch = theirs.AuxLogits.to_empty(device="cpu").eval()
    branch.load_state_dict(
        dict(zip(branch.state_dict(), tapped.state_dict().values(), strict=True))
    )
    maps = torch.randn(2, 768, 17, 17)
    with torch.no_grad():
        assert torch.equal(tapped(maps), branch(maps))


def test_training_adds_the_weighted_loss_of_the_auxiliary_classifier() -> None:
    rows = [["mixed_a", 1, ["1x1 4"]], ["mixed_b", 1, ["3x3 8 /2 V"]]]
    net = build(V3, GREY, 10, stem=[], modules=rows, aux=0.25, small_input=True)
    images, labels = torch.randn(3, *GREY), torch.tensor([1, 2, 3])
    logits, aux = made = net(images)
    expected = cross_entropy(logits, labels) + 0.25 * cross_entropy(aux, labels)
    torch.testing.assert_close(net.loss(made, labels), expected)
    net.loss(made, labels).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert net.eval()(images).shape == (3, 10)


@pytest.mark.parametrize(
    ("name", "sides", "params"),
    [
        (V3, [32] * 6 + [15] * 4 + [7] * 5 + [3] * 3, 21_805_482),
        (V4, [32] * 5 + [15] * 5 + [7] * 8 + [3] * 4, 41_157_610),
    ],
)
def test_of_a_small_input_only_the_last_of_the_stem_makes_the_maps_smaller(
    name, sides, params
) -> None:
    net = on_meta(name, GREY, 10, small_input=True)
    shapes = outputs(net, GREY)
    assert [shape[1] for shape in shapes.values() if len(shape) > 1] == [*sides, 1]
    assert count(net) == params


@pytest.mark.parametrize("name", TABLES)
def test_every_switch_changes_what_it_says(name) -> None:
    net, plain = on_meta(name), on_meta(name, norm="none", dropout=0, activation="elu")
    maps = sum(layer.out_channels for layer in net.modules() if isinstance(layer, nn.Conv2d))
    assert count(net) - count(plain) == maps
    assert {layer.eps for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)} == {1e-3}
    assert net.drop.p == 0.2
    assert not hasattr(plain, "drop")
    assert nn.ReLU not in {type(layer) for layer in plain.modules()}


def test_75_pixels_are_the_least_and_267_too_few_for_the_auxiliary_classifier() -> None:
    assert count(on_meta(V3, (3, 75, 75))) == 23_834_568
    with pytest.raises(NetError, match=r"^a 74x74 image is too small for layer 'mixed_7a\."):
        on_meta(V3, (3, 74, 74))
    with pytest.raises(NetError, match=r"^a 267x267 image is too small for layer 'aux\.conv2'"):
        on_meta(V3, (3, 267, 267), aux=0.4)


@pytest.mark.parametrize(
    "text", ["3y3 4", "4x4 64", "max 64", "1x1 0", "1x1 4 V /2", "1x3+1x3 4", ""]
)
def test_what_is_no_layer_is_refused(text) -> None:
    row = ["mixed", 1, ["1x1 64", f"1x1 64, {text}"]]
    line = f"'{text}' is no layer of a branch ({STEPS})"
    assert refused(V3, modules=[row]) == [f"model.modules.0: {line}"]
    assert refused(V4, stem=[row]) == [f"model.stem.0: {line}"]


@pytest.mark.parametrize(
    ("branches", "made"),
    [
        (["1x1 64", "3x3 64 /2"], "48x48 and 96x96"),
        (["max /2 V", "1x1 4 /2"], "47x47 and 48x48"),
        (["1x3+3x1 4 V"], "94x96 and 96x94"),
    ],
)
def test_branches_of_unlike_sizes_are_refused(branches, made) -> None:
    line = f"model.modules.0: side by side, its branches make {made} of 96x96"
    hint = "(the same strides and V in each)"
    assert refused(V3, modules=[["mixed", 1, branches]]) == [f"{line} {hint}"]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (["mixed", 0, ["avg"]], ": times must be at least 1, got 0"),
        (["mixed", 1, []], ": a module needs at least one branch"),
        (["mixed", "avg"], ": want 3 values (name, times, branches), got ['mixed', 'avg']"),
        (["fc", 1, ["avg"]], f": 'fc' is no name of a module ({NAMES})"),
        (["conv.1", 1, ["avg"]], f": 'conv.1' is no name of a module ({NAMES})"),
    ],
)
def test_a_row_that_is_no_module_is_refused(row, line) -> None:
    assert refused(V3, modules=[row]) == [f"model.modules.0{line}"]


def test_names_are_numbered_and_stand_once() -> None:
    twice = [["mixed_a", 2, ["1x1 4"]], ["mixed_a2", 1, ["avg"]]]
    assert refused(V3, modules=twice) == ["model.modules.1: there is another 'mixed_a2'"]
    names = [name for name, _ in on_meta(V3, stem=[], modules=twice[:1]).named_children()]
    assert names[:2] == ["mixed_a1", "mixed_a2"]


def test_the_auxiliary_classifier_needs_its_place_and_a_weight() -> None:
    line = "model.aux: its classifier stands before the last module with a stride"
    hint = "(model.modules has none: model.aux=null)"
    assert refused(V3, modules=[["mixed", 1, ["1x1 4"]]], aux=0.4) == [f"{line} {hint}"]
    assert refused(V3, aux=0) == ["model.aux must be above 0, got 0"]
