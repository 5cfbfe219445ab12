from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from exports import cpu, manifest, net, pixels

from cnnctl import manifest as manifests
from cnnctl.data.prepare import Prepare
from cnnctl.data.source import Source, Stored
from cnnctl.export import onnx as writer
from cnnctl.export import quantize
from cnnctl.export.program import Program
from cnnctl.export.shown import Shown, choose


def images(count: int = 40) -> Shown:
    values = pixels(count, 3, 32, 32)
    labels = torch.zeros(count, dtype=torch.int64).numpy()
    return choose(Source(tuple("ab"), {"train": Stored(values, labels)}), "train", count, 32)


def quantized(folder: Path, include: tuple[str, ...], *, dynamic: bool = True) -> tuple[Path, Path]:
    """resnet20 in float32 and in integers."""
    train, _ = cpu("model=resnet20", "data=fake", "data.size=32")
    about = manifest("resnet20", include=include, quantize="int8", dynamic_batch=dynamic)
    plain, file = folder / "plain.onnx", folder / "resnet20.onnx"
    writer.write(Program(net("resnet20"), about), about, plain)
    quantize.integers(plain, file, about, images(), Prepare(train, 10))
    return plain, file


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return quantized(tmp_path_factory.mktemp("int8"), ("preprocess", "softmax"))


def test_weights_are_integers_with_a_scale_for_each_channel(whole: tuple[Path, Path]) -> None:
    graph = onnx.load(whole[1]).graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    made_by = {name: node for node in graph.node for name in node.output}
    assert len(convolutions) == 19
    for node in convolutions:
        back = made_by[node.input[1]]
        assert back.op_type == "DequantizeLinear"
        weight, scale = held[back.input[0]], held[back.input[1]]
        assert weight.data_type == onnx.TensorProto.INT8
        assert list(scale.dims) == [weight.dims[0]]
        values = onnx.numpy_helper.to_array(weight)
        assert abs(values.astype(int)).max() <= 64


def test_resizing_stays_exact(whole: tuple[Path, Path]) -> None:
    graph = onnx.load(whole[1]).graph
    made_by = {name: node for node in graph.node for name in node.output}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    assert len(products) == 2
    for node in products:
        kinds = {made_by[name].op_type for name in node.input if name in made_by}
        assert "DequantizeLinear" not in kinds


def test_answers_are_near_and_the_file_is_smaller(whole: tuple[Path, Path]) -> None:
    given = pixels(32, 3, 40, 50).numpy()
    first, second = (
        onnxruntime.InferenceSession(file).run(None, {"images": given})[0] for file in whole
    )
    assert 0 < abs(first - second).mean() < 0.02  # of random weights; trained ones lose less
    assert (first.argmax(1) == second.argmax(1)).mean() > 0.8
    assert whole[1].stat().st_size < 0.6 * whole[0].stat().st_size


def test_it_says_what_it_is_and_leaves_no_other_file(whole: tuple[Path, Path]) -> None:
    found = manifests.read(whole[1])
    assert found is not None
    assert found.quantize == "int8"
    assert {file.name for file in whole[1].parent.iterdir()} == {"plain.onnx", "resnet20.onnx"}


def test_one_image_at_a_time_without_preprocessing(tmp_path: Path) -> None:
    _, file = quantized(tmp_path, (), dynamic=False)
    session = onnxruntime.InferenceSession(file)
    assert session.get_inputs()[0].shape == [1, 3, 32, 32]
    (found,) = session.run(None, {"images": torch.randn(1, 3, 32, 32).numpy()})
    assert found.shape == (1, 10)
