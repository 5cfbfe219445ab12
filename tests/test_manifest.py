from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from cnnctl import manifest
from cnnctl.errors import CheckpointError
from cnnctl.manifest import Manifest

ONE = Manifest(
    format="onnx", model="lenet5", include=("preprocess", "softmax"), dynamic_batch=True,
    precision="fp32", quantize=None, classes=("ant", "bee", "数"), channels=3, size=32,
    mean=(0.5, 0.25, 0.125), std=(0.5, 0.5, 0.5), own_loss=False, run="outputs/train/x",
    checkpoint="outputs/train/x/checkpoints/best.ckpt", weights_sha256="0" * 64,
    versions={"torch": "2.15"}, config={"model": {"name": "lenet5", "depths": [1, 2]}, "seed": 0},
)  # fmt: skip


def kept(suffix: str, text: str | None = None) -> Path:
    """A file of one format that has `text` where exports have it; without, one of others."""
    file = Path(f"net{suffix}")
    if suffix == ".onnx":
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        same = helper.make_node("Identity", ["x"], ["y"])
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        proto = helper.make_model(helper.make_graph([same], "net", [value], [out]))
        if text is not None:
            helper.set_model_props(proto, {"other": "no", manifest.ENTRY: text})
        onnx.save(proto, str(file))
    elif suffix == ".safetensors":
        save_file({"a": np.zeros(3)}, file, None if text is None else {manifest.ENTRY: text})
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("net/version", "3")
            if text is not None:
                archive.writestr(f"net/extra/{manifest.ENTRY}", text)
    return file


def refused(file: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        manifest.read(file)
    return str(caught.value)


@pytest.mark.parametrize("suffix", manifest.SUFFIXES)
def test_what_a_file_says_is_what_was_said(suffix: str) -> None:
    one = dataclasses.replace(ONE, format=manifest.SUFFIXES[suffix])
    assert manifest.read(kept(suffix, one.text())) == one
    assert manifest.kind(Path(f"net{suffix}")) == one.format


@pytest.mark.parametrize("suffix", manifest.SUFFIXES)
def test_a_file_of_somebody_else_says_nothing(suffix: str) -> None:
    assert manifest.read(kept(suffix)) is None


def test_other_endings_are_of_no_format() -> None:
    for name in ("net", "net.pth", "net.ckpt", "net.pt", "onnx"):
        assert manifest.kind(Path(name)) is None


def test_the_document_has_every_field_and_is_json() -> None:
    document = json.loads(ONE.text())
    names = [field.name for field in dataclasses.fields(Manifest)]
    assert list(document) == ["schema", "input", "output", *names]
    assert document["schema"] == manifest.SCHEMA
    assert document["classes"] == ["ant", "bee", "数"]
    assert "数" in ONE.text()


@pytest.mark.parametrize(
    ("changes", "takes", "gives"),
    [
        (
            {},
            ("uint8", ["batch", 3, "height", "width"], "RGB bytes of any size"),
            ("probabilities", ["batch", 3]),
        ),
        (
            {"include": (), "dynamic_batch": False},
            ("float32", [1, 3, 32, 32], "(byte / 255 − mean) / std"),
            ("logits", [1, 3]),
        ),
        (
            {"include": ("preprocess",), "channels": 1},
            ("uint8", ["batch", 1, "height", "width"], "grey bytes of any size"),
            ("logits", ["batch", 3]),
        ),
        (
            {"include": ("softmax",)},
            ("float32", ["batch", 3, 32, 32], "(byte / 255 − mean) / std"),
            ("probabilities", ["batch", 3]),
        ),
        (
            {"include": ("preprocess",), "config": {"model": {"family": "autoencoder"}}},
            ("uint8", ["batch", 3, "height", "width"], "RGB bytes of any size"),
            ("intensities", ["batch", 3, 32, 32]),
        ),
        (
            {"include": (), "dynamic_batch": False, "config": {"model": {"family": "autoencoder"}}},
            ("float32", [1, 3, 32, 32], "(byte / 255 − mean) / std"),
            ("values", [1, 3, 32, 32]),
        ),
    ],
)
def test_the_contract_of_input_and_output(
    changes: dict[str, Any], takes: tuple[Any, ...], gives: tuple[Any, ...]
) -> None:
    one = dataclasses.replace(ONE, **changes)
    kind, shape, about = takes
    assert (one.takes["type"], one.takes["shape"]) == (kind, shape)
    assert one.takes["about"].startswith(about)
    assert (one.gives["name"], one.gives["shape"], one.gives["type"]) == (*gives, "float32")
    assert (one.document()["input"], one.document()["output"]) == (one.takes, one.gives)


@pytest.mark.parametrize("schema", [0, 2, None, "1"])
def test_another_version_is_refused(schema: object) -> None:
    file = kept(".onnx", json.dumps({**ONE.document(), "schema": schema}))
    text = f"net.onnx has a manifest of schema {schema}, this cnnctl reads 1 (export it anew)"
    assert refused(file) == text


OLD = [field.name for field in dataclasses.fields(Manifest) if field.name not in manifest.SINCE]


@pytest.mark.parametrize("name", OLD)
def test_a_missing_field_is_named(name: str) -> None:
    document = {key: value for key, value in ONE.document().items() if key != name}
    file = kept(".safetensors", json.dumps(document))
    text = f"net.safetensors cannot be read: its manifest has no '{name}' (export it anew)"
    assert refused(file) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [("classes", "abc"), ("classes", None), ("size", "32"), ("config", []), ("quantize", 8),
     ("dynamic_batch", "yes"), ("versions", "2"), ("mean", 0.5), ("model", None)],
)  # fmt: skip
def test_a_field_of_another_kind_is_named(name: str, value: object) -> None:
    file = kept(".safetensors", json.dumps({**ONE.document(), name: value}))
    assert f"cannot be read: {name} is not of the kind" in refused(file)


