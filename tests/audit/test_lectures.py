from __future__ import annotations

from fractions import Fraction

import pytest
import zoo

from cnnctl.audit import lectures
from cnnctl.audit.forward import forward
from cnnctl.errors import ConfigError


def test_a_net_is_built_and_walked_once() -> None:
    first = lectures.net("lenet5")
    assert lectures.net("lenet5") is first
    assert first.seen is first.seen
    assert lectures.net("lenet5", classes=11) is not first


def test_a_net_takes_no_memory() -> None:
    assert {value.device.type for value in lectures.net("vgg_d").net.parameters()} == {"meta"}


@pytest.mark.parametrize(("name", "changes"), [("vgg_a", {}), ("resnet18", {"shortcut": "A"})])
def test_a_reading_is_that_of_the_audit(name: str, changes: dict[str, str]) -> None:
    seen = forward(zoo.on_meta(name, **changes), (3, 224, 224))
    subject = lectures.net(name, **changes)
    assert subject.input == (3, 224, 224)
    assert lectures.macs(subject) == sum(seen.walk.macs.values())
    assert lectures.depth(subject) == seen.depth
    assert [row.name for row in subject.rows] == [row.name for row in seen.walk.rows]
    assert lectures.params(subject) == zoo.count(subject.net)


def test_numbers_of_a_net_can_be_changed() -> None:
    assert lectures.shape(lectures.net("simple_cnn", input=[3, 208, 208]), "pool4") == [13, 13, 128]
    assert lectures.layers(lectures.net("googlenet", aux=Fraction(3, 10)), "dense") == 5
    with pytest.raises(ConfigError, match=r"model.depths must be a list of whole numbers, got 5"):
        lectures.net("resnet18", depths=5)


def test_numbers_are_those_of_the_file_and_of_the_files_it_follows() -> None:
    found = lectures.numbers("vgg_a")
    assert found == zoo.numbers("vgg_a")
    assert (found["stages"][0], found["hidden"]) == (["conv3-64"], [4096, 4096])


@pytest.mark.parametrize(
    ("name", "layer", "shape", "values"),
    [
        ("vgg_d", "input", [224, 224, 3], 150_528), ("vgg_d", "conv1_1", [224, 224, 64], 3_211_264),
        ("vgg_d", "pool5", [7, 7, 512], 25_088), ("vgg_d", "fc6", [4096], 4096),
        ("lenet5_1998", "c3", [10, 10, 16], 1600), ("lenet5", "input", [32, 32, 1], 1024),
        ("resnet18", "conv1", [112, 112, 64], 802_816),
        ("resnet18", "conv2_x", [56, 56, 64], 200_704),
        ("resnet18", "conv5_x", [7, 7, 512], 25_088),
        ("resnet50", "conv4_x", [14, 14, 1024], 200_704),
        ("resnet18", "conv3_1.branch", [28, 28, 128], 100_352),
    ],
)  # fmt: skip
def test_shapes_are_height_width_channels(name: str, layer: str, shape, values: int) -> None:
    assert lectures.shape(lectures.net(name), layer) == shape
    assert lectures.values(lectures.net(name), layer) == values


@pytest.mark.parametrize("read", [lectures.shape, lectures.params, lectures.channels_in])
@pytest.mark.parametrize("layer", ["conv9_1", "conv1", "conv", "conv1_", "fc6x"])
def test_an_unknown_layer_is_no_zero(read, layer: str) -> None:
    with pytest.raises(LookupError, match=f"no layer '{layer}'"):
        read(lectures.net("vgg_d"), layer)


@pytest.mark.parametrize(
    ("name", "layer", "params", "weights"),
    [
        ("vgg_d", "", 138_357_544, 138_344_128), ("vgg_d", "input", 0, 0), ("vgg_d", "pool1", 0, 0),
        ("vgg_d", "conv1_1", 1792, 1728), ("vgg_d", "fc8", 4_097_000, 4_096_000),
        ("lenet5_1998", "s2", 12, 6), ("lenet5_1998", "c3", 1516, 1500),
        ("resnet18", "conv2_1", 73_984, 73_856), ("resnet18", "conv1", 9408, 9408),
    ],
)  # fmt: skip
def test_parameters_of_a_layer_or_block(name: str, layer: str, params: int, weights: int) -> None:
    assert lectures.params(lectures.net(name), layer) == params
    assert lectures.weights(lectures.net(name), layer) == weights


