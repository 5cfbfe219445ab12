from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from fcns import CLASSES, NAMES, SMALL, STAGES, small
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, interpolate, max_pool2d, relu
from zoo import build, count, numbers, on_meta, outputs, refused, spec

from cnnctl.nets.dense import convolutionalize
from cnnctl.nets.fcn import Fcn
from cnnctl.nets.init import initialise


def by_hand(net: Fcn, image: Tensor) -> Tensor:
    """FCN-4s of three stages in plain functions.

    The middle of place 0 lies at −39 + 0.5 + 1 = −37.5 for pool2, at −37.5 + 2 + 16 = −19.5 for
    the scores, at −19.5 − 1.5 * 4 = −25.5 once they are doubled, at −25.5 − 3.5 = −29 at the end:
    so (37.5 − 25.5) / 4 = 3 places of pool2 and 29 pixels are cut.
    """
    w = dict(net.named_parameters())
    conv = lambda name, value, padding: relu(  # noqa: E731
        conv2d(value, w[f"{name}.weight"], w[f"{name}.bias"], padding=padding)
    )
    score = lambda name, value: conv2d(value, w[f"{name}.weight"], w[f"{name}.bias"])  # noqa: E731
    pool = lambda value: max_pool2d(value, 2, ceil_mode=True)  # noqa: E731
    one = pool(conv("conv1_2", conv("conv1_1", image, 40), 1))
    two = pool(conv("conv2_1", one, 1))
    three = pool(conv("conv3_1", two, 1))
    value = score("score_fr", conv("fc5", conv("fc4", three, 0), 0))
    up = conv_transpose2d(value, w["upscore2.weight"], stride=2)
    skip = score("score_pool2", two)
    value = up + skip[..., 3 : 3 + up.shape[2], 3 : 3 + up.shape[3]]
    value = conv_transpose2d(value, w["upscore.weight"], stride=4)
    high, wide = image.shape[2:]
    return value[..., 29 : 29 + high, 29 : 29 + wide]


