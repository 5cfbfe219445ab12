from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from stubs import device

from cnnctl.commands import Call, case_files, cases
from cnnctl.commands.asked import asked
from cnnctl.commands.cases import Subject
from cnnctl.config import compose
from cnnctl.config.verbs import Bench
from cnnctl.errors import UsageError

CALL = Call("bench", (), (), {})
USUAL: dict[str, Any] = {
    "checkpoint": "best", "input": None, "batch": (1, 2), "engines": None, "device": "cpu",
    "precision": "32-true", "threads": None, "seconds": 0.01,
}  # fmt: skip
CPU = device(1)
RELU = [graphs.node("Relu", "x", "y")]
CONV = [graphs.node("Conv", "x w", "y")]
WEIGHT = {"w": (2, 3, 3, 3)}


def foreign(nodes: Any, image: tuple[Any, ...], tensors: Any = None, **changes: Any) -> Subject:
    file = graphs.write(Path("net.onnx"), nodes, tensors, image=image)
    return case_files.foreign(file, Bench(**USUAL | changes), CPU)


def refused(nodes: Any, image: tuple[Any, ...], **changes: Any) -> str:
    with pytest.raises(UsageError) as caught:
        foreign(nodes, image, **changes)
    return str(caught.value)


def test_a_file_says_what_it_takes_and_an_audit_what_it_costs() -> None:
    found = foreign(CONV, ("n", 3, 8, 8), WEIGHT)
    assert found.about == {
        "name": "net.onnx", "params": 54, "macs": 54 * 36, "input": [3, 8, 8],
        "takes": "float32", "channels_last": False, "not_counted": None,
    }  # fmt: skip
    assert found.batch is None
    assert list(found.case.makers) == ["onnxruntime"]
    assert found.case.absent == dict.fromkeys(("eager", "compiled"), case_files.OTHER)
    images = torch.randn(2, 3, 8, 8)
    assert found.case.makers["onnxruntime"]()(images)().shape == (2, 2, 6, 6)


def test_a_file_may_take_one_number_of_images_alone() -> None:
    assert foreign(RELU, (4, 3, 8, 8)).batch == 4


def test_what_a_file_leaves_open_is_given() -> None:
    assert foreign(RELU, ("n", 3, "h", "w"), input="3x20x30").case.shape == (3, 20, 30)
    assert refused(RELU, ("n", 3, "h", "w")) == (
        "net.onnx does not say how large its images are: 3x?x? (input=3x224x224)"
    )
    assert refused(RELU, ("n", 3, 8, "w"), input="3x9x9") == (
        "input=3x9x9 does not fit net.onnx, which takes 3x8x?"
    )


def test_images_may_lie_pixel_by_pixel() -> None:
    nodes = [graphs.node("Transpose", "x", "t", perm=[0, 3, 1, 2]), graphs.node("Conv", "t w", "y")]
    found = foreign(nodes, ("n", 8, 9, 3), WEIGHT)
    assert found.about["input"] == [3, 8, 9]
    assert found.about["channels_last"] is True
    assert found.case.shape == (8, 9, 3)
    assert found.case.macs == 54 * 6 * 7
    assert found.case.makers["onnxruntime"]()(torch.randn(1, 8, 9, 3))().shape == (1, 2, 6, 7)


def test_operators_without_a_rule_are_run_and_not_counted() -> None:
    found = foreign([graphs.node("Det", "x", "y")], ("n", 3, 8, 8))
    assert found.about["params"] is found.about["macs"] is found.case.macs is None
    assert "operators that an audit does not know: Det" in found.about["not_counted"]
    assert found.case.makers["onnxruntime"]()(torch.randn(2, 3, 8, 8))().shape == (2, 3)


def test_torch_and_other_formats_are_not_for_a_file() -> None:
    assert refused(RELU, ("n", 3, 8, 8), engines=("eager",)) == (
        "engines=eager does not run net.onnx: torch does not run ONNX files (engines=onnxruntime)"
    )
    assert refused(RELU, ("n", 3, 8, 8), precision="bf16-true") == (
        "precision=bf16-true has no effect on net.onnx: a file has its own (leave it out)"
    )


