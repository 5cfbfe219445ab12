from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import graphs
import pytest
from torch import nn

from cnnctl.commands import subjects
from cnnctl.config import compose
from cnnctl.config.audit import Audit
from cnnctl.errors import NetError, RunError, UsageError

PAPER = "Simonyan, Zisserman 2015, Very deep convolutional networks for"
NETS = """
from torch import nn

class Small(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.fc = nn.Linear(width * 36, 10)

    def forward(self, image):
        print("hello")
        return self.fc(self.conv(image).flatten(1))
"""


def settled(target: str | None, *overrides: str) -> tuple[Audit, Any]:
    with compose.opened():
        return subjects.settle(target, overrides)


def refusal(kind: type[Exception], target: str | None, *overrides: str) -> str:
    with pytest.raises(kind) as caught:
        settled(target, *overrides)
    return str(caught.value)


def sizes(target: str | None, *overrides: str) -> tuple[Sequence[int], int]:
    """The image and the classes of what is audited."""
    found = subjects.subject(*settled(target, *overrides))
    *_, weights = found.net.parameters()
    return found.input, weights.shape[0]


def test_names_are_those_of_the_zoo_in_natural_order() -> None:
    names = subjects.names()
    assert len(names) == 95
    assert names[names.index("vgg11") :][:3] == ["vgg11", "vgg11_bn", "vgg13"]
    assert names.index("resnet20") < names.index("resnet101")


def test_a_net_of_the_zoo_is_its_section() -> None:
    typed, what = settled("vgg16")
    assert (what["name"], typed.model["name"], typed.batch_size) == ("vgg16", "vgg16", 32)
    assert what == typed.model
    assert settled(None)[1]["name"] == "lenet5"
    assert settled(None, "model=mlp")[1]["name"] == "mlp"
    assert settled("vgg16", "model.dropout=0.1")[1]["dropout"] == 0.1


def test_a_net_of_a_library_is_its_section() -> None:
    _, what = settled("torchvision/resnet18")
    assert (what["name"], what["family"]) == ("torchvision/resnet18", "library")
    found = subjects.subject(*settled("torchvision/resnet18", "classes=7"))
    assert (found.name, found.input) == ("torchvision/resnet18", (3, 224, 224))
    assert [name for name, _ in found.net.named_children()][:2] == ["conv1", "bn1"]
    assert isinstance(found.net.fc, nn.Linear)
    assert found.net.fc.out_features == 7


@pytest.mark.parametrize(
    ("target", "overrides", "image", "classes"),
    [
        ("lenet5", [], (1, 32, 32), 10),
        ("vgg16", [], (3, 224, 224), 1000),
        ("vgg16", ["classes=5"], (3, 224, 224), 5),
        ("vgg16", ["input=1x64x96"], (1, 64, 96), 1000),
        ("vgg16", ["data=digits", "data.size=64"], (1, 64, 64), 10),
        (None, ["model=mlp", "data=digits", "data.size=20"], (1, 20, 20), 10),
    ],
)
def test_image_and_classes_are_the_papers_unless_given(
    target: str | None, overrides: list[str], image: tuple[int, ...], classes: int
) -> None:
    assert sizes(target, *overrides) == (image, classes)


def test_images_of_a_folder_are_counted_and_not_decoded(photos) -> None:
    root = photos({"train": {"cat": 3, "dog": 3, "owl": 3}})
    (root / "train" / "owl" / "0.png").write_text("no image")
    words = ["data=folder", f"data.root={root}", "data.size=40", "data.verify=true"]
    assert sizes("lenet5", *words) == ((3, 40, 40), 3)


def test_nothing_is_allocated() -> None:
    found = subjects.subject(*settled("vgg16"))
    assert {value.device.type for value in found.net.parameters()} == {"meta"}
    assert found.about == f"{PAPER} large-scale image recognition"