@pytest.mark.parametrize("size", [(32, 32), (17, 40), (1, 1)])
def test_with_one_skip_it_is_the_net_in_plain_functions(size) -> None:
    net, image = small(1, learned=True), torch.randn(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(net(image), by_hand(net, image))


def test_the_maps_of_fcn32s_are_those_of_the_authors_net() -> None:
    net = on_meta("fcn32s").eval()
    found = outputs(net, (3, 500, 500))
    assert found["conv1_1"] == (64, 698, 698)
    assert [found[f"pool{n}"][1] for n in range(1, 6)] == [349, 175, 88, 44, 22]
    assert found["fc6"] == (4096, 16, 16)
    assert found["score_fr"] == (21, 16, 16)
    assert found["upscore"] == (21, 544, 544)


@pytest.mark.parametrize(("name", "skips"), NAMES.items())
def test_parameters_are_those_of_vgg_without_its_last_layer_and_of_the_scores(name, skips) -> None:
    body = count(on_meta("vgg16")) - 4097 * 1000
    scores = 4097 * 21 + sum([513 * 21, 257 * 21][:skips])
    assert count(on_meta(name)) == body + scores + skips * 21 * 21 * 4 * 4
    assert round(count(on_meta("fcn32s")) / 1e6) == 134  # table 1
    learned = count(on_meta(name, learned=True)) - count(on_meta(name))
    assert learned == 21 * 21 * (2 * 2 ** (5 - skips)) ** 2
    fixed = count(on_meta(name, upsample="bilinear"))
    assert fixed == body + scores


def test_layers_have_the_authors_names() -> None:
    names = [name for name, _ in on_meta("fcn8s").named_children()]
    after = names[names.index("pool5") + 1 :]
    assert after == [
        "fc6", "fc6_act", "fc6_drop", "fc7", "fc7_act", "fc7_drop", "score_fr", "upscore2",
        "score_pool4", "upscore_pool4", "score_pool3", "upscore",
    ]  # fmt: skip
    given = [name for name, _ in on_meta("vgg16").named_children() if name != "flatten"]
    assert names[: names.index("score_fr")] == given[:-1]
    assert on_meta("fcn8s").body == tuple(given[:-1])


def test_its_vgg_is_vgg_d() -> None:
    own = {"name", "family", "paper", "input", "classes", "twin"}
    wanted, found = numbers("vgg_d"), numbers("fcn32s")
    assert {k: v for k, v in found.items() if k in wanted and k not in own} == {
        k: v for k, v in wanted.items() if k not in own
    }


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_scores_start_at_zero_and_ways_up_as_interpolation(skips) -> None:
    net = build("fcn32s", (3, 32, 32), CLASSES, **SMALL | {"skips": skips, "learned": True})
    for name, parameter in net.named_parameters():
        if name.startswith("score_"):
            assert not parameter.any()
    value = torch.randn(1, CLASSES, 5, 6)
    for layer in net.children():
        if isinstance(layer, nn.ConvTranspose2d):
            factor = layer.stride[0]
            assert layer.kernel_size == (2 * factor, 2 * factor)
            wanted = interpolate(value, scale_factor=factor, mode="bilinear", align_corners=False)
            half = factor // 2
            found = layer(value)[..., half:-half, half:-half]
            inner = (..., slice(half, -half), slice(half, -half))
            torch.testing.assert_close(found[inner], wanted[inner])
    assert net(torch.randn(1, 3, 20, 20)).abs().max() == 0


def test_a_fixed_way_up_is_what_a_learned_one_starts_as() -> None:
    fixed, learned = small(1), small(1, learned=True)
    assert set(learned.state_dict()) - set(fixed.state_dict()) == {"upscore.weight"}
    learned.load_state_dict(fixed.state_dict(), strict=False)
    image = torch.randn(1, 3, 30, 21)
    with torch.no_grad():
        torch.testing.assert_close(fixed(image), learned(image))
    fixed.train()(image).sum().backward()
    assert fixed.get_submodule("upscore2").weight.grad is not None


def classifier(field: int = 5) -> nn.Module:
    torch.manual_seed(5)
    made = build("vgg16", (3, 8 * field, 8 * field), 11, stages=STAGES, hidden=[9, 8], init="he")
    return made.eval()


def filled(vgg: nn.Module, **changes: Any) -> Fcn:
    """An FCN with the weights of a classifier, its last layer as the scores."""
    net = build("fcn32s", (3, 40, 40), 11, **SMALL | changes)
    state = net.state_dict()
    given = {name.replace("fc6.", "score_fr."): value for name, value in vgg.state_dict().items()}
    net.load_state_dict({name: value.view(state[name].shape) for name, value in given.items()})
    assert isinstance(net, Fcn)
    return net.eval()


def test_without_its_padding_it_is_the_classifier_made_convolutional() -> None:
    vgg = classifier()
    net = filled(vgg)
    first = net.get_submodule("conv1_1")
    assert isinstance(first, nn.Conv2d)
    assert first.padding == (40, 40)
    first.padding = (1, 1)
    scores = nn.Sequential(OrderedDict(list(net.named_children())[:-1]))
    converted = convolutionalize(vgg, (3, 40, 40))
    images = torch.randn(2, 3, 40, 40)
    larger = torch.randn(1, 3, 56, 72)
    with torch.no_grad():
        torch.testing.assert_close(scores(images), vgg(images)[:, :, None, None])
        assert scores(larger).shape == (1, 11, 3, 5)
        torch.testing.assert_close(scores(larger), converted(larger), rtol=0, atol=0)
    for one, other in zip(scores.parameters(), converted.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_trained_net_remembers_nothing_of_the_batch() -> None:
    net, images = small(2), torch.randn(3, 3, 19, 25)
    with torch.no_grad():
        together = net(images)
        alone = torch.cat([net(one[None]) for one in images])
    torch.testing.assert_close(together, alone)


def test_initialising_again_would_undo_the_interpolation() -> None:
    net = build("fcn32s", (3, 32, 32), CLASSES, **SMALL | {"skips": 1})
    kernel = net.get_submodule("upscore2").weight.clone()
    assert kernel[0, 0].sum() == 4
    assert kernel[0, 1].abs().sum() == 0
    initialise(net, "he")
    assert not torch.equal(net.get_submodule("upscore2").weight, kernel)


@pytest.mark.parametrize(
    ("name", "changes", "text", "hint"),
    [
        ("fcn8s", {"upsample": "unpool"},
         "model.upsample=unpool undoes one 2x2 pool, the last way up here is 8",
         "model.upsample=transposed, or model=segnet"),
        ("fcn32s", {"learned": True, "upsample": "nearest"},
         "model.learned=true has no effect with model.upsample=nearest", "model.learned=false"),
        ("fcn32s", {"skips": 5}, "model.skips must be below the number of stages, got 5",
         "at most 4"),
        ("fcn32s", {"padding": 80},
         "model.padding=80 leaves pixels at the edges without a score",
         "model.padding=81 or more"),
        ("fcn8s", {"padding": 1}, "model.padding=1 leaves pixels at the edges without a score",
         "model.padding=69 or more"),
        ("fcn8s", {"field": 3}, "model.field=3 is too small for scores of 2 pools",
         "model.field=5 or more"),
        ("fcn8s", {"hidden": []},
         "model.hidden is empty: there is no dense layer to make a convolution of",
         "model.hidden=[4096,4096]"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_go_together_are_refused(name, changes, text, hint) -> None:
    assert f"{text} ({hint})" in refused(name, **changes)


def test_words_that_are_no_layer_are_refused_as_in_vgg() -> None:
    stages = [["conv3-4"], ["conv2-4"]]
    (problem,) = refused("fcn32s", stages=stages, skips=0, field=7)
    assert problem.startswith("model.stages.1: 'conv2-4' is no layer")


def test_published_weights_are_those_of_the_body() -> None:
    assert spec("fcn16s").published == "torchvision/vgg16"
    assert spec("fcn16s", body=None).published is None
