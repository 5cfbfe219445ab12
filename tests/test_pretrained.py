from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor
from zoo import build, spec

from cnnctl import pretrained
from cnnctl.config.images import Digits
from cnnctl.errors import CheckpointError, RunError
from cnnctl.nets import twins
from cnnctl.pretrained import Start

SHAPE = (3, 64, 64)
DATA = Digits(
    name="digits", source="", licence="", size=64, channels=3, mean=(0.485, 0.456, 0.406),
    std=(0.5, 0.5, 0.5), batch_size=1, workers=0, cache="auto", val_fraction=0.1,
    test_fraction=0.1, split_seed=0, folds=None, fold=None, balance="none", on_error="fail",
)  # fmt: skip
HEAD = ("fc.weight", "fc.bias")


@pytest.fixture(scope="module")
def theirs() -> dict[str, Tensor]:
    """The state dict of torchvision's ResNet-18, as its files have it."""
    torch.manual_seed(1)
    return torchvision.models.resnet18().state_dict()


def find(reference: object, name: str = "resnet18", classes: int = 1000, **changes: Any) -> Start:
    made = spec(name, **changes)
    return pretrained.find(
        str(reference), made, num_classes=classes, shape=SHAPE, outputs="outputs"
    )


def put(file: str, content: object) -> Path:
    torch.save(content, file)
    return Path(file)


def test_torchvisions_weights_come_from_the_cache_of_torch_hub(
    theirs, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    put(str(cache / "resnet18-f37072fd.pth"), theirs)
    start = find("torchvision")
    names = twins.key_map(spec("resnet18"))
    assert start.source == "torchvision/resnet18 IMAGENET1K_V1"
    assert (start.new, start.unused) == ((), ())
    assert set(start.tensors) == set(names.values())
    assert all(torch.equal(start.tensors[ours], theirs[name]) for name, ours in names.items())
    assert start.expects(DATA) == ["data.std=[0.229, 0.224, 0.225]"]
    assert find("torchvision/IMAGENET1K_V1").document(DATA) == start.document(DATA)


def test_loaded_weights_give_torchvisions_numbers(theirs) -> None:
    start = find(put("theirs.pth", theirs))
    ours, twin = build("resnet18", SHAPE).eval(), torchvision.models.resnet18().eval()
    pretrained.load(ours, start)
    twin.load_state_dict(theirs)
    images = torch.randn(2, *SHAPE)
    assert torch.equal(ours(images), twin(images))


def test_a_head_for_other_classes_stays_new_and_is_named(theirs) -> None:
    start = find(put("theirs.pth", theirs), classes=7)
    net = build("resnet18", SHAPE, classes=7)
    before = net.fc.weight.clone()
    pretrained.load(net, start)
    assert start.new == HEAD
    assert torch.equal(net.fc.weight, before)
    assert torch.equal(net.conv1.weight, theirs["conv1.weight"])


def test_what_the_net_does_not_have_is_listed_under_its_own_name(theirs) -> None:
    start = find(put("more.pth", theirs | {"aux.fc.weight": torch.zeros(3)}))
    assert start.unused == ("aux.fc.weight",)
    assert start.document(DATA)["tensors"] == len(theirs)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"model": state, "epoch": 3},
        lambda state: {f"module.{name}": value for name, value in state.items()},
    ],
)
def test_the_usual_wrappings_of_a_state_dict_are_opened(theirs, wrap) -> None:
    plain = find(put("plain.pth", theirs)).document(DATA)
    wrapped = find(put("wrapped.pth", wrap(theirs))).document(DATA)
    assert wrapped | {"source": ""} == plain | {"source": ""}


def test_a_file_of_safetensors_and_files_without_counters(theirs) -> None:
    save_file(theirs, "theirs.safetensors")
    assert find("theirs.safetensors").document(DATA)["tensors"] == len(theirs)
    old = {name: value for name, value in theirs.items() if "num_batches" not in name}
    start = find(put("old.pth", old))
    assert (len(start.tensors), start.new) == (len(old), ())


def test_our_own_names_need_no_twin() -> None:
    torch.manual_seed(2)
    net = build("lenet5")
    start = pretrained.find(
        str(put("own.pth", net.state_dict())), spec("lenet5"), num_classes=10, shape=(1, 32, 32),
        outputs="outputs",
    )  # fmt: skip
    assert all(torch.equal(start.tensors[name], value) for name, value in net.state_dict().items())


