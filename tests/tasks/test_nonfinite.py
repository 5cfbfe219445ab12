from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import FILES, build, numbers

from cnnctl.config import catalog
from cnnctl.nets import FAMILIES
from cnnctl.nets.net import Net
from cnnctl.tasks.finding import Finding
from cnnctl.tasks.nonfinite import examine

NAN, INF = float("nan"), float("inf")
CLASSES = 10
PARAMS = {net["name"]: net["params"] or 0 for net in catalog.models()}
SMALLEST = [  # of each family
    min((n for n in FILES if numbers(n)["family"] == family), key=lambda n: PARAMS[n])
    for family in FAMILIES
    if not family.startswith("library")
]


def made(name: str) -> tuple[Net, Tensor, Tensor]:
    """A net in training, with four images and their labels."""
    given = numbers(name)
    switch: dict[str, Any] = {"small_input": True} if "small_input" in given else {}
    if given.get("hidden") == [4096, 4096]:
        switch["hidden"] = [64, 64]
    side = 32 if "small_input" in given else min(given["input"][1], 64)
    torch.manual_seed(0)
    net = build(name, (1, side, side), CLASSES, **switch).train()
    images, labels = torch.randn(4, 1, side, side), torch.tensor([1, 3, 3, 7])
    masks = labels.to(torch.uint8).view(4, 1, 1, 1).repeat(1, 1, side, side)
    return net, images, {"segment": masks, "reconstruct": images}.get(net.TASK, labels)


def look(net: Net, *parts: tuple[Tensor, Tensor]) -> Finding:
    found = examine(net, parts, [1] * len(parts))
    assert found is not None
    return found


def layers(net: Net) -> list[tuple[str, nn.Module]]:
    """Those that have weights and no layers in them, in their order."""
    return [
        (name, layer)
        for name, layer in net.named_modules()
        if name and not list(layer.children()) and list(layer.parameters(recurse=False))
    ]


