from __future__ import annotations

from typing import Any

import pytest

from cnnctl.config.rules_bench import broken
from cnnctl.config.verbs import Bench

USUAL: dict[str, Any] = {
    "checkpoint": "best", "input": None, "batch": (1, 8, 32), "engines": None, "device": "auto",
    "precision": "32-true", "threads": None, "seconds": 1.0,
}  # fmt: skip


def told(*, zoo: bool = False, **changes: Any) -> list[str]:
    return [str(problem) for problem in broken(Bench(**USUAL | changes), changes, zoo=zoo)]


@pytest.mark.parametrize("zoo", [False, True])
def test_what_conf_says_is_right(zoo) -> None:
    assert told(zoo=zoo) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch": ()}, "batch is empty: nothing to measure (leave out batch)"),
        ({"batch": (8, 1, 8)}, "batch=8,1,8 names one twice (batch=8,1)"),
        ({"engines": ()}, "engines is empty: nothing to measure (leave out engines)"),
        ({"engines": ("eager", "eager")}, "engines=eager,eager names one twice (engines=eager)"),
        ({"input": "224"},
         "input wants channels x height x width such as 3x224x224, got '224'"),
        ({"input": "3x0x9"},
         "input wants channels x height x width such as 3x224x224, got '3x0x9'"),
        ({"threads": 2, "device": "gpu"},
         "threads=2 has no effect on device=gpu (leave it out, or device=cpu)"),
        ({"device": "mps", "engines": ("onnxruntime",)},
         "engines=onnxruntime does not run on device=mps (engines=eager, or device=cpu)"),
        ({"precision": "16-true", "device": "cpu"},
         ("precision=16-true needs a GPU, got device=cpu "
         "(on a CPU use 32-true, bf16-mixed or bf16-true)")),
        ({"precision": "bf16-true", "engines": ("onnxruntime",)},
         ("precision=bf16-true has no effect on onnxruntime, which runs 32-true "
         "(export the net with precision=fp16, and give the file)")),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told(changes, text) -> None:
    assert told(**changes) == [text]


@pytest.mark.parametrize(
    "changes",
    [{"threads": 2, "device": "cpu"}, {"precision": "16-true", "device": "gpu"},
     {"precision": "bf16-mixed", "engines": ("eager", "onnxruntime")}, {"input": "1x28x28"}],
)  # fmt: skip
def test_what_goes_together_is_allowed(changes) -> None:
    assert told(**changes) == []


def test_many_nets_have_one_figure_each() -> None:
    assert told(zoo=True, batch=(1, 8)) == [
        "--zoo draws one figure of each net, got batch=1,8 (batch=1)"
    ]
    assert told(zoo=True, engines=("compiled", "eager")) == [
        "--zoo draws one figure of each net, got engines=compiled,eager (engines=compiled)"
    ]
    assert told(zoo=True, batch=(8,), engines=("compiled",)) == []


def test_several_mistakes_are_told_at_once() -> None:
    assert len(told(batch=(), input="x", threads=1, device="mps")) == 3
