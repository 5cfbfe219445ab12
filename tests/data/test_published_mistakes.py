from __future__ import annotations

from pathlib import Path

import formats
import numpy as np
import pytest
from formats import opened
from formats_arrays import idx

from cnnctl.errors import DataError


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Write a tiny set: tiny("mnist") -> (root, what was written)."""
    formats.trust(monkeypatch)

    def write(name: str) -> tuple[Path, formats.Written]:
        root = tmp_path / "data"
        return root, formats.WRITERS[name](root)

    return write


def refusal(name: str, root: Path, **changes: object) -> str:
    with pytest.raises(DataError) as caught:
        opened(name, root, **changes)
    return str(caught.value)


def test_another_number_of_classes_is_refused(tiny) -> None:
    root, _ = tiny("eurosat")
    text = f"EuroSAT in {root} has 3 classes, got data.classes=10 (data.classes=3)"
    assert refusal("eurosat", root, classes=10) == text


def test_splits_that_do_not_fit_together_are_refused(tiny) -> None:
    root, _ = tiny("mnist")
    raw = root / "MNIST/raw"
    idx(raw / "train-labels-idx1-ubyte", np.zeros(29, np.uint8))
    text = f"MNIST in {root} is damaged: 30 images and 29 labels in train"
    assert refusal("mnist", root) == text
    idx(raw / "train-labels-idx1-ubyte", np.full(30, 10, np.uint8))
    text = f"MNIST in {root} is damaged: train has a label that is no class"
    assert refusal("mnist", root) == text
    root, _ = tiny("food101")
    (root / "food-101/meta/test.json").write_text('{"apple_pie": ["apple_pie/0"]}')
    text = f"Food-101 in {root} is damaged: test has other classes than train"
    assert refusal("food101", root) == text


def test_a_class_with_too_few_images_for_a_val_is_refused(tiny) -> None:
    root, _ = tiny("mnist")
    idx(root / "MNIST/raw/train-labels-idx1-ubyte", np.arange(30, dtype=np.uint8) // 3)
    assert opened("mnist", root).sizes["val"] == 10
    idx(root / "MNIST/raw/train-labels-idx1-ubyte", np.eye(1, 30, dtype=np.uint8)[0])
    text = "class '1' has too few images for train, val (it has 1, at least 2 are needed)"
    assert refusal("mnist", root) == text