@pytest.mark.parametrize("text", ["", "no json", "[]", "null", "3", '{"schema": 1'])
@pytest.mark.parametrize("suffix", manifest.SUFFIXES)
def test_a_manifest_that_is_none_is_refused(suffix: str, text: str) -> None:
    message = refused(kept(suffix, text))
    assert message.startswith(f"net{suffix} cannot be read: ")
    assert message.endswith(" (export it anew)")
    assert "\n" not in message


@pytest.mark.parametrize("suffix", manifest.SUFFIXES)
def test_a_damaged_file_is_refused_in_one_line(suffix: str) -> None:
    file = kept(suffix, ONE.text())
    whole = file.read_bytes()
    for damaged in (b"just text, no net", whole[: len(whole) // 2], b"\xff" * 200):
        file.write_bytes(damaged)
        message = refused(file)
        assert message.startswith(f"net{suffix} cannot be read: ")
        assert "\n" not in message


@pytest.mark.parametrize("suffix", manifest.SUFFIXES)
def test_a_file_that_is_not_there_is_named(suffix: str) -> None:
    assert refused(Path(f"gone{suffix}")) == f"no file gone{suffix}"


def test_without_onnx_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    file = kept(".onnx", ONE.text())
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert refused(file) == "ONNX files need more: pip install 'cnnctl[onnx]'"


def test_the_hash_is_that_of_the_bytes() -> None:
    Path("a").write_bytes(b"net" * 1000)
    assert manifest.sha256(Path("a")) == hashlib.sha256(b"net" * 1000).hexdigest()


def test_reading_imports_no_torch() -> None:
    files = [str(kept(suffix, ONE.text())) for suffix in manifest.SUFFIXES]
    code = (
        "import sys; from pathlib import Path; from cnnctl import manifest\n"
        "for name in sys.argv[1:]: assert manifest.read(Path(name)).model == 'lenet5'\n"
        "print(*{'torch', 'hydra', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *files], capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"


def test_an_ending_in_capitals_is_the_same() -> None:
    assert manifest.kind(Path("NET.ONNX")) == "onnx"
    assert manifest.kind(Path("net.pth")) is None


def test_an_empty_file_is_empty(tmp_path) -> None:
    for name in manifest.SUFFIXES:
        file = tmp_path / f"net{name}"
        file.touch()
        with pytest.raises(CheckpointError, match=rf"net\{name} is empty"):
            manifest.read(file)


def test_torchscript_under_its_usual_name_is_known_by_what_is_in_it(tmp_path) -> None:
    file = tmp_path / "net.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/constants.pkl", b"")
        archive.writestr("net/extra/cnnctl", ONE.text())
    assert manifest.kind(file) == "torchscript"
    assert manifest.read(file) == ONE
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/data.pkl", b"")
    assert manifest.kind(file) is None


def test_a_manifest_that_would_unpack_to_more_than_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.pt2"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/extra/cnnctl", b" " * 2**22)
    with pytest.raises(CheckpointError, match="is not as torch writes it"):
        manifest.read(file)
