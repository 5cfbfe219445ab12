"""What the command line names, and what the nets in it say: for tests of several verbs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cnnctl.cli import main, parse
from cnnctl.commands import trained
from cnnctl.commands.trained import Trained
from cnnctl.config import compose, verbs
from cnnctl.errors import UserError

DIGITS = tuple("0123456789")
CHANGE = "(change data, hardware, outputs only)"


def short_run(outputs: Path) -> Path:
    """LeNet-5, a few steps on digits."""
    words = ("trainer.max_steps=3", "hardware=cpu", "progress=none", f"outputs={outputs}")
    assert main(["train", *words]) == 0
    (run,) = outputs.glob("train/*")
    return run


def found(*words: str, verb: str = "evaluate") -> Trained:
    """What the first word names, the others being overrides."""
    cls = getattr(verbs, verb.title())
    call = parse([verb, *words])
    ask = trained.asked(call, cls)
    with compose.opened():
        own = trained.keys(cls, ask)
        return trained.find(call.targets[0], own.checkpoint, ask)


def refused(kind: type[UserError], *words: str, verb: str = "evaluate") -> str:
    with pytest.raises(kind) as caught:
        found(*words, verb=verb)
    return str(caught.value)


def logits(one: Trained, names: tuple[str, ...] | None = None) -> torch.Tensor:
    """What it says of eight images."""
    images = torch.arange(8 * 32 * 32).remainder(251).view(8, 1, 32, 32).to(torch.uint8)
    names = names or trained.classes(one)
    return trained.scorer(one, names, trained.device(one, "test"))(images)
