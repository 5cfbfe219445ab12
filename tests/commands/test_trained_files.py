from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from targets import CHANGE, DIGITS, found, logits, refused, short_run

from cnnctl import manifest, runs, weights
from cnnctl.commands import trained
from cnnctl.errors import CheckpointError, ConfigError, UsageError
from cnnctl.manifest import Manifest

FOREIGN = ("model=lenet5", "data=digits", "hardware=cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return short_run(tmp_path_factory.mktemp("outputs"))


@pytest.fixture
def tensors(run: Path) -> dict[str, torch.Tensor]:
    """The net's own weights."""
    return weights.read(run / "checkpoints" / "best.ckpt").weights


def about(run: Path, **changes: Any) -> Manifest:
    """What an export of the run says of itself."""
    config = runs.read_config(run / runs.CONFIG)
    data = config["data"]
    usual = Manifest(
        format="safetensors", model="lenet5", include=(), dynamic_batch=True, precision="fp32",
        quantize=None, classes=DIGITS, channels=1, size=32, mean=tuple(data["mean"]),
        std=tuple(data["std"]), own_loss=False, run=str(run),
        checkpoint=str(run / "checkpoints" / "best.ckpt"), weights_sha256="0" * 64,
        versions={}, config=config,
    )  # fmt: skip
    return dataclasses.replace(usual, **changes)


def script(net: torch.nn.Module, images: torch.Tensor, extra: dict[str, str]) -> None:
    """Write net.torchscript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have another format
        made = torch.jit.trace(net, images)
        torch.jit.save(made, "net.torchscript", _extra_files=extra)


@pytest.mark.parametrize("inside", [None, "state_dict", "model"])
def test_weights_of_somebody_else_with_their_net_and_data(
    run: Path, tensors: dict[str, torch.Tensor], inside: str | None
) -> None:
    torch.save(tensors if inside is None else {inside: tensors, "epoch": 3}, "net.pth")
    one = found("net.pth", *FOREIGN)
    assert (one.saved, one.manifest, one.folder) == (None, None, None)
    assert (one.name, one.spec.name, one.train.data.name) == ("net.pth", "lenet5", "digits")
    source = trained.ready(one)
    assert trained.classes(one, source) == DIGITS
    assert torch.equal(logits(one, DIGITS), logits(found(str(run))))
    assert found("net.pth", *FOREIGN, "data.batch_size=9").train.data.batch_size == 9
    assert found("net.pth", *FOREIGN[:2], "data.size=32", verb="predict").train.data.size == 32


def test_weights_of_somebody_else_are_asked_on_one_device(tensors: dict[str, torch.Tensor]) -> None:
    torch.save(tensors, "net.pth")
    one = found("net.pth", "model=lenet5", "data=digits")
    assert one.train.hardware.devices == 1
    assert trained.device(one, "test").world == 1


@pytest.mark.parametrize("words", [(), ("model=lenet5",), ("data=digits",), ("model.depths=[1]",)])
def test_weights_of_somebody_else_do_not_say_what_they_are_of(
    tensors: dict[str, torch.Tensor], words: tuple[str, ...]
) -> None:
    torch.save(tensors, "net.pth")
    save_file(tensors, "net.safetensors")
    for name in ("net.pth", "net.safetensors"):
        text = f"{name} holds weights alone: it does not say of which net and which classes"
        hint = f"(cnnctl … {name} model=resnet18 data=imagenet)"
        assert refused(UsageError, name, *words) == f"{text} {hint}"


def test_a_mistake_about_weights_of_somebody_else_is_one_line(
    tensors: dict[str, torch.Tensor],
) -> None:
    torch.save(tensors, "net.pth")
    text = refused(ConfigError, "net.pth", "model=lenet6", "data=digits")
    assert text == "no 'lenet6' in group 'model' (did you mean 'lenet5'?)"
    text = refused(ConfigError, "net.pth", *FOREIGN, "optimizer.lr=1")
    assert text.startswith("'optimizer.lr=1' has no effect here")


def test_weights_for_other_classes_or_of_another_net_are_refused(
    tensors: dict[str, torch.Tensor],
) -> None:
    torch.save(tensors, "net.pth")
    one = found("net.pth", *FOREIGN)
    with pytest.raises(CheckpointError) as caught:
        logits(one, ("cat", "dog"))
    text = "net.pth does not have output.weight, output.bias for 2 classes"
    assert str(caught.value) == f"{text} (data with the classes that it was trained on)"
    other = found("net.pth", "model=mlp", "data=digits", "hardware=cpu")
    with pytest.raises(CheckpointError, match=r"net\.pth holds another network"):
        logits(other, DIGITS)


def test_safetensors_of_ours_know_their_net_and_classes(
    run: Path, tensors: dict[str, torch.Tensor]
) -> None:
    save_file(tensors, "net.safetensors", {manifest.ENTRY: about(run).text()})
    one = found("net.safetensors")
    assert (one.saved, one.manifest, one.folder) == (None, about(run), None)
    assert (trained.classes(one), one.spec.name) == (DIGITS, "lenet5")
    assert torch.equal(logits(one), logits(found(str(run))))
    assert found("net.safetensors", "data.batch_size=9").train.data.batch_size == 9
    assert found("net.safetensors", "hardware.precision=bf16-mixed").manifest == about(run)


def test_half_precision_in_a_file_is_read_into_the_net(
    run: Path, tensors: dict[str, torch.Tensor]
) -> None:
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    save_file(halves, "net.safetensors", {manifest.ENTRY: about(run, precision="fp16").text()})
    assert torch.allclose(logits(found("net.safetensors")), logits(found(str(run))), atol=0.05)


def test_what_a_file_of_ours_has_settled_cannot_be_changed(
    run: Path, tensors: dict[str, torch.Tensor]
) -> None:
    save_file(tensors, "net.safetensors", {manifest.ENTRY: about(run).text()})
    lines = refused(ConfigError, "net.safetensors", "data.size=64", "data.mean=[0.5]").splitlines()
    assert lines == [
        "data.size cannot be changed: net.safetensors has its own (leave it out)",
        "data.mean cannot be changed: net.safetensors has its own (leave it out)",
    ]
    text = f"'model=mlp' has no effect here: the run has its own model {CHANGE}"
    assert refused(ConfigError, "net.safetensors", "model=mlp") == text
    text = "'checkpoint=last' has no effect: net.safetensors is a file (leave it out)"
    assert refused(ConfigError, "net.safetensors", "checkpoint=last") == text


def test_a_program_is_scored_by_its_own_but_holds_no_weights(run: Path) -> None:
    net = trained.net(found(str(run)), DIGITS).eval()
    script(
        net, torch.zeros(1, 1, 32, 32), {manifest.ENTRY: about(run, format="torchscript").text()}
    )
    one = found("net.torchscript")
    assert torch.allclose(logits(one), logits(found(str(run))), atol=1e-5)
    with pytest.raises(CheckpointError) as caught:
        trained.net(one, DIGITS)
    told = "net.torchscript is a program, not weights"
    assert str(caught.value) == f"{told} (give the run or the checkpoint that it is from)"
    told = (
        "'hardware.precision=bf16-mixed' has no effect: net.torchscript has its own number format"
    )
    words = ("net.torchscript", "hardware.precision=bf16-mixed")
    assert refused(ConfigError, *words) == f"{told} (leave it out)"


def test_a_program_of_somebody_else_does_not_say_what_it_takes() -> None:
    script(torch.nn.Identity(), torch.zeros(1), {})
    text = "net.torchscript was not exported by cnnctl: it does not say what it takes and gives"
    hint = "(cnnctl audit and cnnctl bench take any ONNX file)"
    assert refused(CheckpointError, "net.torchscript") == f"{text} {hint}"


@pytest.mark.parametrize("suffix", [".ckpt", ".pth", ".weights", "", *manifest.SUFFIXES])
def test_what_cannot_be_read_is_named(suffix: str) -> None:
    for content in (b"text", b"", b"PK\x03\x04" + bytes(100)):
        Path(f"x{suffix}").write_bytes(content)
        message = refused(CheckpointError, f"x{suffix}")
        endings = ("cannot be read", "was not exported by", "is empty")
        assert message.startswith(tuple(f"x{suffix} {end}" for end in endings))
        assert "\n" not in message


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save({"state_dict": Trap()}, "x.pth")
    text = "x.pth holds Python objects, which could run code; they are not read"
    text += " (save the tensors alone: torch.save(net.state_dict(), …))"
    assert refused(CheckpointError, "x.pth", *FOREIGN) == text
    assert not (tmp_path / "trapped").exists()
