from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, interpolate, max_pool2d, max_unpool2d, relu
from zoo import build, count, numbers, on_meta, outputs, refused, spec

from cnnctl.nets.segnet import SegNet
from cnnctl.nets.upsample import Unpool

VGG16 = [[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3]
SMALL: dict[str, Any] = {"stages": [["conv3-4", "conv3-5"], ["conv3-6", "conv5-7"], ["conv3-8"]]}
CLASSES = 3
WAYS = ["unpool", "transposed", "nearest", "bilinear", "bicubic"]


def small(channels: int = 3, **changes: Any) -> SegNet:
    torch.manual_seed(0)
    net = build("segnet", (channels, 16, 16), CLASSES, **SMALL | changes)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight, module.running_var):
                nn.init.uniform_(value, 0.5, 1.5)  # pyright: ignore[reportArgumentType] - they are there
            for value in (module.bias, module.running_mean):
                nn.init.uniform_(value, -0.5, 0.5)  # pyright: ignore[reportArgumentType] - as above
    assert isinstance(net, SegNet)
    return net.eval()


def arithmetic(classes: int) -> int:
    """Weights, biases, factors and summands of the encoder, and of its mirror image."""
    total, c_in, first = 0, 3, True
    for stage in VGG16:
        for c_out in stage:
            total += 9 * c_in * c_out + c_out + 2 * c_out
            back = classes if first else c_in
            total += 9 * c_out * back + back + (0 if first else 2 * back)
            c_in, first = c_out, False
    return total


def test_parameters_are_those_of_vgg16_and_of_its_mirror_image() -> None:
    assert count(on_meta("segnet")) == arithmetic(12) == 29_449_932
    assert count(on_meta("segnet", classes=2)) == arithmetic(2)


@pytest.mark.parametrize("upsample", WAYS)
def test_only_transposed_ways_up_have_something_to_learn(upsample) -> None:
    more = sum(4 * c * c + c for c in (64, 128, 256, 512, 512)) if upsample == "transposed" else 0
    assert count(on_meta("segnet", upsample=upsample)) == arithmetic(12) + more


def test_the_encoder_is_vgg16_bn_up_to_its_last_pool() -> None:
    net, vgg = on_meta("segnet"), on_meta("vgg16_bn")
    names = [name for name, _ in vgg.named_children()]
    assert net.body == tuple(names[: names.index("flatten")])
    ours, theirs = net.state_dict(), vgg.state_dict()
    body = [name for name in theirs if not name.startswith("fc")]
    assert [*ours][: len(body)] == body
    assert all(ours[name].shape == theirs[name].shape for name in body)
    assert numbers("segnet")["stages"] == numbers("vgg16_bn")["stages"]
    assert spec("segnet").published == "torchvision/vgg16_bn"


def test_the_decoder_is_the_encoder_from_behind() -> None:
    net = on_meta("segnet")
    names = [name for name, layer in net.named_children() if isinstance(layer, (nn.Conv2d, Unpool))]
    half = [name for name in names if not name.endswith("_d") and not name.startswith("up")]
    wanted = []
    for stage in (5, 4, 3, 2, 1):
        wanted.append(f"up{stage}")
        wanted += [f"{one}_d" for one in reversed(half) if one.startswith(f"conv{stage}_")]
    assert names[len(half) :] == wanted
    for name in half[1:]:
        there, back = net.get_submodule(name), net.get_submodule(f"{name}_d")
        assert (there.in_channels, there.out_channels) == (back.out_channels, back.in_channels)
    assert [name for name, _ in net.named_children()][-1] == "conv1_1_d"


