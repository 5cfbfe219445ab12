"""Exported files as scorers; what is in them is read as data, and never run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from exports import cpu, pixels, trained
from PIL import Image

from cnnctl import manifest
from cnnctl.cli import main
from cnnctl.errors import CheckpointError, UsageError
from cnnctl.scoring import exported
from cnnctl.scoring.exported import ONLY_DATA

FILES = {
    "onnx": "lenet5.onnx", "torch_export": "lenet5.pt2", "torchscript": "lenet5.torchscript",
    "safetensors": "lenet5.safetensors",
}  # fmt: skip
PROGRAMS = tuple(FILES)[:3]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def files(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One export of the run in each format."""
    root = tmp_path_factory.mktemp("files")
    for kind in FILES:
        words = [f"format={kind}", "images=8", f"output={root / kind}"]
        assert main(["export", str(run), *words]) == 0
    return {kind: root / kind / name for kind, name in FILES.items()}


def opened(file: Path) -> exported.Exported:
    about, (train, device) = manifest.read(file), cpu()
    assert about is not None
    return exported.load(file, about, train, device)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_all_formats_give_the_same_logits(files: dict[str, Path], kind: str) -> None:
    given = pixels(5, 1, 32, 32)
    wanted, found = opened(files["torchscript"]), opened(files[kind])
    assert found.classes == tuple("0123456789")
    logits = found(given)
    assert logits.shape == (5, 10)
    assert logits.dtype == torch.float32
    assert torch.allclose(logits.softmax(1), wanted(given).softmax(1), atol=1e-5)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_the_loss_is_cross_entropy(files: dict[str, Path], kind: str) -> None:
    found, labels = opened(files[kind]), torch.tensor([1, 2, 3])
    logits = found(pixels(3, 1, 32, 32))
    wanted = torch.nn.functional.cross_entropy(logits, labels)
    assert torch.equal(found.loss(logits, labels), wanted)
    object.__setattr__(found.manifest, "own_loss", True)
    assert found.loss(logits, labels) is None


def test_a_file_of_one_image_is_asked_one_by_one(run: Path, tmp_path: Path) -> None:
    words = ["dynamic_batch=false", "images=4", f"output={tmp_path / 'one'}"]
    assert main(["export", str(run), *words]) == 0
    given = pixels(5, 1, 32, 32)
    found = opened(tmp_path / "one" / "lenet5.onnx")
    parts = [found(one) for one in given.split(1)]
    assert torch.equal(found(given), torch.cat(parts))


