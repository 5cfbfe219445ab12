from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
import zoo
from torch import nn

from cnnctl import nets
from cnnctl.config import tasks
from cnnctl.errors import NetError, SmallImageError
from cnnctl.nets import sizes
from cnnctl.nets.dense import convolutionalize
from cnnctl.nets.net import Net
from cnnctl.nets.taps import Tap

CLASSES = 7
# smallest input on which a net's classifier is tried, and the map on 64 x 96 pixels more
SLIDING = {
    "lenet5": (1, (17, 25)), "neocognitron": (1, (65, 97)), "keras_cnn": (1, (17, 25)),
    "simple_cnn": (1, (5, 7)), "pattern": (1, (9, 13)), "cifar_fast": (1, (3, 5)),
    "vgg11": (1, (3, 4)), "vgg_a_lrn": (1, (3, 4)), "alexnet_tv": (1, (3, 4)),
    "alexnet": (1, (3, 4)), "zfnet": (1, (3, 4)), "googlenet": (7, (9, 10)),
    "resnet20": (8, (24, 32)), "plain20": (8, (24, 32)), "wrn40_4": (8, (24, 32)),
    "densenet_bc100_12": (8, (24, 32)), "nin_cifar": (8, (24, 32)), "mobilenet_v1": (7, (9, 10)),
    "mobilenet_v2": (7, (9, 10)), "efficientnet_b0": (7, (9, 10)), "shufflenet_v1": (7, (9, 10)),
    "shufflenet_v2_x0_5": (7, (9, 10)), "inception_v3": (8, (10, 11)), "xception": (10, (12, 13)),
}  # fmt: skip
CHEAP = ("lenet5", "neocognitron", "simple_cnn", "pattern", "cifar_fast", "resnet20", "nin_cifar")
REFUSED = "this net cannot slide over larger images: "


def alike(name: str, shape: tuple[int, int, int], **changes) -> tuple[Net, nn.Sequential]:
    torch.manual_seed(0)
    net = zoo.build(name, shape, CLASSES, **changes).eval()
    maps = convolutionalize(net, shape)
    images = torch.randn(2, *shape)
    with torch.no_grad():
        wanted, found = net(images), maps(images).mean((2, 3))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    return net, maps


def test_every_family_is_tried() -> None:
    tried = {zoo.spec(name).family for name in SLIDING}
    classifiers = {name for name in nets.FAMILIES if tasks.of({"family": name}) == "classify"}
    assert tried == classifiers - {"library", "lenet_1998", "mlp", "perceptron"}


@pytest.mark.parametrize("name", SLIDING)
def test_the_map_of_a_net_has_a_place_for_each_step_of_its_classifier(name: str) -> None:
    side, larger = SLIDING[name]
    net = zoo.on_meta(name, classes=CLASSES)
    maps = convolutionalize(net, zoo.spec(name).input)
    channels, height, width = zoo.spec(name).input
    assert sizes.walk(maps, (channels, height, width)) == (CLASSES, side, side)
    assert sizes.walk(maps, (channels, height + 64, width + 96)) == (CLASSES, *larger)
    assert all(one.is_meta for one in maps.parameters())


@pytest.mark.parametrize("name", CHEAP)
def test_on_the_size_that_a_net_was_built_for_the_mean_is_what_it_gives(name: str) -> None:
    alike(name, zoo.spec(name).input)


def test_a_vgg_of_two_stages_and_two_dense_layers() -> None:
    stages = [["conv3-4", "conv3-4"], ["conv3-8"]]
    net, maps = alike("vgg11", (3, 16, 24), stages=stages, hidden=[12, 10])
    assert list(dict(maps.named_children())) == [
        name for name, _ in net.named_children() if name != "flatten"
    ]  # fmt: skip
    kernels = [maps.get_submodule(name).weight.shape for name in ("fc3", "fc4", "fc5")]
    assert kernels == [(12, 8, 4, 6), (10, 12, 1, 1), (CLASSES, 10, 1, 1)]


def test_a_net_is_slid_as_a_window_would_be() -> None:
    """Without padding, each place of the map is the net on the part of the image it sees."""
    torch.manual_seed(0)
    net = zoo.build("lenet5", (1, 32, 32), CLASSES).eval()
    image = torch.randn(1, 1, 40, 36)
    with torch.no_grad():
        found = convolutionalize(net, (1, 32, 32))(image)
        assert found.shape == (1, CLASSES, 3, 2)
        for row in range(3):
            for column in range(2):
                part = image[:, :, 4 * row : 4 * row + 32, 4 * column : 4 * column + 32]
                torch.testing.assert_close(found[:, :, row, column], net(part))


