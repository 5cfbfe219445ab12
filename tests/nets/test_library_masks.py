from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from zoo import build, count, on_meta, refused, spec

from cnnctl import nets, pretrained
from cnnctl.config import library as sections
from cnnctl.config import tasks
from cnnctl.errors import NetError
from cnnctl.nets import library_masks, stages, twins
from cnnctl.nets.library_masks import LibraryMasks
from cnnctl.pretrained import Start

NAMES = ["fcn_resnet50", "deeplabv3_resnet50", "torchvision/lraspp_mobilenet_v3_large"]
SHAPE = (3, 33, 40)


def made(name: str, classes: int = 21, channels: int = 3) -> LibraryMasks:
    """A net by the name of its file, or by torchvision's."""
    torch.manual_seed(0)
    if "/" not in name:
        net = build(name, (channels, 32, 32), classes)
    else:
        read, problems = nets.read_spec(sections.section(name))
        assert problems == []
        assert read is not None
        net = nets.build(read, num_classes=classes, shape=(channels, 32, 32))
    assert isinstance(net, LibraryMasks)
    return net


def theirs(name: str) -> nn.Module:
    torch.manual_seed(3)
    name, options = name.rpartition("/")[2], {}
    if not name.startswith("lraspp"):
        options = {"aux_loss": True}
    return torchvision.models.get_model(
        name, weights=None, weights_backbone=None, num_classes=21, **options
    )


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """The state dict of torchvision's FCN, as its file has it."""
    return theirs("fcn_resnet50").state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_with_torchvisions_tensors_it_gives_torchvisions_numbers(name) -> None:
    ours, other = made(name).eval(), theirs(name).eval()
    ours.load_state_dict(other.state_dict())
    images = torch.randn(2, *SHAPE)
    with torch.no_grad():
        assert torch.equal(ours(images), other(images)["out"])


@pytest.mark.parametrize("name", NAMES[:2])
def test_training_has_the_auxiliary_classifier_too(name) -> None:
    ours, other = made(name).train(), theirs(name).train()
    ours.load_state_dict(other.state_dict())
    images = torch.randn(2, *SHAPE)
    for net in (ours, other):
        for layer in net.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0
    main, aux = ours(images)
    wanted = other(images)
    assert torch.equal(main, wanted["out"])
    assert torch.equal(aux, wanted["aux"])
    masks = torch.randint(0, 21, (2, 1, *SHAPE[1:]), dtype=torch.uint8)
    parts = [ours.cross_entropy(one, masks) for one in (main, aux)]
    loss = ours.loss((main, aux), masks)
    torch.testing.assert_close(loss, parts[0] + 0.5 * parts[1])
    loss.backward()
    assert all(parameter.grad is not None for parameter in ours.parameters())


def test_a_net_without_an_auxiliary_classifier_gives_scores_alone() -> None:
    net = made(NAMES[2]).train()
    assert net(torch.randn(2, *SHAPE)).shape == (2, 21, *SHAPE[1:])


@pytest.mark.parametrize("name", NAMES[:2])
def test_parameters_are_those_that_torchvision_prints(name) -> None:
    printed = torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    assert count(on_meta(name)) == printed


def test_measuring_leaves_the_auxiliary_classifier_out() -> None:
    net = made("fcn_resnet50").eval()
    net.get_submodule("aux_classifier").register_forward_hook(lambda *_: pytest.fail("it worked"))
    with torch.no_grad():
        net(torch.randn(1, 3, 16, 16))


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 7), (4, 3)])
def test_classes_and_channels_are_those_of_the_data(channels, classes) -> None:
    with torch.device("meta"):
        net = build("fcn_resnet50", (channels, 32, 32), classes).eval()
    assert net(torch.empty(1, channels, 45, 64, device="meta")).shape == (1, classes, 45, 64)
    for head in ("classifier.4", "aux_classifier.4"):
        assert net.get_submodule(head).out_channels == classes


def test_one_pixel_is_an_image() -> None:
    net = on_meta("deeplabv3_resnet50", (3, 1, 1)).eval()
    assert net(torch.empty(1, 3, 1, 1, device="meta")).shape == (1, 21, 1, 1)


def test_the_names_are_torchvisions() -> None:
    known = torchvision.models.list_models(module=torchvision.models.segmentation)
    assert sorted(tasks.TORCHVISION) == sorted(known)


