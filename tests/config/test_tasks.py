from __future__ import annotations

import subprocess
import sys

import pytest
from zoo import FILES, numbers

from cnnctl import nets
from cnnctl.config import tasks

KNOWN = {"unet": "segment", "segnet": "segment", "fcn8s": "segment", "autoencoder": "reconstruct"}


@pytest.mark.parametrize("name", FILES)
def test_what_a_net_learns_is_what_its_class_says(name) -> None:
    given = numbers(name)
    assert tasks.of(given) == nets.FAMILIES[given["family"]].TASK
    assert KNOWN.get(name, tasks.of(given)) == tasks.of(given)


def test_most_nets_are_for_classes_of_images() -> None:
    found = {name: tasks.of(numbers(name)) for name in FILES}
    assert {name for name in KNOWN if name in found} <= set(found)
    others = [name for name, task in found.items() if task != "classify"]
    assert 3 <= len(others) < len(found) / 2
    assert tasks.of({}) == tasks.of({"family": None}) == tasks.of({"family": "new"}) == "classify"


def test_every_task_is_judged_by_a_figure_of_its_own() -> None:
    assert tasks.FIGURES == {"classify": "top1", "segment": "miou", "reconstruct": "explained"}
    assert set(tasks.FAMILIES.values()) <= set(tasks.FIGURES)
    assert set(tasks.FAMILIES) <= set(nets.FAMILIES)


def test_it_needs_no_torch() -> None:
    program = "import sys, cnnctl.config.tasks; print('torch' in sys.modules)"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