def spoil(layer: nn.Module, value: float, row: int = 2) -> None:
    """One image of every batch leaves the layer with a value that is not finite."""

    def hook(_: nn.Module, __: object, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[row].view(-1)[0] = value
        return changed

    layer.register_forward_hook(hook)


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(_, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(_, gradient: Tensor) -> Tensor:
        return gradient * NAN


@pytest.mark.parametrize("name", SMALLEST)
def test_of_every_family_the_layer_is_named_and_nothing_is_changed(name) -> None:
    net, images, labels = made(name)
    net.loss(net(images), labels).backward()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    grads = [None if value.grad is None else value.grad.clone() for value in net.parameters()]
    assert examine(net, [(images, labels)], [1]) is None
    place, layer = layers(net)[len(layers(net)) // 2]
    spoil(layer, INF)
    found = look(net, (images, labels))
    assert found.what.startswith(f"output of layer {place} ({type(layer).__name__} ")
    assert " is inf in 1 of " in found.what
    assert (found.cause, found.samples, found.all_samples) == ("layer", (2,), False)
    after = net.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    for value, grad in zip(net.parameters(), grads, strict=True):
        assert grad is None or torch.equal(value.grad, grad)
    assert not any(value._backward_hooks for value in net.parameters())
    assert not any(layer._forward_pre_hooks for layer in net.modules())


@pytest.mark.parametrize("name", SMALLEST)
def test_of_every_family_the_gradient_is_named_that_is_nearest_to_the_loss(name) -> None:
    net, images, labels = made(name)
    place, layer = layers(net)[len(layers(net)) // 2]
    layer.register_forward_hook(lambda _, __, output: Broken.apply(output))
    found = look(net, (images, labels))
    assert found.what.split()[2].rpartition(".")[0] == place
    assert " is NaN" in found.what
    assert (found.cause, found.samples, found.all_samples) == ("gradient", (), False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_it_looks_in_the_precision_of_the_run(dtype) -> None:
    net, images, labels = made("simple_cnn")
    net.get_parameter("conv1_2.weight").data.mul_(1e4)
    assert examine(net, [(images, labels)], [1]) is None
    with torch.autocast("cpu", dtype):
        net.loss(net(images), labels).backward()  # leaves rounded weights in autocast's cache
        found = examine(net, [(images, labels)], [1])
    if dtype is torch.bfloat16:
        assert found is None
    else:
        assert found is not None
        assert found.what.startswith("output of layer conv1_2 (Conv2d 8x64x64) is inf in ")
        assert found.half


def test_under_autocast_gradients_are_still_seen() -> None:
    net, images, labels = made("lenet5")
    net.c3.register_forward_hook(lambda _, __, output: Broken.apply(output))
    with torch.autocast("cpu", torch.bfloat16):
        found = look(net, (images, labels))
    assert found.what in {
        f"gradient of c3.{name} is NaN, the nearest to the loss of 4 such"
        for name in ("weight", "bias")
    }


@pytest.mark.parametrize(
    ("value", "kind"), [(NAN, "NaN"), (INF, "inf"), (-INF, "inf")], ids=["nan", "inf", "-inf"]
)
def test_images_come_first_and_are_counted_over_all_parts(value, kind) -> None:
    net, images, labels = made("lenet5")
    net.c1.weight.data[0] = NAN
    images[1, 0, :2, 0] = value
    found = look(net, (images[2:], labels[2:]), (images[:2], labels[:2]))
    assert found == Finding(f"input of the net is {kind} in 2 of 2048 values", "images", (3,))
    images[0] = value
    assert look(net, (images[:2], labels[:2])).all_samples


def test_weights_that_hold_nan_are_named() -> None:
    net, images, labels = made("lenet5")
    net.f6.bias.data[0] = INF
    net.c3.weight.data[0, 0] = NAN
    found = look(net, (images, labels))
    assert found == Finding("c3.weight holds NaN before the step", "weights")


def test_where_the_weights_have_grown_the_largest_is_told() -> None:
    net, images, labels = made("simple_cnn")
    net.conv1_2.weight.data.mul_(1e38)
    images[3] *= 1e4
    found = look(net, (images, labels))
    assert found.what.startswith("output of layer conv1_2 (Conv2d 8x64x64) is ")
    assert 3 in found.samples
    assert found.largest == ("conv1_2.weight", float(net.conv1_2.weight.detach().abs().max()))


class Between(nn.Module):
    """Multiplies by itself, before or behind its layer."""

    def __init__(self, *, behind: bool) -> None:
        super().__init__()
        self.inside = nn.Identity()
        self.behind = behind

    def forward(self, value: Tensor) -> Tensor:
        return self.inside(value) * INF if self.behind else self.inside(value * INF)


@pytest.mark.parametrize("behind", [False, True])
def test_what_a_module_does_between_its_layers_is_told_apart(behind) -> None:
    net, images, labels = made("lenet5")
    net.c3_act = Between(behind=behind)
    place = (
        "output of layer c3_act (Between" if behind else "input of layer c3_act.inside (Identity"
    )
    assert look(net, (images, labels)).what.startswith(f"{place} 16x10x10) is inf in ")


def test_what_the_net_does_behind_its_layers_is_the_nets(monkeypatch) -> None:
    net, images, labels = made("lenet5")
    whole = net.forward
    monkeypatch.setattr(net, "forward", lambda value: (whole(value) * NAN, whole(value)))
    what = "output of the net (LeNet 10) is NaN in 40 of 40 values"
    assert look(net, (images, labels)).what == what


@pytest.mark.parametrize("name", ["lenet5", "googlenet"])
def test_a_loss_that_is_no_number_is_asked_of_each_image(name) -> None:
    net, images, labels = made(name)
    net.class_weights = torch.ones(CLASSES).index_fill(0, torch.tensor(3), INF)
    found = look(net, (images, labels))
    assert (found.what, found.cause, found.samples) == ("the loss is NaN", "loss", (1, 2))
    assert not found.all_samples


def test_a_loss_that_no_image_explains_is_that_of_all() -> None:
    net, images, labels = made("lenet5")
    whole = net.loss
    net.loss = lambda outputs, wanted: whole(outputs, wanted) * (INF if len(wanted) > 1 else 1)
    found = look(net, (images, labels))
    assert (found.what, found.samples, found.all_samples) == ("the loss is inf", (0, 1, 2, 3), True)


def test_shares_of_classes_are_labels_too() -> None:
    net, images, labels = made("lenet5")
    shares = nn.functional.one_hot(labels, CLASSES).float()
    assert examine(net, [(images, shares)], [1]) is None
    shares[1, 0] = NAN
    assert look(net, (images, shares)).samples == (1,)


def test_dropout_draws_what_it_drew_before() -> None:
    net, images, labels = made("alexnet")
    drawn: list[Tensor] = []
    last = next(layer for layer in net.modules() if isinstance(layer, nn.Dropout))
    hook = last.register_forward_hook(lambda _, __, output: drawn.append(output == 0))
    halves = [(images[:2], labels[:2]), (images[2:], labels[2:])]
    torch.manual_seed(5)
    for some, _ in halves:
        net(some)
    examine(net, halves, [5, None])
    hook.remove()
    assert len(drawn) == 6  # as it was, forward, and once more for the gradient
    for again in (drawn[2:4], drawn[4:]):
        assert all(torch.equal(a, b) for a, b in zip(drawn[:2], again, strict=True))
    assert not torch.equal(drawn[0], drawn[1])


def test_layers_that_do_not_learn_have_no_gradient_to_be_named() -> None:
    net, images, labels = made("lenet5")
    for layer in (net.c3, net.c1):
        layer.requires_grad_(requires_grad=False)
    net.c3.register_forward_hook(lambda _, __, output: Broken.apply(output + 0 * net.f6.bias.sum()))
    assert look(net, (images, labels)).what == "gradient of f6.bias is NaN"


def test_compiled_code_is_left_aside_because_it_calls_no_hooks() -> None:
    net, images, labels = made("lenet5")
    net._compiled_call_impl = lambda *_: pytest.fail("called")  # as net.compile() does
    spoil(net.c3, NAN)
    assert look(net, (images, labels)).samples == (2,)
