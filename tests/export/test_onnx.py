from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from exports import net, pixels, program
from torch import Tensor, nn

from cnnctl import manifest
from cnnctl.errors import NetError, UsageError
from cnnctl.export import onnx as writer
from cnnctl.export.silence import quiet


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "lenet5.onnx"
    with quiet():
        writer.write(*program(), file)
    return file


def test_onnxruntime_gives_what_torch_gives(file: Path) -> None:
    session = onnxruntime.InferenceSession(file)
    made, _ = program()
    for count, height, width in ((1, 32, 32), (3, 32, 32), (32, 20, 50)):
        given = pixels(count, 1, height, width)
        (found,) = session.run(None, {"images": given.numpy()})
        assert np.abs(found - made(given).numpy()).max() < 1e-6


def test_names_types_and_shapes_are_those_of_the_manifest(file: Path) -> None:
    session = onnxruntime.InferenceSession(file)
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type) == ("images", "tensor(uint8)")
    assert given.shape == ["batch", 1, "height", "width"]
    assert (found.name, found.type, found.shape) == (
        "probabilities", "tensor(float)", ["batch", 10],
    )  # fmt: skip


def test_the_file_says_what_it_is_to_us_and_to_others(file: Path) -> None:
    _, about = program()
    assert manifest.read(file) == about
    said = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert json.loads(said["names"]) == {str(number): str(number) for number in range(10)}
    assert json.loads(said["input"])["type"] == "uint8"
    assert said["model"] == "lenet5"
    assert said["weights_sha256"] == about.weights_sha256


def test_layers_keep_their_names_and_folders_stay_private(file: Path) -> None:
    held = file.read_bytes()
    assert b"pkg.torch.onnx.name_scopes" in held
    assert str(Path(torch.__file__).parent).encode() not in held
    assert str(Path(writer.__file__).parent).encode() not in held


def test_one_image_alone_and_no_softmax(tmp_path: Path) -> None:
    file = tmp_path / "one.onnx"
    made, about = program(include=(), dynamic_batch=False)
    writer.write(made, about, file)
    session = onnxruntime.InferenceSession(file)
    assert session.get_inputs()[0].shape == [1, 1, 32, 32]
    assert session.get_outputs()[0].name == "logits"
    given = torch.randn(1, 1, 32, 32)
    (found,) = session.run(None, {"images": given.numpy()})
    assert np.abs(found - made(given).numpy()).max() < 1e-5


def test_half_weights_take_half_the_room(tmp_path: Path) -> None:
    sizes = []
    for precision in ("fp32", "fp16"):
        file = tmp_path / f"{precision}.onnx"
        writer.write(*program(include=(), precision=precision), file)
        sizes.append(file.stat().st_size)
    assert sizes[1] < 0.6 * sizes[0]


def test_a_net_alone_takes_any_number_of_images_and_gives_logits() -> None:
    made = net("lenet5")
    session = onnxruntime.InferenceSession(writer.of_net(made, (1, 32, 32), torch.device("cpu")))
    assert session.get_inputs()[0].shape[1:] == [1, 32, 32]
    name = session.get_inputs()[0].name
    for count in (1, 2, 5):
        images = torch.randn(count, 1, 32, 32)
        (found,) = session.run(None, {name: images.numpy()})
        with torch.no_grad():
            assert np.abs(found - made(images).numpy()).max() < 1e-5


def test_a_net_that_onnx_cannot_hold_says_so() -> None:
    class Odd(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images if images.sum() > 0 else -images

    with pytest.raises(NetError, match="the net does not go into ONNX: "):
        writer.of_net(Odd(), (1, 4, 4), torch.device("cpu"))


def test_without_the_exporter_a_net_alone_is_not_written(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UsageError, match="onnx is not installed"):
        writer.of_net(nn.ReLU(), (1, 4, 4), torch.device("cpu"))
