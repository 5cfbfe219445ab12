"""What is read from an ONNX file, and what is said about files that an audit cannot use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import audit, node, write
from onnx import TensorProto, helper

from cnnctl.audit import onnx_graph
from cnnctl.errors import CnnctlError, NetError, UsageError

CONV = node("Conv", "x W", "y")
WEIGHTS = {"W": (4, 3, 3, 3)}


def refused(file: Path) -> CnnctlError:
    with pytest.raises(CnnctlError) as caught:
        onnx_graph.load(file)
    assert "\n" not in str(caught.value)
    return caught.value


def value(name: str) -> Any:
    return helper.make_empty_tensor_value_info(name)


def changed(file: Path, change: Any) -> Path:
    """The file after change(model)."""
    model = onnx.load(file)
    change(model)
    file.write_bytes(model.SerializeToString())
    return file


@pytest.mark.parametrize(
    ("image", "sizes"),
    [
        ((1, 3, 8, 9), (3, 8, 9)),
        (("batch", 3, 8, 9), (3, 8, 9)),
        (("batch", 3, "height", "width"), (3, None, None)),
        ((1, "channels", 8, 0), (None, 8, None)),
    ],
)
def test_the_input_is_one_image_with_none_for_sizes_left_open(image, sizes, tmp_path) -> None:
    net = onnx_graph.load(write(tmp_path / "net.onnx", [CONV], WEIGHTS, image))
    assert net.input == sizes


def test_sizes_left_open_take_any_image(tmp_path) -> None:
    file = write(tmp_path / "net.onnx", [CONV], WEIGHTS, ("b", 3, "h", "w"))
    assert audit(file, (3, 8, 9)).output == (4, 6, 7)
    assert audit(file, (3, 32, 32)).macs == 30 * 30 * 4 * 27


def test_weights_listed_among_the_inputs_are_no_inputs(tmp_path) -> None:
    listed = helper.make_tensor_value_info("W", TensorProto.FLOAT, (4, 3, 3, 3))
    file = write(tmp_path / "net.onnx", [CONV], WEIGHTS)
    assert audit(changed(file, lambda model: model.graph.input.append(listed))).params == 108


def test_images_with_channels_last_are_given_with_channels_first(tmp_path) -> None:
    nodes = [
        node("Transpose", "x", "first", perm=[0, 3, 1, 2]), node("Conv", "first W", "c"),
        node("Transpose", "c", "y", perm=[0, 2, 3, 1]),
    ]  # fmt: skip
    file = write(tmp_path / "net.onnx", nodes, WEIGHTS, (1, 8, 9, 3))
    assert onnx_graph.load(file).input == (3, 8, 9)
    found = audit(file)
    assert found.output == (6, 7, 4)
    conv = found.rows[1]
    assert (conv.inputs, conv.macs) == ((3, 8, 9), 42 * 108)
    assert [axis.seen for axis in conv.field.axes] == [((0, 2),), ((0, 2),)]


@pytest.mark.parametrize("shape", [[8, 144], [8, -1], [-1, 144], [0, -1]])
def test_shapes_written_for_a_fixed_batch_are_read_for_one_image(shape, tmp_path) -> None:
    nodes = [CONV, node("Reshape", "y S", "flat"), node("Gemm", "flat D", "z")]
    tensors = WEIGHTS | {"S": shape, "D": (144, 10)}
    found = audit(write(tmp_path / "net.onnx", nodes, tensors, (8, 3, 8, 8), output="z"))
    assert found.output == (10,)
    assert found.macs == 36 * 108 + 1440


def test_the_same_for_a_token_that_is_repeated_for_every_image(tmp_path) -> None:
    nodes = [node("Expand", "T S", "token"), node("Concat", "token x", "y", axis=2)]
    tensors = {"T": (1, 3, 1, 8), "S": [8, 3, 1, 8]}
    found = audit(write(tmp_path / "net.onnx", nodes, tensors, (8, 3, 8, 8)))
    assert (found.output, found.params) == ((3, 9, 8), 24)


def test_what_is_computed_about_shapes_is_computed_with_numbers(tmp_path) -> None:
    nodes = [
        node("Shape", "x", "all"), node("Shape", "x", "height", start=2, end=3),
        node("Gather", "all I", "width"), node("Mul", "height width", "places"),
        node("Concat", "M places", "wanted", axis=0), node("Reshape", "x wanted", "y"),
    ]  # fmt: skip
    found = audit(
        write(tmp_path / "net.onnx", nodes, {"I": [3], "M": [0, 3]}, (1, 3, "h", "w")), (3, 5, 7)
    )
    assert found.output == (3, 35)
    assert found.names == ["y"]


def test_scales_beside_computed_sizes_are_numbers_and_no_weights(tmp_path) -> None:
    nodes = [
        node("Shape", "x", "sizes", start=2), node("Cast", "sizes", "floats", to=1),
        node("Mul", "floats F", "larger"), node("Floor", "larger", "floor"),
        node("Cast", "floor", "whole", to=7), node("Shape", "x", "front", end=2),
        node("Concat", "front whole", "wanted", axis=0), node("Resize", "x - - wanted", "y"),
    ]  # fmt: skip
    factors = np.array([2, 1.5], dtype=np.float32)
    found = audit(write(tmp_path / "net.onnx", nodes, {"F": factors}, (1, 3, 8, 7)))
    assert (found.output, found.params) == ((3, 16, 10), 0)


@pytest.mark.parametrize(("channels", "output"), [(1, (8, 8)), (2, (2, 8, 8))])
def test_an_if_about_shapes_takes_its_branch(channels, output, tmp_path) -> None:
    axis = [onnx.numpy_helper.from_array(np.array([1]), "A")]
    then = helper.make_graph([node("Squeeze", "c A", "t")], "then", [], [value("t")], axis)
    other = helper.make_graph([node("Identity", "c", "e")], "else", [], [value("e")])
    nodes = [
        node("Conv", "x W", "c"), node("Shape", "c", "sizes", start=1, end=2),
        node("Equal", "sizes O", "is_one"),
        node("If", "is_one", "y", then_branch=then, else_branch=other), node("Relu", "y", "z"),
    ]  # fmt: skip
    tensors = {"W": (channels, 3, 1, 1), "O": [1]}
    assert audit(write(tmp_path / "net.onnx", nodes, tensors, output="z")).output == output


def test_an_if_about_values_is_not_known(tmp_path) -> None:
    graph = helper.make_graph([], "none", [], [value("x")])
    choice = node("If", "x", "y", then_branch=graph, else_branch=graph)
    assert str(refused(write(tmp_path / "net.onnx", [choice]))).endswith("If (node 'y')")


@pytest.mark.parametrize(
    "held",
    [
        {"value": onnx.numpy_helper.from_array(np.array([1, 64]))}, {"value_ints": [1, 64]},
        {"value_floats": [1.0, 64.0]},
    ],
    ids=["tensor", "ints", "floats"],
)  # fmt: skip
def test_constants_are_read_from_whichever_attribute_holds_them(held, tmp_path) -> None:
    nodes = [node("Constant", "", "k", **held)]
    if "value_floats" in held:
        nodes += [node("Add", "k x", "y")]
        found = audit(write(tmp_path / "net.onnx", nodes, image=(1, 1, 2, 2)))
        assert (found.output, found.params) == ((1, 2, 2), 2)
    else:
        nodes += [node("Reshape", "x k", "y")]
        assert audit(write(tmp_path / "net.onnx", nodes, image=(1, 1, 8, 8))).output == (64,)


def test_a_single_number_is_no_weight(tmp_path) -> None:
    nodes = [node("Constant", "", "k", value_float=2.0), node("Mul", "k x", "y")]
    found = audit(write(tmp_path / "net.onnx", nodes))
    assert (found.output, found.params) == ((3, 8, 8), 0)


def test_functions_of_the_file_are_written_out(tmp_path) -> None:
    function = helper.make_function(
        "own", "Twice", ["a", "w"], ["b"],
        [node("Conv", "a w", "once"), node("Conv", "once w", "b")], [helper.make_opsetid("", 20)],
    )  # fmt: skip
    twice = node("Twice", "x W", "y", domain="own")
    found = audit(write(tmp_path / "net.onnx", [twice], {"W": (3, 3, 3, 3)}, functions=[function]))
    assert [row.type for row in found.rows] == ["Conv", "Conv"]
    assert (found.macs, found.params) == ((36 + 16) * 81, 81)


def test_operators_without_a_rule_are_told_together(tmp_path) -> None:
    nodes = [
        node("NonZero", "x", "a"), node("FusedConv", "x W", "b", domain="com.microsoft"),
        node("NonZero", "x", "c"), node("MaxPool", "x", "y at", kernel_shape=[2, 2]),
        node("MaxUnpool", "y at", "z", kernel_shape=[2, 2]),
    ]  # fmt: skip
    error = refused(write(tmp_path / "net.onnx", nodes, WEIGHTS, output="z"))
    assert isinstance(error, NetError)
    assert str(error) == (
        f"{tmp_path}/net.onnx: operators that an audit does not know: NonZero (node 'a'), "
        "FusedConv (node 'b'), MaxPool with 2 outputs (node 'y'), MaxUnpool (node 'z')"
    )


@pytest.mark.parametrize("content", [b"", b"no graph at all", b"\x08\x07", b"PK\x03\x04" * 9])
def test_a_file_of_another_kind_is_told(content, tmp_path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(content)
    error = refused(file)
    assert isinstance(error, NetError)
    assert str(error).startswith(f"{file} is no ONNX file")


def test_a_file_that_is_not_there_is_told(tmp_path) -> None:
    error = refused(tmp_path / "none.onnx")
    assert isinstance(error, UsageError)
    assert str(error) == f"cannot read {tmp_path}/none.onnx: No such file or directory"


def test_other_inputs_than_images_are_told(tmp_path) -> None:
    file = write(tmp_path / "net.onnx", [node("Relu", "x", "y")], image=("batch", 7))
    assert str(refused(file)) == f"{file} takes ?x7, not images (B, C, H, W)"
    second = helper.make_tensor_value_info("mask", TensorProto.FLOAT, (1, 8))
    changed(file, lambda model: model.graph.input.append(second))
    text = f"{file} has 2 inputs (x, mask); an audit gives one, the images"
    assert str(refused(file)) == text


def test_without_onnx_it_is_told_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    error = refused(tmp_path / "net.onnx")
    assert str(error) == "onnx is not installed (pip install 'cnnctl[onnx]')"
