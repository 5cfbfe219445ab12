from __future__ import annotations

from typing import Any

import pytest

from cnnctl.config import rules_predict
from cnnctl.config.verbs import Predict

ALL = {"top": 2, "tile": 64, "output": "out"}


def broken(task: Any, **changes: Any) -> list[str]:
    values: dict[str, Any] = {
        "checkpoint": "best", "top": None, "tile": None, "output": None, "format": "table",
    }  # fmt: skip
    return [str(one) for one in rules_predict.predict(Predict(**values | changes), task)]


def test_a_net_for_masks_takes_every_key() -> None:
    assert broken("segment", **ALL) == []


@pytest.mark.parametrize("task", ["classify", "reconstruct"])
def test_without_keys_nothing_is_wrong(task: str) -> None:
    assert broken(task) == []


def test_a_class_for_each_image_needs_neither_tiles_nor_a_folder() -> None:
    assert broken("classify", **ALL) == [
        "tile=64 is for masks, but this net gives a class for each image (leave it out)",
        (
            "output=out has no effect: this net gives a class for each image, no pictures (leave it"
            " out; format=csv > FILE.csv keeps the classes)"
        ),
    ]


def test_images_made_anew_have_no_classes() -> None:
    assert broken("reconstruct", **ALL) == [
        "tile=64 is for masks, but this net gives each image anew (leave it out)",
        "top=2 has no effect: this net gives each image anew, no classes (leave it out)",
    ]
