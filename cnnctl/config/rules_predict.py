"""Rules between the keys of `cnnctl predict` and what the net has learned."""

from __future__ import annotations

from collections.abc import Iterator

from cnnctl.config.tasks import Task
from cnnctl.config.verbs import Predict
from cnnctl.errors import Problem

GIVES = {"classify": "a class for each image", "reconstruct": "each image anew"}


def predict(typed: Predict, task: Task) -> Iterator[Problem]:
    """Keys that have no effect on a net of this task."""
    if task != "segment" and typed.tile is not None:
        text = f"tile={typed.tile} is for masks, but this net gives {GIVES[task]}"
        yield Problem(text, "leave it out", "tile")
    if task == "classify" and typed.output is not None:
        text = f"output={typed.output} has no effect: this net gives {GIVES[task]}, no pictures"
        yield Problem(text, "leave it out; format=csv > FILE.csv keeps the classes", "output")
    if task == "reconstruct" and typed.top is not None:
        text = f"top={typed.top} has no effect: this net gives {GIVES[task]}, no classes"
        yield Problem(text, "leave it out", "top")
