from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo import FILES, build, numbers, spec

from cnnctl.errors import NetError
from cnnctl.nets import library, twins

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
        theirs = library.create(made.twin)
    theirs = theirs.to_empty(device="cpu").eval()
    names, state = twins.key_map(made), scatter(theirs)
    with torch.device("meta"):
        ours = build(name, (3, size, size)).eval()
    ours.load_state_dict({names[key]: value for key, value in state.items()}, assign=True)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected, got = theirs(images), ours(images)
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
    "name", ["torchvision/resnet81", "timm/resnet81", "torchvision/raft_large"]
)
def test_an_unknown_name_of_a_library_is_refused(name: str) -> None:
    said = name.replace("/", " has no classification net '") + "'"
    with pytest.raises(NetError, match=f"^{said}"):
        library.create(name)