def test_parameters_of_a_kind_add_up_where_there_is_no_other() -> None:
    net = lectures.net("vgg_d")
    kinds = [lectures.params(net, kind=kind) for kind in ("conv", "dense")]
    assert kinds == [14_714_688, 123_642_856]
    assert sum(kinds) == lectures.params(net)
    assert lectures.weights(net, kind="conv") == kinds[0] - 4224
    assert lectures.params(net, "fc6", "conv") == 0


@pytest.mark.parametrize(
    ("name", "conv", "dense", "depth", "convolutions"),
    [
        ("vgg_d", 13, 3, 16, 13), ("alexnet", 5, 3, 8, 5), ("googlenet", 57, 1, 22, 57),
        ("resnet18", 20, 1, 18, 17), ("resnet50", 53, 1, 50, 49), ("plain18", 17, 1, 18, 17),
        ("xception", 74, 1, 71, 36),
    ],
)  # fmt: skip
def test_layers_are_counted_all_or_as_papers_do(
    name: str, conv: int, dense: int, depth: int, convolutions: int
) -> None:
    net = lectures.net(name)
    assert (lectures.layers(net, "conv"), lectures.layers(net, "dense")) == (conv, dense)
    assert (lectures.depth(net), lectures.convolutions(net)) == (depth, convolutions)


def test_activations_are_the_rows_of_the_lectures_table() -> None:
    net = lectures.net("vgg_d")
    assert lectures.activation_values(net) == 15_237_608
    assert lectures.relu_values(net) == 13_547_520 + 2 * 4096
    assert lectures.activation_values(lectures.net("lenet5")) == (
        1024 + 4704 + 1176 + 1600 + 400 + 120 + 84 + 10
    )


def test_kernels_and_groups() -> None:
    assert lectures.filter_sizes(lectures.net("vgg_c")) == [1, 3]
    assert lectures.filter_sizes(lectures.net("alexnet")) == [3, 5, 11]
    bottleneck = lectures.net("resnet50")
    assert [lectures.convs_of_size(bottleneck, "conv3_2", side) for side in (1, 3, 5)] == [2, 1, 0]
    assert [lectures.groups(lectures.net("alexnet"), f"conv{n}") for n in (1, 2, 3)] == [1, 2, 1]
    assert lectures.groups(lectures.net("alexnet"), "fc6") == 1


def test_the_u_net_of_figure_1() -> None:
    net = lectures.net("unet")
    sides = {row.name: row.output[1] for row in net.rows}
    down = [(f"down{level}_2", f"pool{level}") for level in (1, 2, 3, 4)]
    assert [(sides[a], sides[b]) for a, b in down] == [(568, 284), (280, 140), (136, 68), (64, 32)]
    assert sides["down5_2"] == 28
    up = [(f"up{level}", f"up{level}_2") for level in (4, 3, 2, 1)]
    assert [(sides[a], sides[b]) for a, b in up] == [(56, 52), (104, 100), (200, 196), (392, 388)]
    assert lectures.shape(net, "input") == [572, 572, 1]
    assert lectures.shape(net, "final") == [388, 388, 2]


def test_maps_of_the_way_down_join_those_that_come_up() -> None:
    net = lectures.net("unet")
    widths = [lectures.channels_in(net, f"up{level}_1") for level in (4, 3, 2, 1)]
    assert widths == [1024, 512, 256, 128]
    assert [lectures.channels_in(net, f"up{level}") for level in (4, 1)] == [1024, 128]
    assert [lectures.channels_in(net, name) for name in ("down1_1", "down5_1", "final")] == [
        1,
        512,
        64,
    ]
    joins, activations = 4, 18
    assert len(net.rows) == 10 + 4 + 4 * 3 + 1 + joins + activations + 1  # and dropout


def test_the_stride_is_the_distance_of_neighbours_in_pixels() -> None:
    net = lectures.net("fcn32s")
    assert [lectures.stride(net, f"pool{n}") for n in (1, 2, 3, 4, 5)] == [2, 4, 8, 16, 32]
    assert lectures.stride(net, "score_fr") == 32
    assert lectures.stride(lectures.net("unet"), "up4") == 8
    with pytest.raises(LookupError, match="no place in the image for 'fc'"):
        lectures.stride(lectures.net("resnet18"), "fc")


def test_accuracies_are_those_of_torchvisions_first_weights() -> None:
    assert lectures.torchvision_top1("resnet152") == Fraction("78.312")
    assert lectures.torchvision_top1("vgg16") == Fraction("71.592")


def test_a_function_is_called_by_its_own_name() -> None:
    assert all(function.__name__ == name for name, function in lectures.FUNCTIONS.items())
    assert all(function.__doc__ for function in lectures.FUNCTIONS.values())
