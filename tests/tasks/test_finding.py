from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cnnctl.errors import TrainingError
from cnnctl.tasks.finding import Finding, document, message

RUN = Path("outputs/train/r")
WHEN = {"step": 812, "epoch": 3, "batch": 12}
NAMES = [f"{number}.png" for number in range(8)]
SEE = "see outputs/train/r/nonfinite.json"
USUAL = (
    "a lower learning rate: optimizer.lr=…, or trainer.clip=1, or on_nan=rollback; "
    "see outputs/train/r/nonfinite.json"
)
LAYER = Finding("output of layer conv2 (Conv2d 16x10x10) is inf in 3 of 9 values", "layer", (5,))


def told(finding: Finding | None) -> TrainingError:
    return message(finding, **WHEN, names=NAMES, run=RUN)


def test_step_layer_image_and_what_to_do_are_one_line() -> None:
    assert str(told(LAYER)) == (
        "step 812 (epoch 3, batch 12): output of layer conv2 (Conv2d 16x10x10) is inf "
        f"in 3 of 9 values; images: 5.png ({USUAL})"
    )


@pytest.mark.parametrize(
    ("samples", "every", "text"),
    [
        ((), False, ""),
        ((5,), False, "; images: 5.png"),
        ((1, 2, 3), False, "; images: 1.png, 2.png, 3.png"),
        ((1, 2, 3, 6), False, "; images: 1.png, 2.png, 3.png and 1 more"),
        (range(8), True, "; all 8 images: 0.png, 1.png, 2.png and 5 more"),
        ((0, 1), True, "; all 2 images: 0.png, 1.png"),
    ],
)
def test_a_few_images_are_named(samples, every, text) -> None:
    finding = replace(LAYER, samples=tuple(samples), all_samples=every)
    assert told(finding).message == f"step 812 (epoch 3, batch 12): {LAYER.what}{text}"


def test_a_large_weight_is_told() -> None:
    finding = replace(LAYER, samples=(), largest=("conv1.weight", 1234567.0))
    assert told(finding).message.endswith("; the largest weight is 1.23e+06 (conv1.weight)")


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"cause": "layer"}, USUAL),
        ({"cause": "loss"}, USUAL),
        ({"cause": "gradient"}, USUAL),
        ({"cause": "images"}, f"look at these images, at data.mean and at data.std; {SEE}"),
        (
            {"cause": "weights"},
            (
                "a lower learning rate: optimizer.lr=…; "
                f"if this is the first step, other weights to start from; {SEE}"
            ),
        ),
        (
            {"cause": "layer", "half": True},
            (
                "hardware.precision=bf16-mixed: 16-bit floats end at 65504; "
                f"or a lower learning rate: optimizer.lr=…; {SEE}"
            ),
        ),
        (
            {"cause": "images", "half": True},
            f"look at these images, at data.mean and at data.std; {SEE}",
        ),
    ],
)
def test_what_to_do_depends_on_the_cause(changes, hint) -> None:
    assert told(replace(LAYER, **changes)).hint == hint


def test_a_step_that_is_finite_when_made_again_is_said_to_be_so() -> None:
    error = told(None)
    assert error.message == (
        "step 812 (epoch 3, batch 12): loss or gradient is not finite, "
        "but finite when this process makes the step again"
    )
    assert error.hint in USUAL


def test_the_document_has_all_names() -> None:
    finding = replace(LAYER, samples=(1, 5), largest=("conv1.weight", 2.5))
    found = document(finding, **WHEN, names=NAMES)
    assert json.loads(json.dumps(found)) == {
        **WHEN, "what": LAYER.what, "cause": "layer", "largest_weight": ["conv1.weight", 2.5],
        "images": ["1.png", "5.png"], "all_images": False, "batch_images": NAMES,
    }  # fmt: skip


def test_the_document_of_a_step_that_is_finite_when_made_again() -> None:
    found = document(None, **WHEN, names=NAMES)
    assert (found["what"], found["cause"], found["images"]) == ("not found again", "unknown", [])
    assert found["largest_weight"] is None
    assert found["batch_images"] == NAMES