def test_classifiers_of_training_are_left_out() -> None:
    net = zoo.on_meta("googlenet", classes=CLASSES, aux=0.3)
    taps = {name for name, layer in net.named_children() if isinstance(layer, Tap)}
    assert len(taps) == 2
    given = [name for name, _ in net.named_children()]
    names = [name for name, _ in convolutionalize(net, (3, 224, 224)).named_children()]
    assert names == [name for name in given if name not in {*taps, "avgpool", "flatten"}]


def test_a_last_convolution_with_a_map_per_class_needs_no_other_layer() -> None:
    net = zoo.on_meta("nin_cifar", classes=CLASSES)
    maps = convolutionalize(net, (3, 32, 32))
    given = [name for name, _ in net.named_children()]
    assert given[-2:] == ["avgpool", "flatten"]
    assert [name for name, _ in maps.named_children()] == given[:-2]


def test_the_weights_are_the_same_memory() -> None:
    net = zoo.build("lenet5", (1, 32, 32), CLASSES)
    net.get_submodule("f6").weight.requires_grad_(requires_grad=False)
    maps = convolutionalize(net, (1, 32, 32))
    for name in ("f6", "output"):
        dense, made = net.get_submodule(name), maps.get_submodule(name)
        assert made.weight.data_ptr() == dense.weight.data_ptr()
        assert made.bias is dense.bias
        assert made.weight.requires_grad == dense.weight.requires_grad
    assert maps.get_submodule("c1") is net.get_submodule("c1")
    assert zoo.count(maps) == zoo.count(net)


@pytest.mark.parametrize("training", [True, False])
def test_a_layer_is_in_training_as_it_was(*, training: bool) -> None:
    net = zoo.build("lenet5", (1, 32, 32), CLASSES).train(training)
    assert convolutionalize(net, (1, 32, 32)).get_submodule("f6").training is training


def test_a_smaller_image_than_the_classifier_sees_is_told_with_its_arithmetic() -> None:
    maps = convolutionalize(zoo.on_meta("vgg11", classes=CLASSES), (3, 224, 224))
    text = r"a 160x160 image is too small for layer 'fc6': \(5 − 7\)/1 \+ 1 = -1"
    with pytest.raises(SmallImageError, match=text):
        sizes.walk(maps, (3, 160, 160))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mlp", "it has no convolution, each of its weights belongs to one pixel"),
        ("perceptron", "it has no convolution, each of its weights belongs to one pixel"),
        ("lenet5_1998", "its layer 'output' (Rbf) is no dense layer"),
    ],
)
def test_a_net_that_cannot_slide_says_why(name: str, why: str) -> None:
    with pytest.raises(NetError) as caught:
        convolutionalize(zoo.on_meta(name, classes=CLASSES), zoo.spec(name).input)
    assert str(caught.value) == f"{REFUSED}{why} (crops=center or crops=ten)"


def test_lenet_of_1998_slides_with_a_dense_output() -> None:
    alike("lenet5_1998", (1, 32, 32), output="linear", rubbish=None)


def test_a_net_of_a_library_is_refused() -> None:
    model = {**zoo.numbers("resnet18"), "name": "torchvision/resnet18", "family": "library"}
    fields = nets.FAMILIES["library"].Spec.__dataclass_fields__
    spec, problems = nets.read_spec({key: model[key] for key in fields} | {"twin": None})
    assert problems == []
    assert spec is not None
    with torch.device("meta"):
        net = nets.build(spec, num_classes=CLASSES, shape=(3, 64, 64))
    with pytest.raises(NetError, match="its layers do not stand in a row"):
        convolutionalize(net, (3, 64, 64))


def test_what_bends_the_mean_behind_a_global_pool_is_refused() -> None:
    layers = {
        "conv": nn.Conv2d(1, 2, 3), "avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(),
        "f1": nn.Linear(2, 2), "f1_act": nn.ReLU(), "fc": nn.Linear(2, 2),
    }  # fmt: skip
    with pytest.raises(NetError, match=r"its layer 'f1_act' \(ReLU\) is no dense layer"):
        convolutionalize(Net(OrderedDict(layers), "torch"), (1, 9, 9))