def by_hand(net: SegNet, image: Tensor, upsample: str) -> Tensor:
    """The net of three stages in plain functions, without a word about sizes but the pools' own."""
    w = net.state_dict()

    def conv(name: str, value: Tensor, *, last: bool = False) -> Tensor:
        weight = w[f"{name}.weight"]
        value = conv2d(value, weight, w[f"{name}.bias"], padding=weight.shape[-1] // 2)
        if last:
            return value
        stats = [w[f"{name}_norm.{key}"] for key in ("running_mean", "running_var")]
        factors = [w[f"{name}_norm.{key}"] for key in ("weight", "bias")]
        return relu(batch_norm(value, *stats, *factors))

    stack = []
    for stage in (["conv1_1", "conv1_2"], ["conv2_1", "conv2_2"], ["conv3_1"]):
        for name in stage:
            image = conv(name, image)
        size = image.shape[2:]
        image, places = max_pool2d(image, 2, ceil_mode=True, return_indices=True)
        stack.append((size, places))
    for stage in (["conv3_1"], ["conv2_2", "conv2_1"], ["conv1_2", "conv1_1"]):
        size, places = stack.pop()
        if upsample == "unpool":
            image = max_unpool2d(image, places, 2, output_size=size)
        else:
            image = interpolate(image, scale_factor=2, mode=upsample)[..., : size[0], : size[1]]
        for name in stage:
            image = conv(f"{name}_d", image, last=name == "conv1_1")
    return image


@pytest.mark.parametrize("upsample", ["unpool", "nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(16, 24), (13, 10), (1, 1)])
def test_it_is_the_net_in_plain_functions(upsample, size) -> None:
    net, image = small(upsample=upsample), torch.randn(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(net(image), by_hand(net, image, upsample))


@pytest.mark.parametrize("upsample", WAYS)
def test_an_image_of_any_size_has_scores_for_every_pixel(upsample) -> None:
    net = small(1, upsample=upsample)
    for size in [(1, 1), (1, 9), *((high, 29 - high) for high in range(2, 18))]:
        with torch.no_grad():
            assert net(torch.zeros(1, 1, *size)).shape == (1, CLASSES, *size)


@pytest.mark.parametrize("upsample", WAYS)
def test_every_parameter_learns(upsample) -> None:
    net = small(upsample=upsample).train()
    masks = torch.randint(0, CLASSES, (2, 1, 12, 10), dtype=torch.uint8)
    net.loss(net(torch.randn(2, 3, 12, 10)), masks).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_the_sizes_of_the_paper_are_those_of_the_authors_files() -> None:
    """Their prototxt gives 23x30 and 45x60 to the first two ways up on 360x480 images."""
    net = on_meta("segnet", upsample="nearest").eval()
    body = net[: len(net.body)]
    assert isinstance(body, nn.Sequential)
    found = outputs(body, (3, 360, 480))
    assert [found[f"pool{n}"][1:] for n in range(1, 6)] == [
        (180, 240), (90, 120), (45, 60), (23, 30), (12, 15),
    ]  # fmt: skip
    with torch.no_grad():
        assert on_meta("segnet").eval()(torch.empty(1, 3, 360, 480, device="meta")).shape == (
            1, 12, 360, 480,
        )  # fmt: skip


def test_a_maximum_comes_back_where_it_stood() -> None:
    """What the first unpool gives is not 0 only where the pool found its maxima."""
    net, image = small(), torch.randn(1, 3, 12, 12)
    seen: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        return lambda _layer, given, made: seen.update({f"{name} in": given[0], name: made})

    for name in ("pool3", "up3"):
        net.get_submodule(name).register_forward_hook(note(name))
    with torch.no_grad():
        net(image)
    (values, places), raised = seen["pool3"], seen["up3"]
    assert raised.shape == seen["pool3 in"].shape
    torch.testing.assert_close(raised.flatten(2).gather(2, places.flatten(2)), values.flatten(2))
    assert (raised != 0).sum() <= values.numel()


def test_without_normalisation_there_are_convolutions_alone() -> None:
    net = small(norm="none", activation="none")
    with torch.no_grad():
        image = torch.randn(1, 3, 8, 8)
        assert net(image).shape == (1, CLASSES, 8, 8)
    kinds = {type(layer) for layer in net.children()}
    assert kinds == {nn.Conv2d, nn.MaxPool2d, Unpool}


UNKNOWN = "model.stages.0: 'conv2-4' is no layer; want conv<kernel>-<channels> or lrn"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"stages": [["conv3-4"], ["lrn"]]},
         "model.stages.1: want at least one convolution (as in [conv3-64])"),
        ({"stages": []}, "model.stages: want at least one, got []"),
        ({"stages": [["conv2-4", "conv3-4"]]},
         UNKNOWN),
    ],
)  # fmt: skip
def test_stages_that_cannot_be_mirrored_are_refused(changes, text) -> None:
    assert any(said.startswith(text) for said in refused("segnet", **changes))