def test_the_names_of_old_densenet_files_are_understood() -> None:
    state = torchvision.models.densenet121().state_dict()
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for name, value in state.items()
    }
    assert "features.denseblock1.denselayer1.conv.2.weight" in old
    start = find(put("old.pth", old), "densenet121")
    assert (len(start.tensors), start.unused) == (len(state), ())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda state: state | {"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1)}, "instead of"),
        (lambda state: {"conv1.weight": state["conv1.weight"]}, "conv1_norm.weight is missing, "),
        (lambda _: {"w": torch.zeros(1)}, "is missing"),
    ],
)
def test_another_network_is_refused(theirs, change, text) -> None:
    with pytest.raises(CheckpointError) as caught:
        find(put("wrong.pth", change(theirs)))
    assert str(caught.value).startswith("wrong.pth holds another network: ")
    assert text in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([1, 2], "holds no state dict: a name and a tensor for each weight"),
        ({"epoch": 3}, "holds no state dict: a name and a tensor for each weight"),
    ],
)
def test_a_file_without_tensors_is_refused(content, text) -> None:
    with pytest.raises(CheckpointError) as caught:
        find(put("odd.pth", content))
    assert str(caught.value) == f"odd.pth {text}"


def test_a_damaged_file_of_safetensors_is_refused() -> None:
    Path("half.safetensors").write_bytes(b"half a file")
    with pytest.raises(CheckpointError) as caught:
        find("half.safetensors")
    assert str(caught.value).startswith("half.safetensors cannot be read: ")
    assert caught.value.hint == "use another file"


def test_code_in_a_file_is_not_run() -> None:
    put("evil.pth", {"conv1.weight": print})
    with pytest.raises(CheckpointError, match=r"evil\.pth holds Python objects"):
        find("evil.pth")


def test_neither_a_file_nor_a_run_is_told() -> None:
    with pytest.raises(RunError, match=r"^no run 'nowhere' in outputs"):
        find("nowhere")


def test_a_run_starts_from_an_earlier_run_with_its_normalisation(cnnctl) -> None:
    words = ("model=mlp", "trainer.max_steps=2", "progress=none", "--json")
    first = cnnctl("train", *words).document["result"]
    second = cnnctl("train", *words, "pretrained=latest", "seed=1").document["result"]
    assert second["pretrained"] == {
        "source": f"{first['run']}/checkpoints/best.ckpt",
        "sha256": first["best"]["weights_sha256"],
        "tensors": 4, "new": [], "unused": [], "expects": [],
    }  # fmt: skip
    other = cnnctl("train", *words, "pretrained=latest", "data.mean=[0.5]", "--dry-run").document
    assert other["result"]["pretrained"]["expects"] == ["data.mean=[0.3057]"]


def test_the_plan_tells_what_became_of_the_weights(cnnctl, theirs) -> None:
    put("theirs.pth", theirs | {"aux.weight": torch.zeros(1)})
    colour = ("data.channels=3", "data.mean=[0,0,0]", "data.std=[1,1,1]", "data.size=32")
    outcome = cnnctl("train", "model=resnet18", "pretrained=theirs.pth", *colour, "--dry-run")
    assert outcome.code == 0, outcome.err
    line = "pretrained  theirs.pth · 120 tensors · new: fc.weight, fc.bias · unused: aux.weight"
    assert line in outcome.out.splitlines()


def test_weights_of_another_net_are_refused_before_a_run_folder_is_made(cnnctl) -> None:
    put("own.pth", build("lenet5").state_dict())
    outcome = cnnctl("train", "model=mlp", "pretrained=own.pth")
    assert outcome.code == 2
    assert outcome.err == (
        "cnnctl: error: own.pth holds another network: f1.weight is missing, f1.bias is missing, "
        "output.weight is 10x84 instead of 10x300\n"
    )
    assert not Path("outputs").exists()


def test_a_run_with_as_many_other_classes_gives_no_last_layer(cnnctl) -> None:
    run = cnnctl("train", "trainer.max_steps=1", "progress=none", "--json").document["result"][
        "run"
    ]
    how: dict[str, Any] = {"num_classes": 10, "shape": (1, 32, 32), "outputs": "outputs"}
    same = pretrained.find(run, spec("lenet5"), classes=tuple("0123456789"), **how)
    other = pretrained.find(run, spec("lenet5"), classes=tuple("abcdefghij"), **how)
    assert same.new == ()
    assert other.new == ("output.weight", "output.bias")
    assert set(same.tensors) - set(other.tensors) == set(other.new)
