from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from cnnctl import weights
from cnnctl.errors import CheckpointError

CONFIG = {"model": {"name": "tiny"}, "seed": 3}
CLASSES = ("cat", "dog")
WIDER = "0.weight is 3x2 instead of 4x2, 0.bias is 3 instead of 4"
USE = "(use another file)"


def net(width: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


def content(width: int = 3) -> dict[str, Any]:
    state = {f"net.{name}": tensor for name, tensor in net(width).state_dict().items()}
    about = weights.entry(CONFIG, CLASSES)
    return {"state_dict": {**state, "other": torch.zeros(1)}, "cnnctl": about, "epoch": 4}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save(content(), tmp_path / "some.ckpt")
    return tmp_path / "some.ckpt"


def refusal(file: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        weights.read(file)
    return str(caught.value)


def test_a_checkpoint_gives_back_what_it_holds(file) -> None:
    found = weights.read(file)
    assert (found.file, found.config, found.classes, found.epoch) == (file, CONFIG, CLASSES, 4)
    assert found.weights.keys() == net().state_dict().keys()
    assert weights.sha256(found.weights) == weights.sha256(net().state_dict())


def test_what_a_checkpoint_says_about_itself_is_json_text(file) -> None:
    about = torch.load(file, weights_only=True)["cnnctl"]
    assert json.loads(about) == {"schema": 1, "config": CONFIG, "classes": ["cat", "dog"]}


def test_a_missing_checkpoint_is_named(tmp_path) -> None:
    assert refusal(tmp_path / "no.ckpt") == f"no checkpoint at {tmp_path / 'no.ckpt'}"
    assert refusal(tmp_path) == f"no checkpoint at {tmp_path}"


@pytest.mark.parametrize(
    "text", ["", "hello\n", "# a config\nseed: 0\n", "PK\x03\x04", "]q.", "(l"]
)
def test_a_file_that_is_no_checkpoint_is_refused(file, text) -> None:
    file.write_text(text)
    assert refusal(file) == f"{file} cannot be read: it is truncated, or no checkpoint {USE}"


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_truncated_checkpoint_is_refused(file, data) -> None:
    torch.save(content(), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert refusal(file) == f"{file} cannot be read: it is truncated, or no checkpoint {USE}"


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=100))
def test_any_bytes_are_refused(file, noise) -> None:
    file.write_bytes(noise)
    said = f"{file} cannot be read", f"{file} holds Python objects"
    assert refusal(file).startswith(said)


@pytest.mark.parametrize(
    "entry", [5, "no JSON", "{}", '{"config": {}}', '{"config": {}, "classes": 5}']
)
def test_a_damaged_entry_is_refused(file, entry) -> None:
    torch.save(content() | {"cnnctl": entry}, file)
    assert refusal(file) == f"{file} cannot be read: it is truncated, or no checkpoint {USE}"


@pytest.mark.parametrize("foreign", [torch.zeros(2), {"state_dict": {}}, {"cnnctl": "{}"}, [1]])
def test_a_checkpoint_of_another_program_is_refused(file, foreign) -> None:
    torch.save(foreign, file)
    assert refusal(file) == f"{file} is no checkpoint of cnnctl: it has no 'cnnctl' entry"


class Malice:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self):
        return (Path.touch, (self.victim,))


@pytest.mark.parametrize(
    "save", [torch.save, lambda what, file: file.write_bytes(pickle.dumps(what))]
)
def test_code_in_a_checkpoint_does_not_run(file, tmp_path, save) -> None:
    save(content() | {"more": Malice(tmp_path / "ran")}, file)
    if save is torch.save:
        text = "holds Python objects, which could run code; they are not read"
        hint = "(save the tensors alone: torch.save(net.state_dict(), …))"
    else:
        text, hint = "cannot be read: it is truncated, or no checkpoint", USE
    assert refusal(file) == f"{file} {text} {hint}"
    assert not (tmp_path / "ran").exists()


def test_loading_puts_every_tensor_in_its_place(file) -> None:
    other = net()
    for tensor in other.state_dict().values():
        tensor.zero_()
    weights.load(other, weights.read(file))
    assert weights.sha256(other.state_dict()) == weights.sha256(net().state_dict())


@pytest.mark.parametrize(
    ("other", "differences"),
    [
        (nn.Sequential(nn.Linear(2, 4), net()[1]), WIDER),
        (net()[:1], "1.weight is unknown, 1.bias is unknown, 1.running_mean is unknown and 2 more"),
        (nn.Sequential(*net(), nn.Linear(3, 1, bias=False)), "2.weight is missing"),
    ],
)
def test_a_checkpoint_of_another_net_is_refused_untouched(file, other, differences) -> None:
    before = weights.sha256(other.state_dict())
    with pytest.raises(CheckpointError) as caught:
        weights.load(other, weights.read(file))
    assert str(caught.value) == f"{file} holds another network (tiny): {differences}"
    assert weights.sha256(other.state_dict()) == before


BASE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(())}


@pytest.mark.parametrize(
    "other",
    [
        {**BASE, "a": torch.arange(6.0).reshape(2, 3).index_fill(0, torch.tensor([1]), 9)},
        {**BASE, "b": torch.tensor(-0.0)},
        {"a": BASE["a"], "c": BASE["b"]},
        {**BASE, "a": BASE["a"].double()},
        {**BASE, "a": BASE["a"].view(torch.int32)},
        {**BASE, "a": BASE["a"].reshape(3, 2)},
        {"a": BASE["a"]},
        {**BASE, "c": torch.zeros(0)},
        {"a": BASE["b"], "b": BASE["a"]},
    ],
)
def test_the_hash_changes_with_value_name_type_and_shape(other) -> None:
    assert weights.sha256(other) != weights.sha256(BASE)


def test_the_hash_depends_neither_on_order_nor_on_layout() -> None:
    turned = {"b": BASE["b"].clone(), "a": BASE["a"].t().contiguous().t().requires_grad_()}
    assert not turned["a"].is_contiguous()
    assert weights.sha256(turned) == weights.sha256(BASE)


def test_the_hash_is_that_of_the_described_bytes() -> None:
    a, b = BASE["a"].numpy().tobytes(), BASE["b"].numpy().tobytes()
    text = b"a torch.float32 (2, 3)\n" + a + b"b torch.float32 ()\n" + b
    assert weights.sha256(BASE) == hashlib.sha256(text).hexdigest()
