from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cnnctl import runs
from cnnctl.commands import Call, cases, subjects, zoo
from cnnctl.commands.asked import asked
from cnnctl.commands.cases import Target
from cnnctl.commands.trained import Trained
from cnnctl.config import compose, verbs
from cnnctl.config.verbs import Bench

CALL = Call("bench", (), (), {})
USUAL: dict[str, Any] = {
    "checkpoint": "best", "input": None, "batch": (1, 8, 32), "engines": None, "device": "auto",
    "precision": "32-true", "threads": None, "seconds": 1.0,
}  # fmt: skip


def target(name: str, *of_net: str) -> Target:
    with compose.opened():
        return cases.settle(name, Bench(**USUAL), asked(CALL, Bench), of_net)


@pytest.mark.parametrize(
    ("given", "changes", "batch", "engines"),
    [({}, {}, (1,), ("eager",)),
     ({"batch"}, {"batch": (8,)}, (8,), ("eager",)),
     ({"engines"}, {"engines": ("compiled",)}, (1,), ("compiled",))],
)  # fmt: skip
def test_many_nets_are_given_one_image_unless_told(given, changes, batch, engines) -> None:
    found = zoo.single(Bench(**USUAL | changes), given)
    assert (found.batch, found.engines) == (batch, engines)


def test_the_usual_nets_are_nets_of_the_zoo() -> None:
    assert set(zoo.NETS) <= set(subjects.names())
    assert len(set(zoo.NETS)) == len(zoo.NETS)


def test_the_accuracy_of_all_usual_nets_is_known() -> None:
    found = {name: zoo.known(target(name), plain=True) for name in zoo.NETS}
    assert {one["top1_of"] for one in found.values()} == {zoo.STATED}
    assert found["resnet18"]["top1"] == pytest.approx(0.69758)
    assert found["vgg16"]["top1"] == pytest.approx(0.71592)
    assert all(0.5 < one["top1"] < 0.9 for one in found.values())


def test_a_net_that_was_changed_or_has_no_twin_has_no_known_accuracy() -> None:
    nothing = {"top1": None, "top1_of": None}
    assert zoo.known(target("resnet18"), plain=False) == nothing
    assert zoo.known(target("resnet20"), plain=True) == nothing
    assert zoo.known(target("xception"), plain=True) == nothing  # its twin is one of timm's
    assert zoo.known(Target("net.onnx"), plain=True) == nothing


class Stub:
    """As much of a run as is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.data = self


def run(folder: Path, file: str, result: dict[str, Any] | None) -> Target:
    folder.mkdir()
    if result is not None:
        (folder / runs.RESULT).write_text(json.dumps(result))
    train: Any = Stub("digits")
    spec: Any = None
    return Target("latest", one=Trained("latest", folder, folder / file, {}, train, spec))


def test_a_run_has_its_own_accuracy(tmp_path) -> None:
    found = zoo.known(run(tmp_path / "a", "best.ckpt", {"test": {"top1": 0.98}}), plain=True)
    assert found == {"top1": 0.98, "top1_of": "test split of digits"}


@pytest.mark.parametrize(
    ("file", "result"), [("last.ckpt", {"test": {"top1": 0.9}}), ("best.ckpt", None),
                         ("best.ckpt", {"test": {}})],
)  # fmt: skip
def test_a_run_whose_test_was_of_other_weights_has_none(tmp_path, file, result) -> None:
    assert zoo.known(run(tmp_path / "a", file, result), plain=True)["top1"] is None


def test_the_fastest_comes_first_and_without_a_place_nothing_is_drawn() -> None:
    nets = [{"name": name, "rows": [{"median": time}]} for name, time in (("mlp", 3), ("nin", 2))]
    data: dict[str, Any] = {"nets": nets}
    zoo.finish(data, [target("mlp"), target("nin")], None, plain=True)
    assert [net["name"] for net in data["nets"]] == ["nin", "mlp"]
    assert data["plot"] is None
    assert set(verbs.Bench.__dataclass_fields__) == set(USUAL)
