"""What must hold for every net of conf/model."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor
from torch.nn.functional import interpolate
from zoo import FILES, build, count, numbers, on_meta, spec

from cnnctl.audit.forward import cost
from cnnctl.config import catalog, paths
from cnnctl.errors import NetError
from cnnctl.nets import FAMILIES

REFERENCE = yaml.safe_load(
    (paths.conf_dir().parent / "tests" / "nets" / "reference.yaml").read_text(encoding="utf-8")
)
PARAMS = {net["name"]: net["params"] or 0 for net in catalog.models()}
SMALLEST = {
    min((n for n in FILES if numbers(n)["family"] == family), key=lambda n: PARAMS[n])
    for family in FAMILIES
    if family != "library"
}
# Their layers are padded, so that one pixel stays one pixel.
ALL_PADDED = {
    "mlp", "perceptron", "resnet", "wide_resnet", "efficientnet", "mobilenet_v1", "mobilenet_v2",
    "shufflenet_v1", "shufflenet_v2",
}  # fmt: skip
# The smallest net of each family in every run, the others in `pytest -m slow`.
EVERY = [name if name in SMALLEST else pytest.param(name, marks=pytest.mark.slow) for name in FILES]


def small(name: str) -> tuple[tuple[int, int, int], dict[str, bool]]:
    """A small grey image that the net takes, and the switch that it needs for it."""
    if "small_input" in numbers(name):
        return (1, 32, 32), {"small_input": True}
    side = min(numbers(name)["input"][1], 64)
    return (1, side, side), {}


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
    made, wanted = spec(name), REFERENCE[name]
    found = cost(made, num_classes=made.classes, shape=made.input)
    assert found.params == wanted["params"]
    assert found.macs == wanted.get("macs", found.macs)


@pytest.mark.parametrize("name", FILES)
def test_the_layers_add_up_and_the_output_has_one_value_per_class(name: str) -> None:
    net = on_meta(name).eval()
    own = [
        parameter.numel()
        for layer in net.modules()
        for parameter in layer.parameters(recurse=False)
    ]
    assert sum(own) == count(net)
    made = spec(name)
    with torch.no_grad():
        assert net(torch.empty(2, *made.input, device="meta")).shape == (2, made.classes)


@pytest.mark.parametrize("name", FILES)
def test_classes_and_channels_are_those_of_the_data(name: str) -> None:
    shape, switch = small(name)
    colour = (3, *shape[1:])
    net = on_meta(name, colour, 7, **switch).eval()
    with torch.no_grad():
        assert net(torch.empty(2, *colour, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("name", FILES)
def test_one_pixel_is_enough_or_one_line_about_a_layer(name: str) -> None:
    made = spec(name)
    pixel = (made.input[0], 1, 1)
    if made.family in ALL_PADDED:
        net = on_meta(name, pixel).eval()
        assert net(torch.empty(2, *pixel, device="meta")).shape == (2, made.classes)
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
    net.loss(net(images), labels).backward()
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
    assert exported.module()(images).shape == (2, 10)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        assert compiled(images).shape == (2, 10)
