"""What must hold for every net of conf/model."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor
from torch.nn.functional import interpolate
from zoo import FILES, build, count, numbers, on_meta, spec

from cnnctl.audit.forward import cost
from cnnctl.config import catalog, paths, tasks
from cnnctl.errors import NetError
from cnnctl.nets import FAMILIES

REFERENCE = yaml.safe_load(
    (paths.conf_dir().parent / "tests" / "nets" / "reference.yaml").read_text(encoding="utf-8")
)
PARAMS = {net["name"]: net["params"] or 0 for net in catalog.models()}
SMALLEST = {
    min((n for n in FILES if numbers(n)["family"] == family), key=lambda n: PARAMS[n])
    for family in FAMILIES
    if not family.startswith("library")
}
# Nets for masks of VGG's size, made small for what is traced and trained.
STAGES = [["conv3-4", "conv3-4"], ["conv3-6"], ["conv3-8"]]
SHRUNK: dict[str, dict[str, Any]] = {
    "fcn": {"stages": STAGES, "hidden": [9, 8], "field": 5, "padding": 40},
    "segnet": {"stages": STAGES},
}  # fmt: skip
# Their layers are padded, so that one pixel stays one pixel.
ALL_PADDED = {
    "mlp", "perceptron", "resnet", "wide_resnet", "efficientnet", "mobilenet_v1", "mobilenet_v2",
    "shufflenet_v1", "shufflenet_v2", "autoencoder", "fcn", "library_masks", "segnet", "unet",
}  # fmt: skip
# The smallest net of each family in every run, the others in `pytest -m slow`.
EVERY = [name if name in SMALLEST else pytest.param(name, marks=pytest.mark.slow) for name in FILES]


def small(name: str) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """A small grey image that the net takes, and the numbers that it needs for it."""
    if "small_input" in numbers(name):
        return (1, 32, 32), {"small_input": True}
    side = min(numbers(name)["input"][1], 64)
    return (1, side, side), SHRUNK.get(numbers(name)["family"], {})


def given(name: str, classes: int, shape: tuple[int, int, int]) -> tuple[int, ...]:
    """What a net makes of two images: a value of each class for each, or for each of its pixels."""
    ends = {"classify": (classes,), "segment": (classes, *shape[1:]), "reconstruct": shape}
    return (2, *ends[tasks.of(numbers(name))])


def wanted(name: str, images: Tensor, labels: Tensor) -> Tensor:
    """What it should make of them: of nets for masks, bright pixels have the class of the image."""
    if tasks.of(numbers(name)) == "reconstruct":
        return images
    if tasks.of(numbers(name)) == "classify":
        return labels
    return torch.where(images[:, :1] > 0, labels.view(-1, 1, 1, 1), 0).to(torch.uint8)


def some_digits(images: int, size: int) -> tuple[Tensor, Tensor]:
    """Real digits of ten classes (N, 1, size, size) in −1..1, and their labels."""
    with (files("cnnctl.data") / "digits.npz").open("rb") as file, np.load(file) as arrays:
        pixels, labels = arrays["images"][:images], arrays["labels"][:images]
    grey = torch.from_numpy(pixels.astype(np.float32)).unsqueeze(1) / 8 - 1
    return interpolate(grey, size=size), torch.from_numpy(labels.astype(np.int64))


def test_every_family_has_a_net() -> None:
    assert {numbers(name)["family"] for name in FILES} == {*FAMILIES} - {"library"}


def test_every_net_has_a_reference() -> None:
    assert sorted(REFERENCE) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_parameters_and_multiply_adds_are_those_of_the_reference(name: str) -> None:
    made, counts = spec(name), REFERENCE[name]
    found = cost(made, num_classes=made.classes, shape=made.input)
    assert found.params == counts["params"]
    assert found.macs == counts.get("macs", found.macs)


@pytest.mark.parametrize("name", FILES)
def test_the_layers_add_up_and_the_output_has_what_it_should(name: str) -> None:
    net = on_meta(name).eval()
    own = [
        parameter.numel()
        for layer in net.modules()
        for parameter in layer.parameters(recurse=False)
    ]
    assert sum(own) == count(net)
    made = spec(name)
    with torch.no_grad():
        found = net(torch.empty(2, *made.input, device="meta"))
    assert found.shape == given(name, made.classes, made.input)


@pytest.mark.parametrize("name", FILES)
def test_classes_and_channels_are_those_of_the_data(name: str) -> None:
    shape, switch = small(name)
    colour = (3, *shape[1:])
    net = on_meta(name, colour, 7, **switch).eval()
    with torch.no_grad():
        found = net(torch.empty(2, *colour, device="meta"))
    assert found.shape == given(name, 7, colour)


@pytest.mark.parametrize("name", FILES)
def test_one_pixel_is_enough_or_one_line_about_a_layer(name: str) -> None:
    made = spec(name)
    pixel = (made.input[0], 1, 1)
    if made.family in ALL_PADDED:
        net = on_meta(name, pixel).eval()
        found = net(torch.empty(2, *pixel, device="meta"))
        assert found.shape == given(name, made.classes, pixel)
        return
    with pytest.raises(NetError, match=r"^a 1x1 image is too small for layer '[\w.]+': \(1 .* = "):
        on_meta(name, pixel)


@pytest.mark.parametrize("name", EVERY)
def test_one_step_on_real_digits_reaches_every_parameter(name: str) -> None:
    shape, switch = small(name)
    torch.manual_seed(0)
    net = build(name, shape, 10, **switch).train()
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    images, labels = some_digits(8, shape[1])
    net.loss(net(images), wanted(name, images, labels)).backward()
    torch.optim.SGD(net.parameters(), lr=0.01).step()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.isfinite().all(), key
    assert any(not torch.equal(value, before[key]) for key, value in net.named_parameters())


LAYERED = {"inception_v3", "densenet_bc100_12", "googlenet_tv", "mobilenet_v2"}  # slow to trace


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in SMALLEST - LAYERED else [pytest.mark.slow])
        for name in FILES
    ],
)
def test_torch_export_and_torch_compile_trace_it(name: str) -> None:
    shape, switch = small(name)
    net = on_meta(name, shape, 10, **switch).eval()
    images = torch.empty(2, *shape, device="meta")
    exported = torch.export.export(net, (images,), strict=False)
    assert exported.module()(images).shape == given(name, 10, shape)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        assert compiled(images).shape == given(name, 10, shape)
