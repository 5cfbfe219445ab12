"""In which numbers cnnctl.training.trainer trains a net."""

from __future__ import annotations

import csv

import pytest
import torch

from cnnctl import weights


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
