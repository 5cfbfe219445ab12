from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cnnctl.config import rules_verbs
from cnnctl.config.verbs import Evaluate

NOTHING: dict[str, Any] = {
    "split": "test", "checkpoint": "best", "crops": "center", "scales": None, "flip": None,
    "tile": None, "boundary": None, "robustness": None, "predictions": "csv", "mistakes": 16,
}  # fmt: skip
NO_SCALES = "scales has no effect with crops=center: the short side is data.size"


def wanted(**keys: Any) -> Evaluate:
    return Evaluate(**NOTHING | keys)


def told(**keys: Any) -> list[tuple[str, str | None]]:
    return [(str(problem), problem.key) for problem in rules_verbs.evaluate(wanted(**keys))]


def on(size: int, channels: int, **keys: Any) -> list[tuple[str, str | None]]:
    data: Any = SimpleNamespace(size=size, channels=channels)
    return [(str(one), one.key) for one in rules_verbs.on_images(wanted(**keys), data)]


@pytest.mark.parametrize(
    "keys",
    [
        {}, {"flip": True}, {"flip": False}, {"crops": "ten"}, {"crops": "ten", "scales": (256,)},
        {"crops": "dense"}, {"crops": "dense", "scales": (224, 256), "flip": True},
        {"robustness": ("shift", "hue"), "flip": True},
    ],
)  # fmt: skip
def test_what_goes_together(keys: dict[str, Any]) -> None:
    assert told(**keys) == []


@pytest.mark.parametrize(
    ("keys", "text", "key"),
    [
        (
            {"scales": (256,)},
            f"{NO_SCALES} (crops=ten or crops=dense)",
            "scales",
        ),
        (
            {"crops": "ten", "flip": True},
            "flip=true has no effect with crops=ten (five of the ten are mirror images)",
            "flip",
        ),
        (
            {"crops": "ten", "flip": False},
            "flip=false has no effect with crops=ten (five of the ten are mirror images)",
            "flip",
        ),
        (
            {"crops": "ten", "robustness": ("shift",)},
            "robustness does not go with crops=ten (crops=center)",
            "robustness",
        ),
        (
            {"crops": "dense", "robustness": ("shift",)},
            "robustness does not go with crops=dense (crops=center)",
            "robustness",
        ),
        (
            {"crops": "ten", "scales": ()},
            "scales is empty (scales=null, or scales=256,384)",
            "scales",
        ),
        (
            {"robustness": ()},
            "robustness is empty (robustness=null, or robustness=shift,rotate)",
            "robustness",
        ),
        ({"crops": "dense", "scales": (8, 9, 8)}, "scales names 8 twice", "scales"),
        ({"robustness": ("hue", "hue")}, "robustness names hue twice", "robustness"),
    ],
)
def test_what_does_not(keys: dict[str, Any], text: str, key: str) -> None:
    assert told(**keys) == [(text, key)]


def test_all_problems_are_told_at_once() -> None:
    found = told(crops="ten", flip=True, scales=(8, 8), robustness=("blur", "blur"))
    assert [key for _, key in found] == ["scales", "robustness", "flip", "robustness"]


def test_crops_have_to_fit_into_the_short_side() -> None:
    text = "crops of 224x224 do not fit into a short side of 192 (scales from 224)"
    assert on(224, 3, crops="ten", scales=(256, 192)) == [(text, "scales")]
    assert on(224, 3, crops="ten", scales=(224, 256)) == []
    assert on(224, 3, crops="ten") == []


def test_a_net_that_slides_may_be_given_less_than_its_own_size() -> None:
    assert on(224, 3, crops="dense", scales=(192,)) == []


def test_there_is_no_hue_without_colours() -> None:
    text = "robustness=hue has no effect: the net sees no colours (leave it out)"
    assert on(32, 1, robustness=("shift", "hue")) == [(text, "robustness")]
    assert on(32, 1, robustness=("shift",)) == []
    assert on(32, 3, robustness=("hue",)) == []


OF_MASKS = "has no effect on a net for masks, which sees images whole (leave it out)"
OF_CLASSES = "has no effect on a net that names one class for each image (leave it out)"


@pytest.mark.parametrize(
    ("task", "changes", "lines"),
    [
        ("segment", {}, []),
        ("segment", {"tile": 64, "boundary": 0.01, "flip": True}, []),
        ("segment", {"crops": "ten"}, [f"crops=ten {OF_MASKS}"]),
        (
            "segment",
            {"crops": "dense", "scales": (32, 48)},
            [f"crops=dense {OF_MASKS}", f"scales=32,48 {OF_MASKS}"],
        ),
        ("segment", {"robustness": ("noise", "hue")}, [f"robustness=noise,hue {OF_MASKS}"]),
        ("classify", {"crops": "ten", "scales": (32,), "robustness": ("noise",)}, []),
        (
            "classify",
            {"tile": 64, "boundary": 0.01},
            [f"tile=64 {OF_CLASSES}", f"boundary=0.01 {OF_CLASSES}"],
        ),
    ],
)
def test_a_key_is_refused_where_its_task_is_another(task, changes, lines: list[str]) -> None:
    found = rules_verbs.of_task(wanted(**changes), task)
    assert [str(one) for one in found] == lines
