"""In which numbers and which layout cnnctl.training.trainer trains a net."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
import torch

from cnnctl import weights
from cnnctl.training import start


@pytest.mark.parametrize("more", [(), ("trainer.accumulate=2",), ("schedule=plateau",)])
def test_clipping_goes_together_with_mixed_precision(train, more) -> None:
    mixed = ("hardware.precision=bf16-mixed", "trainer.clip=1", "trainer.max_steps=2")
    assert train("model=mlp", *mixed, *more).result["steps"] == 2


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_a_net_of_other_numbers_is_given_such_images(train, precision) -> None:
    short = ("trainer.max_steps=3", "augment=flip_crop", f"hardware.precision={precision}")
    done = train("model=mlp", *short, "data.batch_size=500")
    found = weights.read(done.folder / "checkpoints/last.ckpt").weights
    kind = {"64-true": torch.float64, "bf16-true": torch.bfloat16}[precision]
    assert {tensor.dtype for tensor in found.values()} == {kind}
    with (done.folder / "metrics.csv").open(encoding="utf-8") as file:
        assert [row["images"] for row in csv.DictReader(file)] == ["1259"]  # not in bfloat16


@pytest.mark.parametrize(
    ("layout", "device", "turned"),
    [
        ("true", {}, False),
        ("true", {"accelerator": "gpu"}, True),
        ("true", {"devices": 2}, True),
        ("false", {"accelerator": "gpu"}, False),
        ("false", {"devices": 2}, False),
    ],
)
def test_weights_lie_as_their_gradients_will(prepare, layout, device, turned) -> None:
    job = prepare(f"trainer.channels_last={layout}")
    plan = replace(job.plan, device=replace(job.plan.device, **device))
    net = start.net(job._replace(plan=plan), new=True)
    kinds = [torch.channels_last if turned else torch.contiguous_format]
    for weight in (value for value in net.parameters() if value.ndim == 4 and value.shape[1] > 1):
        layouts = (torch.channels_last, torch.contiguous_format)
        found = [kind for kind in layouts if weight.is_contiguous(memory_format=kind)]
        assert found == kinds or weight.shape[2:] == (1, 1)


def test_a_layout_changes_no_weight_of_a_fresh_net(prepare) -> None:
    job = prepare()
    plan = replace(job.plan, device=replace(job.plan.device, devices=2))
    found = []
    for one in (job, job._replace(plan=plan)):
        torch.manual_seed(0)
        found.append(weights.sha256(start.net(one, new=True).state_dict()))
    assert found[0] == found[1]
