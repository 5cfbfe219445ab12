"""Some layers of another net: how the deep nets of Simonyan and Zisserman begin (section 3.1)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from zoo import build, spec

from cnnctl import pretrained
from cnnctl.errors import CheckpointError
from cnnctl.pretrained import Start

SHAPE = (3, 32, 32)
SMALL = {"hidden": [8, 8], "twin": None}
FIRST = ("conv1_1", "conv2_1", "conv3_1", "conv3_2")
DENSE = ("fc6", "fc7", "fc8")


@pytest.fixture
def shallow(tmp_path) -> Path:
    """The weights of a small configuration A."""
    file = tmp_path / "a.pt"
    torch.save(build("vgg_a", SHAPE, 10, **SMALL).state_dict(), file)
    return file


def find(file: Path, layers: tuple[str, ...] | None, name: str = "vgg_d", classes: int = 10):
    made = spec(name, **SMALL)
    return pretrained.find(
        str(file), made, num_classes=classes, shape=SHAPE, outputs="outputs", layers=layers
    )


def layers_of(names) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_the_layers_that_are_named_are_those_of_the_file_and_the_others_new(shallow) -> None:
    start: Start = find(shallow, (*FIRST, *DENSE))
    assert layers_of(start.tensors) == {*FIRST, *DENSE}
    net = build("vgg_d", SHAPE, 10, **SMALL)
    assert {*start.tensors, *start.new} == set(net.state_dict())
    assert "conv4_1.weight" in start.new
    before = {name: value.clone() for name, value in net.state_dict().items()}
    pretrained.load(net, start)
    theirs = torch.load(shallow)
    for name, value in net.state_dict().items():
        wanted = theirs if name in start.tensors else before
        assert torch.equal(value, wanted[name])


def test_without_names_another_net_is_refused_as_ever(shallow) -> None:
    with pytest.raises(CheckpointError, match=r"holds another network: conv1_2\.weight is missing"):
        find(shallow, None)


def test_a_named_layer_that_the_file_lacks_is_refused(shallow) -> None:
    with pytest.raises(CheckpointError, match=r"conv1_2\.weight is missing"):
        find(shallow, ("conv1_1", "conv1_2"))


def test_a_named_layer_of_another_size_is_refused(shallow) -> None:
    made = spec("vgg_d", hidden=[8, 9], twin=None)
    with pytest.raises(CheckpointError, match=r"fc7\.weight is .* instead of"):
        pretrained.find(
            str(shallow), made, num_classes=10, shape=SHAPE, outputs="outputs", layers=("fc7",)
        )


def test_names_of_our_own_need_no_twin(shallow) -> None:
    made = spec("vgg_d", hidden=[8, 8])  # which is not torchvision's
    start = pretrained.find(
        str(shallow), made, num_classes=10, shape=SHAPE, outputs="outputs", layers=FIRST
    )
    assert layers_of(start.tensors) == {*FIRST}


def test_a_last_layer_for_other_classes_stays_new(shallow) -> None:
    start = find(shallow, (*FIRST, *DENSE), classes=7)
    assert {"fc8.weight", "fc8.bias"} <= {*start.new}
    assert layers_of(start.tensors) == {*FIRST, "fc6", "fc7"}


def test_all_layers_of_a_net_with_blocks_may_be_named(tmp_path) -> None:
    net = build("resnet20")
    torch.save(net.state_dict(), tmp_path / "r.pt")
    names = tuple(name for name, layer in net.named_children() if [*layer.parameters()])
    made = spec("resnet32")
    start = pretrained.find(
        str(tmp_path / "r.pt"), made, num_classes=10, shape=SHAPE, outputs="outputs", layers=names
    )
    assert layers_of(start.tensors) == {*names}
    assert not layers_of(start.new) & {*names}


@pytest.mark.parametrize(
    ("name", "hint"), [("conv1_3", "did you mean"), ("fc9", "did you mean"), ("pool1", None)]
)
def test_an_unknown_layer_is_named(shallow, name, hint) -> None:
    with pytest.raises(CheckpointError) as caught:
        find(shallow, (name,))
    text = f"pretrained_layers: the net has no layer '{name}' with weights"
    assert caught.value.message == text
    assert hint is None or hint in str(caught.value.hint)