def written(kind: int, sizes: tuple[Any, ...], inputs: tuple[str, ...] = ("x",)) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g",
        [helper.make_tensor_value_info(name, kind, sizes) for name in inputs],
        [helper.make_tensor_value_info("y", kind, None)],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    Path("net.onnx").write_bytes(made.SerializeToString())
    return Path("net.onnx")


@pytest.mark.parametrize(
    ("kind", "word"),
    [(TensorProto.FLOAT16, "float16"), (TensorProto.DOUBLE, "float64"),
     (TensorProto.UINT8, "uint8")],
)  # fmt: skip
def test_the_numbers_are_those_that_the_file_takes(kind, word) -> None:
    found = case_files.foreign(written(kind, ("n", 3, 4, 4)), Bench(**USUAL), CPU)
    assert found.about["takes"] == word
    images = torch.from_numpy(np.zeros((2, 3, 4, 4), dtype=word))
    assert found.case.makers["onnxruntime"]()(images)().dtype is found.case.type


@pytest.mark.parametrize(
    ("kind", "sizes", "inputs", "text"),
    [(TensorProto.FLOAT, ("n", 5), ("x",), "net.onnx takes ?x5, not images (B, C, H, W)"),
     (TensorProto.FLOAT, ("n", 3, 4, 4), ("x", "z"),
      "net.onnx has 2 inputs (x, z); bench gives one, the images"),
     (TensorProto.INT64, ("n", 3, 4, 4), ("x",),
      "net.onnx takes int64; bench gives one of float, float16, double, uint8")],
)  # fmt: skip
def test_other_inputs_are_refused(kind, sizes, inputs, text) -> None:
    with pytest.raises(UsageError) as caught:
        case_files.foreign(written(kind, sizes, inputs), Bench(**USUAL), CPU)
    assert str(caught.value) == text


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> dict[str, Path]:
    """A run of one epoch, as ONNX from bytes on and as torchscript."""
    from cnnctl.cli import main

    folder = tmp_path_factory.mktemp("trained")
    words = ("trainer.max_epochs=1", f"outputs={folder}", "progress=none", "--json")
    assert main(["train", *words]) == 0
    (run,) = (folder / "train").iterdir()
    found = {}
    for form, more in (("onnx", ()), ("torchscript", ("dynamic_batch=false",))):
        to = folder / form
        assert main(["export", str(run), f"format={form}", f"output={to}", *more, "--json"]) == 0
        (found[form],) = to.glob(f"*.{form}")
    return found


def ours(file: Path, **changes: Any) -> Subject:
    bench = Bench(**USUAL | changes)
    with compose.opened():
        target = cases.settle(str(file), bench, asked(CALL, Bench), ())
    assert target.file == file
    return cases.subject(target, bench, CPU)


def test_an_export_of_ours_says_what_it_is(exports) -> None:
    found = ours(exports["onnx"])
    assert found.about == {
        "name": str(exports["onnx"]), "params": 61_706, "macs": 416_520, "input": [1, 32, 32],
        "takes": "uint8", "channels_last": False,
    }  # fmt: skip
    assert (list(found.case.makers), found.batch) == (["onnxruntime"], None)
    images = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    assert found.case.makers["onnxruntime"]()(images)().shape == (2, 10)


def test_a_program_is_run_by_torch(exports) -> None:
    found = ours(exports["torchscript"])
    assert (list(found.case.makers), found.batch) == (["eager"], 1)
    assert found.about["takes"] == "float32"
    assert found.case.absent == dict.fromkeys(("compiled", "onnxruntime"), case_files.PROGRAM)
    assert found.case.weight_bytes == 4 * 61_706
    assert found.case.makers["eager"]()(torch.zeros(1, 1, 32, 32))().shape == (1, 10)


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"precision": "bf16-true"}, "precision=bf16-true has no effect on "),
     ({"input": "1x28x28"}, "input=1x28x28 has no effect on "),
     ({"engines": ("eager",)}, "engines=eager does not run ")],
)  # fmt: skip
def test_an_export_cannot_be_changed(exports, changes, text) -> None:
    with pytest.raises(UsageError, match=text):
        ours(exports["onnx"], **changes)
