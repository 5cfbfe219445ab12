"""Nets for masks that start from the weights of a classifier."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import build, spec

from cnnctl import nets, pretrained
from cnnctl.errors import CheckpointError, NetError
from cnnctl.nets.dense import convolutionalize
from cnnctl.nets.net import Net
from cnnctl.pretrained import Start

STAGES = [["conv3-4", "conv3-5"], ["conv3-6"], ["conv3-7"]]
FIELD, CLASSES, SCORES = 5, 6, 3
VGG: dict[str, Any] = {"stages": STAGES, "hidden": [9, 8], "init": "he"}
FCN = VGG | {"field": FIELD, "padding": 40}
SIZE = (3, 8 * FIELD, 8 * FIELD)
NEW = ("score_fr.weight", "score_fr.bias")


def find(reference: str, name: str = "fcn32s", **changes: Any) -> Start:
    numbers = FCN | {"skips": 0} | changes if name == "fcn32s" else changes
    made = spec(name, **numbers)
    return pretrained.find(
        reference, made, num_classes=SCORES, shape=(3, 32, 32), outputs="outputs"
    )  # fmt: skip


def classifier() -> Net:
    torch.manual_seed(0)
    return build("vgg16", SIZE, CLASSES, **VGG).eval()


def put(state: dict[str, Tensor], file: str = "given.pth") -> str:
    torch.save(state, file)
    return file


def filled(start: Start, name: str = "fcn32s", **changes: Any) -> Net:
    torch.manual_seed(1)
    net = build(name, (3, 32, 32), SCORES, **FCN | {"skips": 0} | changes)
    pretrained.load(net, start)
    return net.eval()


def test_a_classifier_fills_the_body_as_convolutionalize_converts_it() -> None:
    vgg = classifier()
    start = find(put(vgg.state_dict()))
    assert start.new == NEW
    assert start.unused == ("fc6.weight", "fc6.bias")
    net = filled(start)
    first = net.get_submodule("conv1_1")
    assert isinstance(first, nn.Conv2d)
    first.padding = (1, 1)
    images = torch.randn(1, 3, 48, 56)
    cut = [name for name, _ in net.named_children()].index("score_fr")
    with torch.no_grad():
        body = net[:cut](images)
        wanted = convolutionalize(vgg, SIZE)[:-1](images)
    assert body.shape == (1, 8, 2, 3)
    assert torch.equal(body, wanted)


def test_dense_weights_are_read_row_by_row() -> None:
    vgg = classifier()
    start = find(put(vgg.state_dict()))
    dense, made = vgg.state_dict()["fc4.weight"], start.tensors["fc4.weight"]
    assert (dense.shape, made.shape) == ((9, 175), (9, 7, 5, 5))
    for unit, channel, row, column in ((0, 0, 0, 0), (3, 2, 4, 1), (8, 6, 4, 4)):
        assert made[unit, channel, row, column] == dense[unit, (channel * 5 + row) * 5 + column]


@pytest.mark.parametrize("skips", [1, 2])
def test_finer_nets_keep_their_new_scores_at_zero(skips) -> None:
    start = find(put(classifier().state_dict()), skips=skips)
    layers = {name.partition(".")[0] for name in start.new}
    wanted = {"score_fr", "upscore2", "score_pool2", "upscore_pool2", "score_pool1"}
    assert layers == (wanted if skips == 2 else {"score_fr", "upscore2", "score_pool2"})
    net = filled(start, skips=skips)
    assert not net(torch.randn(1, 3, 20, 20)).any()


def test_a_coarser_net_fills_a_finer_one_as_in_the_paper() -> None:
    """Section 4.2: FCN-16s starts from FCN-32s, its scores of pool4 from 0; so it begins alike."""
    torch.manual_seed(0)
    coarse = build("fcn32s", (3, 32, 32), SCORES, **FCN | {"skips": 0}).eval()
    nn.init.normal_(coarse.get_submodule("score_fr").weight)
    start = find(put(coarse.state_dict()), skips=1)
    assert start.new == ("upscore2.weight", "score_pool2.weight", "score_pool2.bias")
    assert start.unused == ()
    fine, image = filled(start, skips=1), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert coarse(image).abs().max() > 0
        middle = (..., slice(8, 24), slice(8, 24))
        one, other = coarse(image)[middle], fine(image)[middle]
    # interpolating twice by 2 and 4 is nearly interpolating by 8
    assert (one - other).abs().max() < 0.15 * one.abs().max()


def test_scores_of_other_classes_stay_new_and_so_do_the_ways_up_of_scores() -> None:
    torch.manual_seed(0)
    given = build("fcn32s", (3, 32, 32), CLASSES, **FCN | {"skips": 1, "learned": True})
    start = find(put(given.state_dict()), skips=1, learned=True)
    assert start.new == (
        *NEW, "upscore2.weight", "score_pool2.weight", "score_pool2.bias", "upscore.weight",
    )  # fmt: skip
    assert start.unused == ()


def test_without_a_layer_of_the_body_it_is_another_network() -> None:
    state = classifier().state_dict()
    del state["conv2_1.bias"]
    with pytest.raises(CheckpointError, match=r"holds another network: conv2_1\.bias is missing"):
        find(put(state), body=None)


def test_a_classifier_of_smaller_images_has_another_dense_layer() -> None:
    small = build("vgg16", (3, 24, 24), CLASSES, **VGG)
    text = r"holds another network: fc4\.weight is 9x63 instead of 9x7x5x5"
    with pytest.raises(CheckpointError, match=text):
        find(put(small.state_dict()))
    assert find(put(small.state_dict()), field=3, padding=40).new == NEW


def test_a_layer_that_is_asked_for_must_be_there() -> None:
    state = classifier().state_dict()
    start = pretrained.find(
        put(state), spec("fcn32s", **FCN), num_classes=SCORES, shape=(3, 32, 32),
        outputs="outputs", layers=["conv1_1", "fc4"],
    )  # fmt: skip
    assert set(start.tensors) == {
        f"{n}.{k}" for n in ("conv1_1", "fc4") for k in ("weight", "bias")
    }
    with pytest.raises(CheckpointError, match=r"score_fr\.weight is missing"):
        pretrained.find(
            put(state), spec("fcn32s", **FCN, body=None), num_classes=SCORES, shape=(3, 32, 32),
            outputs="outputs", layers=["score_fr"],
        )  # fmt: skip


@pytest.fixture
def narrow(monkeypatch) -> dict[str, Tensor]:
    """torchvision's VGG-16, but for its size, and its state dict under torchvision's names."""
    import torchvision

    def create(_name: str, *, num_classes: int = 1000, batch: bool = False) -> nn.Module:
        layers: list[nn.Module] = []
        c_in = 3
        for words in STAGES:
            for word in words:
                c_out = int(word.partition("-")[2])
                layers.append(nn.Conv2d(c_in, c_out, 3, padding=1))
                layers += [nn.BatchNorm2d(c_out)] if batch else []
                layers.append(nn.ReLU())
                c_in = c_out
            layers.append(nn.MaxPool2d(2))
        net = torchvision.models.VGG(nn.Sequential(*layers), num_classes)
        net.classifier = nn.Sequential(
            nn.Linear(7 * FIELD * FIELD, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 8), nn.ReLU(),
            nn.Dropout(), nn.Linear(8, num_classes),
        )  # fmt: skip
        return net

    monkeypatch.setattr(
        "cnnctl.nets.library.create", lambda name, **how: create(name, batch="bn" in name, **how)
    )
    torch.manual_seed(2)
    return create("torchvision/vgg16", batch=False).state_dict()


def test_a_file_of_torchvisions_fills_the_body(narrow) -> None:
    start = find(put(narrow))
    assert start.new == NEW
    assert start.unused == ("classifier.6.weight", "classifier.6.bias")
    assert torch.equal(start.tensors["conv1_2.weight"], narrow["features.2.weight"])
    assert torch.equal(start.tensors["fc4.weight"].flatten(1), narrow["classifier.0.weight"])
    assert torch.equal(start.tensors["fc5.weight"][..., 0, 0], narrow["classifier.3.weight"])


def test_torchvisions_weights_of_the_classifier_come_from_the_cache(
    narrow, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(narrow, cache / "vgg16-397923af.pth")
    start = find("torchvision")
    assert start.source == "torchvision/vgg16 IMAGENET1K_V1"
    assert (start.new, len(start.tensors)) == (NEW, len(narrow) - 2)
    assert start.mean == (0.485, 0.456, 0.406)


def test_an_encoder_takes_the_convolutions_and_leaves_the_dense_layers() -> None:
    numbers: dict[str, Any] = {"stages": STAGES}
    torch.manual_seed(0)
    vgg = build("vgg16_bn", SIZE, CLASSES, **VGG)
    start = find(put(vgg.state_dict()), "segnet", **numbers)
    kept = [name for name in vgg.state_dict() if not name.startswith("fc")]
    assert list(start.tensors) == kept
    assert {name.partition(".")[0] for name in start.unused} == {"fc4", "fc5", "fc6"}
    assert all(name.partition(".")[0].removesuffix("_norm").endswith("_d") for name in start.new)


def test_a_fully_convolutional_net_starts_from_a_run_of_its_classifier(cnnctl) -> None:
    stages = "model.stages=[[conv3-4],[conv3-6],[conv3-7]]"
    words = (stages, "model.hidden=[9,8]", "data.size=40", "hardware=cpu", "progress=none")
    channels = ("data.channels=3", "data.mean=[0.3,0.3,0.3]", "data.std=[0.3,0.3,0.3]")
    few = ("data=digits", "trainer.max_steps=1", "--json")
    first = cnnctl("train", "model=vgg16", *channels, *words, *few)
    assert first.code == 0, first.err
    numbers = ("model.field=5", "model.padding=40", "pretrained=latest", "--dry-run", "--json")
    second = cnnctl("train", "model=fcn32s", *words, *numbers)
    assert second.code == 0, second.err
    told = second.document["result"]["pretrained"]
    assert told["source"].startswith(first.document["result"]["run"])
    assert told["new"] == list(NEW)
    assert told["unused"] == ["fc6.weight", "fc6.bias"]
    assert told["expects"] == ["data.mean=[0.3, 0.3, 0.3]", "data.std=[0.3, 0.3, 0.3]"]


def test_no_classifier_no_published_weights() -> None:
    with pytest.raises(CheckpointError, match=r"^fcn32s has no twin in torchvision"):
        find("torchvision", body=None)
    with pytest.raises(NetError, match="its weights do not fit"):
        find(put({"features.0.weight": torch.zeros(1)}))
    assert nets.FAMILIES["fcn"].TASK == "segment"