def test_a_probability_of_zero_stays_finite() -> None:
    train, _ = cpu()
    about = manifest.Manifest(
        format="onnx", model="m", include=("preprocess", "softmax"), dynamic_batch=True,
        precision="fp32", quantize=None, classes=("a", "b"), channels=1, size=32, mean=(0.5,),
        std=(0.5,), own_loss=False, run="", checkpoint="", weights_sha256="", versions={},
        config={},
    )  # fmt: skip
    found = exported.Exported(about, lambda _: torch.tensor([[1.0, 0.0]]), train)
    logits = found(pixels(1, 1, 32, 32))
    assert torch.isfinite(logits).all()
    assert torch.allclose(logits.softmax(1), torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_file_that_was_cut_off_is_one_line(
    files: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    about, (train, device) = manifest.read(files[kind]), cpu()
    assert about is not None
    broken = tmp_path / files[kind].name
    broken.write_bytes(files[kind].read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        exported.load(broken, about, train, device)
    assert "\n" not in caught.value.message
    assert ONLY_DATA not in os.environ


def test_a_device_that_no_file_runs_on_is_refused(files: dict[str, Path]) -> None:
    about, (train, device) = manifest.read(files["onnx"]), cpu()
    assert about is not None
    object.__setattr__(device, "accelerator", "mps")
    with pytest.raises(UsageError, match="run on cpu or gpu, got mps"):
        exported.load(files["onnx"], about, train, device)


def test_onnxruntime_without_a_gpu_says_so(files: dict[str, Path]) -> None:
    _, device = cpu()
    object.__setattr__(device, "accelerator", "gpu")
    with pytest.raises(UsageError, match="no GPU") as caught:
        exported.session(files["onnx"], device)
    assert caught.value.hint == "pip install onnxruntime-gpu"


# what follows is about files that somebody else has made


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def saved(value: Any) -> bytes:
    with io.BytesIO() as file:
        torch.save(value, file)
        return file.getvalue()


def rewritten(file: Path, copy: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """The archive with some of its files replaced."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return copy


def pickled_weights(evil: Evil, part: str) -> Callable[[str, bytes], bytes]:
    """torch.export may store a tensor as a pickle; then it says so beside."""

    def change(name: str, held: bytes) -> bytes:
        if name.endswith(f"data/{part}/model_{part}_config.json"):
            told = json.loads(held)
            for one in told["config"].values():
                one["use_pickle"] = True
            return json.dumps(told).encode()
        return saved(evil) if f"data/{part}/" in name else held

    return change


def constant(evil: Evil, path: str, *, pickled: bool) -> Callable[[str, bytes], bytes]:
    """One constant more, in place of the last weight, which then stands for its file."""

    def change(name: str, held: bytes) -> bytes:
        if name.endswith("model_constants_config.json"):
            entry = {"path_name": path, "is_param": False, "use_pickle": pickled}
            return json.dumps({"config": {"c": {**entry, "tensor_meta": None}}}).encode()
        return held

    return change


def graph(change: Callable[[dict[str, Any]], None]) -> Callable[[str, bytes], bytes]:
    def changed(name: str, held: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return held
        told = json.loads(held)
        change(told)
        return json.dumps(told).encode()

    return changed


def condition(folder: Path) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        told["guards_code"] = [f"__import__('os').mkdir({str(folder)!r}) is None"]

    return change


def size(folder: Path) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        values = told["graph_module"]["graph"]["sym_int_values"]
        first = next(one for one in values.values() if "as_expr" in one)
        first["as_expr"]["expr_str"] = f"__import__('os').mkdir({str(folder)!r})"

    return change


def call(folder: Path) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        argument = {"name": "", "arg": {"as_string": str(folder)}, "kind": 1}
        told["graph_module"]["graph"]["nodes"][0] |= {
            "target": "torch.os.mkdir",
            "inputs": [argument],
        }

    return change


def replaced(ending: str, held: bytes) -> Callable[[str, bytes], bytes]:
    return lambda name, old: held if name.endswith(ending) else old


def attack(kind: str, files: dict[str, Path], folder: Path, evil: Evil) -> Path:
    """A file that runs `evil` if it is unpickled."""
    program, script = files["torch_export"], files["torchscript"]
    archives = {
        "pt2_weights": (program, pickled_weights(evil, "weights")),
        "pt2_constants": (program, constant(evil, "tensor_0", pickled=True)),
        "pt2_opaque": (program, constant(evil, "opaque_obj_0", pickled=False)),
        "pt2_size": (program, graph(size(evil.folder))),
        "pt2_call": (program, graph(call(evil.folder))),
        "pt2_condition": (program, graph(condition(evil.folder))),
        "pt2_inputs": (program, replaced("sample_inputs/model.pt", saved(evil))),
        "script_data": (script, replaced("/data.pkl", pickle.dumps(evil))),
        "script_constants": (script, replaced("constants.pkl", pickle.dumps(evil))),
        "script_inputs": (script, replaced("traced_inputs.pkl", pickle.dumps(evil))),
    }
    if kind in archives:
        file, change = archives[kind]
        return rewritten(file, folder / f"evil{file.suffix}", change)
    made = folder / f"evil.{kind}"
    made.write_bytes(saved({"state_dict": {"a": evil}, "cnnctl": "{}"}))
    return made


@pytest.fixture
def evil(tmp_path: Path) -> Evil:
    made = Evil(tmp_path / "pwned")
    pickle.loads(pickle.dumps(made))  # noqa: S301 - it does what it is for
    assert made.folder.is_dir()
    made.folder.rmdir()
    return made


ATTACKS = (
    "pt2_weights", "pt2_constants", "pt2_opaque", "pt2_size", "pt2_call", "script_data",
    "script_constants", "ckpt", "pth", "pt", "safetensors", "onnx", "pt2", "torchscript",
)  # fmt: skip


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
@pytest.mark.parametrize("kind", ATTACKS)
def test_no_code_in_a_file_is_run(
    cnnctl, files: dict[str, Path], tmp_path: Path, evil: Evil, kind: str, verb: str
) -> None:
    file = attack(kind, files, tmp_path, evil)
    Image.new("L", (32, 32)).save("image.png")
    outcome = cnnctl(verb, str(file), *(["image.png"] if verb == "predict" else []))
    assert not evil.folder.exists()
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("cnnctl: error: ")
    assert outcome.out == ""


@pytest.mark.parametrize("kind", ["pt2_inputs", "pt2_condition", "script_inputs"])
def test_what_is_never_read_does_no_harm(
    cnnctl, files: dict[str, Path], tmp_path: Path, evil: Evil, kind: str
) -> None:
    assert cnnctl("evaluate", str(attack(kind, files, tmp_path, evil))).code == 0
    assert not evil.folder.exists()


@pytest.mark.parametrize("kind", ["pt2_weights", "pt2_inputs", "pt2_size", "pt2_condition"])
def test_torch_would_run_it_were_it_not_told_otherwise(
    files: dict[str, Path], tmp_path: Path, evil: Evil, kind: str
) -> None:
    file = attack(kind, files, tmp_path, evil)
    with contextlib.suppress(Exception):
        torch.export.load(str(file)).module()(pixels(1, 1, 32, 32))
    assert evil.folder.exists()


@pytest.mark.parametrize("value", [None, "0"])
def test_what_torch_is_told_ends_with_the_loading(
    files: dict[str, Path], monkeypatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv(ONLY_DATA, raising=False)
    else:
        monkeypatch.setenv(ONLY_DATA, value)
    opened(files["torch_export"])
    assert os.environ.get(ONLY_DATA) == value
