from __future__ import annotations

from pathlib import Path

import pytest

from cnnctl.commands import subjects
from cnnctl.config import compose
from cnnctl.errors import RunError, UsageError

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.fc = nn.Linear(width, 2)

    def forward(self, image):
        return self.fc(torch.relu(self.conv(image)).mean((2, 3)))
"""


def settled(target: str | None, *overrides: str):
    with compose.opened():
        return subjects.settle(target, overrides)


def test_a_name_of_the_zoo_is_a_choice_of_the_model() -> None:
    typed, what = settled("resnet20", "batch_size=7")
    assert isinstance(what, dict)
    assert (what["name"], typed.batch_size) == ("resnet20", 7)
    made = subjects.subject(typed, what)
    assert (made.name, made.input) == ("resnet20", (3, 32, 32))
    assert {value.device.type for value in made.net.parameters()} == {"meta"}


def test_every_net_of_the_zoo_is_known_in_its_natural_order() -> None:
    names = subjects.names()
    assert len(names) == 84
    assert names.index("resnet18") < names.index("resnet101")


def test_a_library_net_stands_without_its_wrapper() -> None:
    typed, what = settled("torchvision/alexnet")
    made = subjects.subject(typed, what)
    assert [name for name, _ in made.net.named_children()] == ["features", "avgpool", "classifier"]


def test_a_class_in_a_file_needs_an_image(cnnctl) -> None:
    Path("own.py").write_text(OWN)
    said = "own.py:Net does not say how large its images are (input=3x224x224)"
    assert cnnctl("audit", "own.py:Net") == (2, "", f"cnnctl: error: {said}\n")
    outcome = cnnctl("audit", "own.py:Net(width=6)", "input=3x8x8", "--json")
    (net,) = outcome.document["result"]["nets"]
    assert net["totals"]["params"] == 6 * 27 + 6 + 6 * 2 + 2
    assert net["totals"]["macs"] == 36 * 6 * 27 + 12
    assert net["memory"]["peak"] > 0


@pytest.mark.parametrize("override", ["model.depths=[1]", "data=digits"])
def test_the_zoo_s_keys_have_no_effect_on_a_file(override: str) -> None:
    with pytest.raises(UsageError, match=r"has no effect on own\.py:Net, which is no net of"):
        settled("own.py:Net", override)


def test_a_run_is_audited_as_it_was_trained(cnnctl) -> None:
    words = ("model=mlp", "optimizer=sgd", "data.batch_size=16", "trainer.max_steps=2")
    assert cnnctl("train", *words, "hardware=cpu", "progress=none").code == 0
    (net,) = cnnctl("audit", "latest", "--json").document["result"]["nets"]
    memory = net["memory"]
    assert (net["name"], net["input"]) == ("mlp", [1, 32, 32])
    assert (memory["batch_size"], memory["optimizer"]) == (16, "sgd")
    assert memory["optimizer_state"] == memory["gradients"]
    (net,) = cnnctl("audit", "latest", "batch_size=4", "optimizer=adam", "--json").document[
        "result"
    ]["nets"]
    assert (net["memory"]["batch_size"], net["memory"]["optimizer"]) == (4, "adam")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises((UsageError, RunError), match="empty"):
        settled(str(tmp_path / "empty"))
