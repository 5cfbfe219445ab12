from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cnnctl.config import compose, preflight
from cnnctl.config.masks import Dice, Focal, Loss, OfPixels
from cnnctl.config.rules_losses import losses

MASKS = ("model=unet_small", "data=shapes", "augment=none")


def told(*words: str) -> list[str]:
    """What is wrong with a command line, each with its hint."""
    with compose.opened():
        config, problems = compose.compose("train", [*MASKS, *words])
    return [str(one) for one in preflight.check(config, problems)[1]]


@pytest.mark.parametrize(
    "words",
    [
        ("loss=own",),
        ("loss=own", "trainer.label_smoothing=0.1", "data.balance=loss"),
        ("loss=cross_entropy",),
        ("loss=cross_entropy", "loss.border=[10,5]", "loss.weights=[1,2,3,4]"),
        ("loss=cross_entropy", "trainer.label_smoothing=0.1", "data.balance=loss"),
        ("loss=dice",),
        ("loss=dice", "loss.cross_entropy=0.5", "loss.border=[10,20]"),
        ("loss=dice", "loss.cross_entropy=1", "trainer.label_smoothing=0.1", "data.balance=loss"),
        ("loss=focal", "loss.weights=[1,1,1,1]", "loss.border=[1,5]"),
        ("loss=focal", "data.balance=loss"),
    ],
)
def test_these_go_together(words: tuple[str, ...]) -> None:
    assert told(*words) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("loss=dice", "loss.border=[10,5]"),
            (
                "loss.border has no effect without loss.cross_entropy, which it weighs "
                "(loss.cross_entropy=1, or null)"
            ),
        ),
        (
            ("loss=dice", "loss.weights=[1,2,3,4]"),
            (
                "loss.weights has no effect without loss.cross_entropy, which it weighs "
                "(loss.cross_entropy=1, or null)"
            ),
        ),
        (
            ("loss=dice", "data.balance=loss"),
            (
                "data.balance=loss has no effect without loss.cross_entropy, which it weighs "
                "(loss.cross_entropy=1, or data.balance=none)"
            ),
        ),
        (
            ("loss=dice", "trainer.label_smoothing=0.1"),
            (
                "trainer.label_smoothing=0.1 has no effect without loss.cross_entropy "
                "(loss.cross_entropy=1, or trainer.label_smoothing=0)"
            ),
        ),
        (
            ("loss=focal", "trainer.label_smoothing=0.1"),
            (
                "trainer.label_smoothing=0.1 has no effect on loss=focal "
                "(loss=cross_entropy, or trainer.label_smoothing=0)"
            ),
        ),
        (
            ("loss=cross_entropy", "loss.border=[10,21]"),
            "loss.border: within at most 20 pixels, got 21 (the paper's are loss.border=[10,5])",
        ),
        (
            ("loss=cross_entropy", "loss.weights=[0,0,0,0]"),
            "loss.weights are all 0 (leave them out)",
        ),
        (
            ("loss=cross_entropy", "loss.weights=[1,2,3,4]", "data.balance=loss"),
            "data.balance=loss has no effect beside loss.weights (leave out one of the two)",
        ),
    ],
)
def test_what_has_no_effect_is_refused(words: tuple[str, ...], line: str) -> None:
    assert told(*words) == [line]


@pytest.mark.parametrize("loss", ["cross_entropy", "dice", "focal"])
def test_a_loss_of_pixels_wants_a_net_of_pixels(loss: str) -> None:
    (line,) = told("model=lenet5", "data=digits", f"loss={loss}")
    assert line.startswith(f"loss={loss} is one of pixels, but lenet5 gives no class of each")


def test_parts_may_be_missing() -> None:
    alone: dict[str, Any] = {"loss": Loss(name="own")}
    assert list(losses({})) == list(losses(alone)) == []
    dice = Dice(name="dice", weights=None, border=(10, 5), cross_entropy=0)
    assert [one.key for one in losses({"loss": dice})] == ["loss.border"]
    assert [one.key for one in losses({"loss": replace(dice, cross_entropy=1)})] == []
    focal = Focal(name="focal", weights=(0, 0), border=None, gamma=2)
    plain = OfPixels(name="cross_entropy", weights=(0, 0), border=None)
    for one in (focal, plain):
        assert [problem.message for problem in losses({"loss": one})] == ["loss.weights are all 0"]
