"""Runs in which a step gives no number or finds no memory, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnctl import weights
from cnnctl.data.order import Order
from cnnctl.data.prepare import Prepare
from cnnctl.nets.mlp import Mlp

WORDS = (
    "model=mlp", "model.hidden=[8]", "data.size=8", "data.batch_size=100", "augment=none",
    "optimizer=sgd", "schedule=constant", "trainer.max_epochs=1", "hardware=cpu", "progress=plain",
)  # fmt: skip
STEPS = 13  # of an epoch of 1,259 images
SAMPLE = int(Order(1259, 0).of(0)[3 * 100 + 7])  # it comes with the 4th batch of the first epoch
LEFT = r"cnnctl: error: out of memory: a step on 100 images takes"


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> str:
    """One image of the training set is NaN; its name."""
    prepared = Prepare.__call__

    def broken(self: Prepare, pixels: Any) -> Any:
        batch = prepared(self, pixels)
        if batch.ticket.epoch is not None:
            batch.images[torch.from_numpy(batch.ticket.samples == SAMPLE)] = torch.nan
        return batch

    monkeypatch.setattr(Prepare, "__call__", broken)
    return "image "


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Memory for so many images at a time in training; the sizes that were tried."""

    def fits(most: int) -> list[int]:
        taken: list[int] = []
        forward = Mlp.forward

        def run(net: Mlp, images: torch.Tensor) -> Any:
            if net.training and not images.is_meta:  # where the plan is made
                taken.append(len(images))
                if len(images) > most:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return forward(net, images)

        monkeypatch.setattr(Mlp, "forward", run)
        return taken

    return fits


def run_folder() -> Path:
    (folder,) = Path("outputs/train").glob("*")
    return folder


def last(folder: str | Path) -> dict[str, torch.Tensor]:
    return weights.read(Path(folder) / "checkpoints/last.ckpt").weights


def test_a_rate_that_is_far_too_high_ends_in_one_line_that_names_the_step(cnnctl) -> None:
    outcome = cnnctl("train", *WORDS, "optimizer.lr=1e30")
    said = outcome.err.splitlines()[10:]
    found = json.loads((run_folder() / "nonfinite.json").read_text())
    assert (outcome.code, outcome.out, len(said)) == (1, "", 1)
    assert said[0].startswith(
        f"cnnctl: error: step {found['step']} (epoch 1, batch {found['step']}): "
    )
    assert said[0].endswith(f"see {run_folder()}/nonfinite.json)")
    assert (found["epoch"], len(found["batch_images"])) == (1, 100)
    assert not (run_folder() / "result.json").exists()


def test_the_same_as_a_document(cnnctl) -> None:
    outcome = cnnctl("train", *WORDS, "optimizer.lr=1e30", "--json")
    error = outcome.document["error"]
    assert (outcome.code, error["kind"]) == (1, "training")
    assert error["message"].startswith("step ")
    assert "nonfinite.json" in error["hint"]


def test_one_image_that_is_no_number_is_named(cnnctl, poisoned) -> None:
    outcome = cnnctl("train", *WORDS)
    found = json.loads((run_folder() / "nonfinite.json").read_text())
    assert (outcome.code, found["step"], found["cause"]) == (1, 4, "images")
    (name,) = found["images"]
    assert name.startswith(poisoned)
    (said,) = outcome.err.splitlines()[10:]
    text = "step 4 (epoch 1, batch 4): input of the net is NaN in 64 of 6400 values"
    assert said.startswith(f"cnnctl: error: {text}; images: {name} (")


def test_a_run_may_go_on_without_the_step_and_says_so(cnnctl, poisoned) -> None:
    outcome = cnnctl("train", *WORDS, "on_nan=rollback", "trainer.max_epochs=2", "--json")
    result = outcome.document["result"]
    assert (outcome.code, result["steps"], result["epochs"]) == (0, 2 * STEPS - 2, 2)
    said = [line for line in outcome.err.splitlines() if "undone" in line]
    assert [line.partition(": input")[0] for line in said] == [
        "cnnctl: step 4 (epoch 1, batch 4)", said[1].partition(": input")[0],
    ]  # fmt: skip
    assert f"; images: {poisoned}" in said[0]
    ends = [line.rpartition(": ")[2] for line in said]
    assert ends == [f"step undone, learning rate halved to {rate}" for rate in ("0.05", "0.025")]
    assert all(value.isfinite().all() for value in last(result["run"]).values())
    assert result["test"]["top1"] > 0.3


def test_a_run_that_cannot_go_on_says_how_often_it_tried(cnnctl, poisoned) -> None:
    outcome = cnnctl("train", *WORDS, "on_nan=rollback", "trainer.max_epochs=9")
    assert outcome.code == 1
    said = [line for line in outcome.err.splitlines() if line.startswith("cnnctl: ")]
    assert len(said) == 4
    assert said[-1].endswith(
        "; 3 steps have been undone before (a lower learning rate: optimizer.lr=…)"
    )
    assert f"; images: {poisoned}" in said[-1]


def test_steps_that_do_not_fit_are_made_in_pieces_with_the_same_figures(cnnctl, full) -> None:
    whole = cnnctl("train", *WORDS, "--json").document["result"]
    taken = full(30)
    outcome = cnnctl("train", *WORDS, "on_oom=split", "--json")
    cut = outcome.document["result"]
    assert outcome.code == 0
    assert taken[:3] == [100, 50, 25]
    assert max(taken[2:]) == 25
    said = [line for line in outcome.err.splitlines() if line.startswith("cnnctl: ")]
    assert said == [
        f"cnnctl: out of memory: batches of 100 are made in pieces of {size} from here on"
        for size in (50, 25)
    ]
    assert cut["steps"] == whole["steps"] == STEPS
    for split in ("val", "test"):
        assert cut[split] == pytest.approx(whole[split], rel=1e-4)
    expected = last(whole["run"])
    for name, value in last(cut["run"]).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_without_pieces_the_line_says_what_to_type(cnnctl, full) -> None:
    full(30)
    outcome = cnnctl("train", *WORDS)
    (said,) = outcome.err.splitlines()[10:]
    assert outcome.code == 1
    assert said.startswith(LEFT)
    assert "data.batch_size=50 trainer.accumulate=2" in said
    assert said.endswith("or on_oom=split)")
    assert not (run_folder() / "result.json").exists()


def test_what_it_says_to_type_makes_the_same_steps(cnnctl, full) -> None:
    whole = cnnctl("train", *WORDS, "--json").document["result"]
    full(50)
    more = ("data.batch_size=50", "trainer.accumulate=2", "--json")
    parts = cnnctl("train", *WORDS, *more).document["result"]
    assert parts["steps"] == whole["steps"]
    assert parts["val"] == pytest.approx(whole["val"], rel=1e-4)


def test_not_even_one_image(cnnctl, full) -> None:
    full(0)
    outcome = cnnctl("train", *WORDS, "on_oom=split")
    assert outcome.code == 1
    text = "cnnctl: error: out of memory with a single image (a smaller net, or data.size)"
    assert outcome.err.splitlines()[-1] == text