@pytest.mark.parametrize("name", tasks.TORCHVISION)
def test_every_net_is_there_under_its_own_name(name) -> None:
    keys = sections.section(f"torchvision/{name}")
    assert (keys["family"], keys["classes"], keys["input"]) == ("library_masks", 21, [3, 520, 520])
    assert tasks.of(keys) == "segment"
    read, problems = nets.read_spec(keys)
    assert problems == []
    assert read is not None
    with torch.device("meta"):
        net = nets.build(read, num_classes=4, shape=(3, 64, 64)).eval()
    assert net(torch.empty(1, 3, 64, 64, device="meta")).shape == (1, 4, 64, 64)
    printed = torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    with torch.device("meta"):
        assert count(library_masks.create(f"torchvision/{name}")) == printed


def test_the_names_of_the_tensors_are_torchvisions(published) -> None:
    assert twins.key_map(spec("fcn_resnet50")) == {name: name for name in published}


def test_the_classifier_that_gives_the_logits_is_the_last_layer() -> None:
    net = on_meta("fcn_resnet50")
    learners = stages.learners(net)
    assert learners[0] == "backbone.conv1"
    assert "backbone.layer4.2" in learners
    assert learners[-1] == "classifier.4"
    begin = stages.starts(net, (3, 64, 64), learners[:-1])
    assert begin == ["backbone.conv1", "backbone.layer1.0", "backbone.layer2.0"]


def find(reference: object, name: str = "fcn_resnet50", classes: int = 21) -> Start:
    return pretrained.find(
        str(reference), spec(name), num_classes=classes, shape=(3, 32, 32), outputs="outputs"
    )


def cached(state: dict[str, Tensor], folder: Path, name: str) -> None:
    (folder / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(state, folder / "hub" / "checkpoints" / name)


def test_torchvisions_weights_come_from_the_cache(published, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached(published, tmp_path, "fcn_resnet50_coco-1167a1af.pth")
    start = find("torchvision")
    assert start.source == "torchvision/fcn_resnet50 COCO_WITH_VOC_LABELS_V1"
    assert (start.new, start.unused, len(start.tensors)) == ((), (), len(published))
    assert (start.mean, start.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    net = made("fcn_resnet50").eval()
    pretrained.load(net, start)
    other = theirs("fcn_resnet50").eval()
    images = torch.randn(1, 3, 24, 32)
    with torch.no_grad():
        assert torch.equal(net(images), other(images)["out"])
    assert find("torchvision/COCO_WITH_VOC_LABELS_V1").tensors.keys() == start.tensors.keys()


def test_of_other_classes_both_heads_are_new(published) -> None:
    torch.save(published, "theirs.pth")
    start = find("theirs.pth", classes=4)
    assert start.new == (
        "aux_classifier.4.weight", "aux_classifier.4.bias", "classifier.4.weight",
        "classifier.4.bias",
    )  # fmt: skip
    assert len(start.tensors) == len(published) - 4
    net = made("fcn_resnet50", classes=4)
    pretrained.load(net, start)
    assert torch.equal(
        net.get_submodule("backbone.conv1").weight, published["backbone.conv1.weight"]
    )


def test_a_twin_that_is_none_is_refused() -> None:
    text = "model.twin must be a segmentation net of torchvision's, got"
    (problem,) = refused("fcn_resnet50", twin="torchvision/fcn_resnet5")
    assert problem == f"{text} torchvision/fcn_resnet5 (did you mean 'fcn_resnet50'?)"
    (problem,) = refused("fcn_resnet50", twin=None)
    assert problem.startswith(f"{text} None")
    with pytest.raises(NetError, match=r"^torchvision has no segmentation net 'resnet50'"):
        library_masks.create("torchvision/resnet50")


@pytest.mark.slow
def test_it_trains_on_shapes_by_its_name_alone(cnnctl) -> None:
    words = ("data.size=32", "trainer.max_steps=2", "progress=none", "--json")
    trained = cnnctl("train", "model=torchvision/lraspp_mobilenet_v3_large", *words)
    assert trained.code == 0, trained.err
    result = trained.document["result"]
    assert "torchvision-lraspp_mobilenet_v3_large_shapes" in result["run"]
    again = cnnctl("evaluate", "latest", "--json").document["result"]
    assert again["metrics"]["miou"] == result["test"]["miou"]


def test_shapes_go_with_it(cnnctl) -> None:
    shown = cnnctl("train", "model=torchvision/fcn_resnet50", "--dry-run", "--json")
    assert shown.code == 0, shown.err
    assert shown.document["result"]["data"] == "shapes"
