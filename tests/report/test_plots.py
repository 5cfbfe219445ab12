from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answered import guessed
from PIL import Image

from cnnctl.report import plots
from cnnctl.scoring import predictions
from cnnctl.scoring.calibration import calibration

BLUE = (63, 111, 181)


def opened(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def near(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(pixels - colour).max(2) < 12).sum())


def told(*, fitted: bool) -> dict[str, Any]:
    scores = guessed(200, 4)
    return calibration(predictions.of(scores), scores if fitted else None, "no val")


def test_the_reliability_curve_before_and_after(tmp_path) -> None:
    sizes = {}
    for fitted in (False, True):
        file = tmp_path / f"{fitted}.png"
        plots.reliability(told(fitted=fitted), "200 images of test", file)
        pixels = opened(file)
        assert near(pixels, BLUE) > 500
        sizes[fitted] = near(pixels, (192, 112, 58))
    assert sizes[True] > 200 > sizes[False]


def test_exactly_1_has_a_bar_at_the_edge(tmp_path) -> None:
    one = {"low": 1.0, "high": 1.0, "confidence": 1.0, "accuracy": 0.5, "n": 7}
    bins = {"bins": [one], "ece": 0.5, "after": None}
    plots.reliability(bins, "7 images", tmp_path / "one.png")
    pixels = opened(tmp_path / "one.png")
    assert near(pixels[3 * len(pixels) // 4 :], (140, 168, 211)) > 100


def test_the_same_figures_give_the_same_bytes(tmp_path) -> None:
    for name in ("first.png", "second.png"):
        plots.reliability(told(fitted=True), "images", tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("first.png", "second.png"))
    assert first == second


@pytest.mark.parametrize("classes", [2, 20, 21, 60, 61, 300])
def test_a_confusion_matrix_of_any_size(tmp_path, classes: int) -> None:
    counts = 9 * np.eye(classes, dtype=int)
    names = [f"class {number} with a name that is long" for number in range(classes)]
    plots.confusion(counts.tolist(), names, tmp_path / "found.png")
    pixels = opened(tmp_path / "found.png")
    assert max(pixels.shape) < 2000
    assert near(pixels, (29, 58, 102)) > 500


def test_a_class_without_images_has_a_white_row(tmp_path) -> None:
    plots.confusion([[0, 0], [0, 0]], ["a", "b"], tmp_path / "found.png")
    assert near(opened(tmp_path / "found.png"), (29, 58, 102)) == 0


def test_names_are_written_as_they_are(tmp_path) -> None:
    """Matplotlib would take dollars for formulas, and fail at this one."""
    plots.confusion([[1, 0], [0, 1]], ["$\\frac$", "_$"], tmp_path / "found.png")
    plots.reliability(told(fitted=False), "$\\frac$", tmp_path / "other.png")
    plots.confusion([[1, 0], [0, 1]], ["犬", "قطة"], tmp_path / "third.png")
    assert (tmp_path / "other.png").stat().st_size > 1000


@pytest.mark.parametrize("channels", [1, 3])
def test_mistakes_are_shown_as_pictures(tmp_path, channels: int) -> None:
    row = {
        "pixels": np.full((channels, 8, 8), 200, np.uint8),
        "true": "cat", "predicted": "dog", "probability": 0.987,
    }  # fmt: skip
    sizes = []
    for number in (1, 9):
        plots.mistakes([row] * number, tmp_path / "found.png")
        pixels = opened(tmp_path / "found.png")
        assert near(pixels, (200, 200, 200)) >= number * 128 * 128
        sizes.append(pixels.shape[0])
    assert sizes[1] > 1.5 * sizes[0]  # nine are two rows
