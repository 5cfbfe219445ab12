"""Which tensors of an ONNX file are weights, and files whose weights stand elsewhere."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graphs import audit, node, write

from cnnctl.audit import onnx_graph
from cnnctl.audit.onnx_store import Store
from cnnctl.errors import NetError


def apart(file, least: int = 0):
    """The file with the data of every tensor of `least` bytes in a file of its own."""
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location="data", size_threshold=least)
    return file


@pytest.fixture
def net(tmp_path):
    """Conv, Reshape, and a Gather of channels."""
    nodes = [
        node("Conv", "x W B", "a"), node("Gather", "a I", "b", axis=1), node("Reshape", "b S", "y"),
    ]  # fmt: skip
    tensors = {"W": (4, 3, 3, 3), "B": (4,), "I": [3, 1] * 20, "S": [0, -1]}
    return write(tmp_path / "net.onnx", nodes, tensors)


def test_weights_in_a_file_of_their_own_need_not_be_there(net, tmp_path) -> None:
    whole = audit(net)
    assert whole[:3] == ((1440,), 36 * 108, 112)
    apart(net, least=100)  # the two numbers of the Reshape are less
    (tmp_path / "data").unlink()
    assert audit(net)[:3] == whole[:3]


def test_numbers_in_a_file_of_their_own_are_read_from_it(net, tmp_path) -> None:
    apart(net)
    assert {
        tensor.data_location
        for tensor in onnx.load(net, load_external_data=False).graph.initializer
    } == {1}
    assert audit(net).output == (1440,)


def test_numbers_that_are_needed_and_not_there_are_told(net, tmp_path) -> None:
    apart(net)
    (tmp_path / "data").unlink()
    with pytest.raises(NetError) as caught:
        audit(net)
    text = (
        "node 'y' (Reshape) fails on 1x40x6x6, 2: its sizes are not known without running the net"
    )
    assert str(caught.value) == text


def stored(**tensors: np.ndarray) -> Store:
    store = Store(onnx, None)
    graph = onnx.GraphProto()
    graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in tensors.items()
    )
    store.add(graph)
    return store


@pytest.mark.parametrize(
    ("value", "weight"),
    [
        (np.ones((4, 3)), True),
        (np.ones(2, dtype=np.float16), True),
        (np.ones(1, dtype=np.float32), False),
        (np.float32(1), False),
        (np.ones((4, 3), dtype=np.int64), False),
        (np.ones((4, 3), dtype=bool), False),
        (np.ones((0, 3)), False),
    ],
)
def test_several_floats_are_weights(value, weight) -> None:
    assert stored(T=np.asarray(value)).is_weight("T") == weight


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (node("Conv", "x W B", "y"), {1: "weight", 2: "bias"}),
        (node("Conv", "x W one", "y"), {1: "weight", 2: "bias"}),
        (node("Gemm", "V W B", "y"), {0: "weight", 1: "weight_1", 2: "bias"}),
        (node("BatchNormalization", "x B B B B", "y"),
         {1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"}),
        (node("Add", "B x", "y"), {0: "bias"}),
        (node("Add", "x P", "y"), {1: "weight"}),
        (node("Mul", "x B", "y"), {1: "weight"}),
        (node("Mul", "x one", "y"), {}),
        (node("Resize", "x - B", "y"), {}),
        (node("Gather", "W I", "y"), {0: "weight"}),
        (node("Concat", "V W", "y", axis=0), {0: "weight", 1: "weight_1"}),
    ],
)  # fmt: skip
def test_weights_have_the_names_that_torch_gives_them(made, names) -> None:
    store = stored(
        W=np.ones((4, 3)), V=np.ones((4, 3)), B=np.ones(4), P=np.ones((1, 5, 4)),
        one=np.ones(1), I=np.array([1, 2]),
    )  # fmt: skip
    assert {place: name for place, (name, _) in store.weights(made).items()} == names


def test_a_name_of_a_name_is_the_same_tensor() -> None:
    store = stored(W=np.ones((4, 3)))
    store.alias("again", "W")
    weights = store.weights(node("Gemm", "W again", "y"))
    assert weights[0][1] is weights[1][1]
    assert store.names(["x", "again", "W"]) == ["W", "W"]
    assert "again" in store
    assert store.axes("again") == 2


def test_half_the_numbers_of_a_file_may_be_halves(tmp_path) -> None:
    half = np.ones((4, 3, 3, 3), dtype=np.float16)
    file = write(tmp_path / "net.onnx", [node("Conv", "x W", "y")], {"W": half})
    loaded = onnx_graph.load(file)
    assert {value.dtype.itemsize for value in loaded.parameters()} == {4}
    assert audit(file)[:3] == ((4, 6, 6), 36 * 108, 108)


def test_a_constant_of_text_is_no_tensor(tmp_path) -> None:
    nodes = [node("Constant", "", "k", value_string="text"), node("Relu", "x", "y")]
    with pytest.raises(NetError, match=r"does not know: Constant \(node 'k'\)$"):
        onnx_graph.load(write(tmp_path / "net.onnx", nodes))
