"""Copies that only a join keeps: counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from audited import subject
from torch import Tensor, nn

from cnnctl.audit.budget import MOMENTUM
from cnnctl.audit.step import Setting, measure

SETTING = Setting(3, MOMENTUM)
SIDE, FLOAT, IMAGES = 10, 4, 3


class Joined(nn.Module):
    """A layer, a way that may be left, and a join that a last layer keeps for its gradient."""

    def __init__(self, join: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.way = nn.Conv2d(2, 2, 3, padding=1)
        self.beside = nn.Conv2d(1, 2, 3, padding=1)
        self.last = nn.Conv2d(2 if join == "sum" else 4, 2, 1)
        self.join = join

    def forward(self, image: Tensor) -> Tensor:
        early = self.first(image).relu()
        late = self.way(early)
        if self.join == "sum":
            joined = early + late
        elif self.join == "branches":
            joined = torch.cat([late, self.beside(image)], 1)
        elif self.join == "cut":
            joined = torch.cat([early[..., 1:-1, 1:-1], late[..., 1:-1, 1:-1]], 1)
        else:
            joined = torch.cat([late, early] if self.join == "last" else [early, late], 1)
        return self.last(joined)


@pytest.mark.parametrize(
    ("join", "values"),
    [
        ("concatenation", 2 * SIDE**2), ("last", 2 * SIDE**2), ("cut", 2 * (SIDE - 2) ** 2),
        ("sum", 0), ("branches", 0),
    ],
)  # fmt: skip
def test_a_skip_costs_its_copy_in_the_concatenation(join, values) -> None:
    found = measure(Joined(join), (1, SIDE, SIDE), SETTING)
    assert found.skips == IMAGES * values * FLOAT
    assert found.skips < found.activations


def test_without_the_skip_so_much_less_is_kept() -> None:
    """The same net whose last layer sees the newer half alone."""

    class Alone(Joined):
        def forward(self, image: Tensor) -> Tensor:
            early = self.first(image).relu()
            late = self.way(early)
            return self.last(torch.cat([late[:, :0], late], 1))

    alone = Alone("sum")
    whole = measure(Joined("concatenation"), (1, SIDE, SIDE), SETTING)
    assert whole.activations - measure(alone, (1, SIDE, SIDE), SETTING).activations == whole.skips


def test_a_copy_that_nothing_keeps_costs_nothing() -> None:
    class Summed(Joined):
        def forward(self, image: Tensor) -> Tensor:
            early = self.first(image).relu()
            return torch.cat([early, self.way(early)], 1).mean((2, 3))

    assert measure(Summed("concatenation"), (1, SIDE, SIDE), SETTING).skips == 0


def test_the_skips_of_the_u_net_of_figure_1() -> None:
    made = subject("unet")
    net = made.net
    net.framed = False  # pyright: ignore[reportArgumentType] - a Segmenter
    cut = {512: 56, 256: 104, 128: 200, 64: 392}  # maps and sides behind the ways up
    found = measure(net, made.input, replace(SETTING, batch_size=2))
    assert found.skips == 2 * FLOAT * sum(maps * side**2 for maps, side in cut.items())
    assert 0.10 < found.skips / found.activations < 0.11