@pytest.mark.parametrize("other", ["model=vgg16", "+model=vgg16"])
def test_two_nets_at_once_are_refused(other: str) -> None:
    text = f"two nets at once: lenet5 and {other} (leave out one of them)"
    assert refusal(UsageError, "lenet5", other) == text


def test_files_are_told_from_nets_and_runs_by_their_names() -> None:
    typed, what = settled("a folder/net.onnx", "input=3x8x8")
    assert (what, typed.input) == (Path("a folder/net.onnx"), "3x8x8")
    for text in ("net.py", "net.py:Net", "a/net.py:Net(3, width=4)"):
        assert settled(text)[1] == text
    assert refusal(UsageError, "net.pyx") == (
        "no net, run or file 'net.pyx' (cnnctl list models, or a run's folder)"
    )


def test_what_is_no_run_is_told_as_such(tmp_path: Path) -> None:
    text = f"{tmp_path} is no run: it has no config.yaml (see runs with: cnnctl list runs)"
    assert refusal(RunError, str(tmp_path)) == text
    text = "no finished run in outputs (make one with: cnnctl train)"
    assert refusal(RunError, "latest") == text
    assert refusal(UsageError, "resnet1") == (
        "no net, run or file 'resnet1' (did you mean 'resnet18'?)"
    )


def test_a_users_own_net_is_audited_and_what_it_prints_is_no_result(cnnctl) -> None:
    Path("nets.py").write_text(NETS)
    outcome = cnnctl("audit", "nets.py:Small(5)", "input=3x8x8", "--json")
    assert (outcome.code, set(outcome.err.split())) == (0, {"hello"})
    (net,) = outcome.document["result"]["nets"]
    assert (net["name"], net["input"]) == ("nets.py:Small(5)", [3, 8, 8])
    assert net["totals"]["params"] == 5 * 27 + 5 + 5 * 36 * 10 + 10


def test_a_users_own_net_that_does_not_take_the_image_is_one_line(cnnctl) -> None:
    Path("nets.py").write_text(NETS)
    code, out, err = cnnctl("audit", "nets.py:Small", "input=3x9x9")
    assert (code, out) == (2, "")
    *printed, line = err.splitlines()
    assert set(printed) == {"hello"}
    place = "nets.py:Small does not take 3x9x9 images, line 12: RuntimeError: "
    assert line.startswith(f"cnnctl: error: {place}")
    assert line.endswith(" (another size: input=3x224x224)")


def test_our_own_mistakes_are_not_blamed_on_the_net() -> None:
    found = subjects.subject(*settled("lenet5"))
    with pytest.raises(ZeroDivisionError), subjects.running(found, {"name": "lenet5"}):
        raise ZeroDivisionError
    with pytest.raises(NetError, match=r"^kept$"), subjects.running(found, "net.py:Net"):
        raise NetError("kept")


def test_a_foreign_net_needs_an_image(cnnctl) -> None:
    Path("nets.py").write_text(NETS)
    text = "nets.py:Small does not say how large its images are (input=3x224x224)"
    assert cnnctl("audit", "nets.py:Small") == (2, "", f"cnnctl: error: {text}\n")


@pytest.mark.parametrize("height", [8, "height"])
def test_an_onnx_file_says_its_image_unless_it_leaves_it_open(cnnctl, height: int | str) -> None:
    conv = [graphs.node("Conv", "x W", "y")]
    graphs.write(Path("net.onnx"), conv, {"W": (4, 3, 3, 3)}, (1, 3, height, 8))
    outcome = cnnctl("audit", "net.onnx", "--json")
    if height != 8:
        text = "net.onnx does not say how large its images are (input=3x224x224)"
        assert (outcome.code, outcome.err) == (2, f"cnnctl: error: {text}\n")
        outcome = cnnctl("audit", "net.onnx", "input=3x8x8", "--json")
    (net,) = outcome.document["result"]["nets"]
    assert (net["name"], net["input"], net["totals"]["params"]) == ("net.onnx", [3, 8, 8], 108)
