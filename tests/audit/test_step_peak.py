"""Where the peak of a training step is, and of what it consists: nets made so that it is known."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from torch import Tensor, nn

from cnnctl.audit.step import Memory, Setting, measure
from cnnctl.config.learning import RmsProp, Sgd

PLAIN: dict[str, Any] = {
    "lr": 0.1,
    "weight_decay": 0,
    "scaling": "none",
    "reference_batch": 1,
    "decay_norms": True,
    "layer_decay": None,
}
SGD = Sgd(name="sgd", **PLAIN, momentum=0, nesterov=False)
RMSPROP = RmsProp(name="rmsprop", **PLAIN, alpha=0.99, eps=1e-8, momentum=0, centered=False)
GPU: dict[str, Any] = {"accelerator": "gpu"}  # the same on every CPU


def chain(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def place(found: Memory) -> tuple[str, str, str]:
    return found.phase, found.layer, found.op


def test_a_huge_activation_in_the_middle_is_the_peak() -> None:
    net = chain(
        thin=nn.Conv2d(3, 2, 1), wide=nn.Conv2d(2, 1000, 1), act=nn.Tanh(),
        last=nn.Conv2d(1000, 2, 1), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(),
    )  # fmt: skip
    found = measure(net, (3, 64, 64), Setting(2, SGD, **GPU))
    assert place(found) == ("backward", "act", "tanh_backward")
    wide = 2 * 1000 * 64 * 64 * 4  # what tanh gave, and the gradients before and behind it
    thin, loss = wide // 500, 512
    assert found.parts["activations"] == wide + thin + loss
    assert found.parts["temporaries"] == 2 * wide + loss


def test_a_huge_activation_that_is_not_kept_is_the_peak_of_the_forward_pass() -> None:
    net = chain(
        up=nn.Upsample(scale_factor=32), pool=nn.AvgPool2d(32), gap=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(), fc=nn.Linear(3, 2),
    )  # fmt: skip
    found = measure(net, (3, 32, 32), Setting(2, SGD, **GPU))
    assert place(found) == ("forward", "pool", "avg_pool2d")
    assert found.parts["activations"] == 2 * 3 * (1024**2 + 32**2) * 4
    assert found.activations < 10_000


@pytest.mark.parametrize(("accelerator", "counters"), [("cpu", 2), ("gpu", 0), ("mps", 2)])
def test_huge_dense_weights_have_their_peak_in_the_update(accelerator, counters) -> None:
    net = chain(flat=nn.Flatten(), fc=nn.Linear(3072, 2048))
    found = measure(net, (3, 32, 32), Setting(2, RMSPROP, accelerator=accelerator))
    assert place(found) == ("update", "", "rmsprop")
    bias, weight = 4 * 2048, 4 * 2048 * 3072
    assert found.weights == found.gradients == weight + bias
    assert found.optimizer_state == weight + bias + 4 * counters
    assert found.parts["temporaries"] == weight + bias  # at once, or the root that is left over
    assert found.peak == sum(found.parts.values())


def test_the_gradients_of_the_step_before_stand_until_the_loss_is_known() -> None:
    net = chain(flat=nn.Flatten(), fc=nn.Linear(3072, 2048))
    found = measure(net, (3, 32, 32), Setting(2, SGD))
    assert place(found) == ("loss", "", "nll_loss_forward")
    weights, batch = 4 * 2048 * 3073, 2 * (3072 * 4 + 8)
    scores = 2 * 2048 * 4
    loss = 8  # and the weight of all labels
    assert found.parts == {
        "weights": weights, "gradients": weights, "optimizer_state": 0, "batch": batch,
        "activations": 2 * scores + loss, "workspace": 0,
    }  # fmt: skip


def test_gradients_that_add_up_over_batches_are_there_twice_for_a_moment() -> None:
    net = chain(flat=nn.Flatten(), fc=nn.Linear(3072, 2048))
    found = measure(net, (3, 32, 32), Setting(2, SGD, accumulate=4))
    assert place(found)[:2] == ("backward", "fc")
    weights = 4 * 2048 * 3073
    assert found.parts["gradients"] == weights
    logits, loss = 2 * 2048 * 4, 4
    assert found.parts["temporaries"] == weights + logits + loss  # gradients, all of them


def test_labels_are_part_of_the_batch_and_there_from_the_start() -> None:
    net = nn.Conv2d(3, 5, 1)  # a label for every pixel
    found = measure(net, (3, 16, 16), Setting(2, SGD, **GPU))
    assert found.batch == 2 * 3 * 256 * 4
    assert found.parts["batch"] == found.batch + 2 * 256 * 8
    assert found.activations == 2 * 5 * 256 * 4 + 512 + 512  # logarithms, loss, weight of labels


def test_a_stranger_is_trained_on_the_first_of_its_outputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(12, 7)

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            return self.fc(image.flatten(1)), image

    found = measure(Two(), (3, 2, 2), Setting(4, SGD))
    assert found.activations == 4 * 7 * 4 + 4 + 4
    assert found.walk.macs["forward"] == found.walk.macs["backward"] == 4 * 84
