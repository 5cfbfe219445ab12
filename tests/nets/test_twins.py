from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo import FILES, build, numbers, spec

from cnnctl.errors import NetError
from cnnctl.nets import library, library_masks, twins

TWINS = [name for name in FILES if numbers(name)["twin"]]
FULL = ("alexnet", "vgg")  # their dense layers need the paper's input


def scatter(net: nn.Module) -> dict[str, Tensor]:
    """Random values for every tensor of the state dict, running means and variances too."""
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            low = 0.5 if name.endswith("running_var") else -0.5
            nn.init.uniform_(value, low, low + 1) if value.ndim == 1 else nn.init.normal_(
                value, 0, (2 / value[0].numel()) ** 0.5
            )
    return net.state_dict()


LARGE = {"vgg_b", "vgg_e", "vgg13", "vgg13_bn", "vgg16_bn", "vgg19", "vgg19_bn"}  # 133 M and more


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in TWINS],
)
def test_a_twin_gives_the_same_numbers_to_the_last_bit(name: str) -> None:
    made = spec(name)
    assert made.twin is not None
    size = made.input[1] if name.startswith(FULL) else 96
    torch.manual_seed(0)
    with torch.device("meta"):
        create = library_masks.create if made.family == "library_masks" else library.create
        theirs = create(made.twin)
    theirs = theirs.to_empty(device="cpu").eval()
    names, state = twins.key_map(made), scatter(theirs)
    with torch.device("meta"):
        ours = build(name, (3, size, size)).eval()
    ours.load_state_dict({names[key]: value for key, value in state.items()}, assign=True)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected, got = theirs(images), ours(images)
    expected = expected["out"] if isinstance(expected, dict) else expected
    assert expected.std() > 0
    assert torch.isfinite(expected).all()
    assert torch.equal(got, expected)


def test_a_net_without_a_twin_says_so() -> None:
    with pytest.raises(NetError, match=r"^lenet5 has no twin in torchvision or timm"):
        twins.key_map(spec("lenet5"))


def test_a_changed_net_is_no_twin() -> None:
    with pytest.raises(NetError, match=r"^resnet18 with these numbers is not torchvision/resnet18"):
        twins.key_map(spec("resnet18", depths=[2, 2, 3, 2]))


@pytest.mark.parametrize(
    ("name", "layers"), [("fcn32s", "conv1_1 fc7"), ("segnet", "conv1_1 conv5_3_norm")]
)
def test_the_first_layers_of_a_net_may_be_a_classifiers(name: str, layers: str) -> None:
    made = spec(name)
    names = twins.key_map(made)
    first, last = layers.split()
    assert names["features.0.weight"] == f"{first}.weight"
    assert list(names.values())[-1].rpartition(".")[0] == last
    classifier = numbers("vgg16" if name == "fcn32s" else "vgg16_bn")
    assert made.published == classifier["twin"]
    whole = twins.key_map(spec(classifier["name"]))
    assert names == {theirs: ours for theirs, ours in whole.items() if theirs in names}
    gone = {ours.partition(".")[0] for theirs, ours in whole.items() if theirs not in names}
    assert gone == ({"fc8"} if name == "fcn32s" else {"fc6", "fc7", "fc8"})


def test_a_changed_body_is_not_the_classifiers() -> None:
    text = r"^fcn32s with these numbers is not torchvision/vgg16: its weights do not fit"
    with pytest.raises(NetError, match=text):
        twins.key_map(spec("fcn32s", field=5))
    with pytest.raises(NetError, match=r"^fcn32s has no twin"):
        twins.key_map(spec("fcn32s", body=None))


@pytest.mark.parametrize(
    ("given", "own", "fits"),
    [
        ((4, 3), (4, 3), True), ((4, 18), (4, 2, 3, 3), True), ((4, 18), (2, 4, 3, 3), False),
        ((4, 2, 3, 3), (4, 18), False), ((4, 9), (4, 2, 3, 3), False), ((4,), (4,), True),
    ],
)  # fmt: skip
def test_a_dense_layer_fits_the_convolution_that_it_becomes(given, own, fits) -> None:
    assert twins.alike(torch.empty(given), torch.empty(own)) is fits


@pytest.mark.parametrize(
    "name", ["torchvision/resnet81", "timm/resnet81", "torchvision/raft_large"]
)
def test_an_unknown_name_of_a_library_is_refused(name: str) -> None:
    said = name.replace("/", " has no classification net '") + "'"
    with pytest.raises(NetError, match=f"^{said}"):
        library.create(name)
