from __future__ import annotations

from typing import Any

import pytest

from cnnctl.errors import ExportError
from cnnctl.export import integers


def figures(n: int, right: int, lost: int, won: int, agreed: float = 1.0) -> dict[str, Any]:
    return {
        "n": n, "top1_eager": right / n, "top1_export": (right - lost + won) / n,
        "only_eager_right": lost, "only_export_right": won, "top1_agreement": agreed, "raw": None,
    }  # fmt: skip


def test_the_loss_has_an_interval_and_a_p_value() -> None:
    found = integers.lost(figures(256, 240, 6, 2), drop=0.02)
    assert found["top1_lost"] == pytest.approx(4 / 256)
    low, high = found["interval"]
    assert low < 0 < found["top1_lost"] < high
    assert found["p"] == pytest.approx(2 * (1 + 8 + 28) / 256)  # of two or fewer of eight
    assert found["drop"] == 0.02


def test_nothing_lost_is_no_evidence_of_a_loss() -> None:
    found = integers.lost(figures(256, 240, 0, 0), drop=0.0)
    assert (found["top1_lost"], found["p"]) == (0, 1)
    assert found["interval"][0] < 0 < found["interval"][1]


def test_more_than_drop_is_refused_with_its_interval() -> None:
    with pytest.raises(ExportError) as caught:
        integers.lost(figures(250, 200, 25, 0), drop=0.02)
    assert caught.value.message.startswith(
        "int8 loses 10.00 points of top-1, 2.00 may go; 95 % interval "
    )
    assert caught.value.message.endswith("on 250 images")
    assert caught.value.hint == "nothing was kept; drop=0.1 would take it"


def raw(**more: Any) -> dict[str, Any]:
    return figures(256, 240, 2, 0, 0.98) | {"raw": figures(**more)}


def test_few_images_of_other_sizes_may_lose_one_by_chance() -> None:
    integers.require_resized(raw(n=32, right=30, lost=1, won=0, agreed=31 / 32), drop=0.02)
    integers.require_resized(figures(256, 240, 2, 0), drop=0.02)


def test_images_of_other_sizes_that_are_answered_worse_are_refused() -> None:
    with pytest.raises(ExportError, match="points of top-1") as caught:
        integers.require_resized(raw(n=32, right=30, lost=12, won=0, agreed=0.6), drop=0.02)
    assert "on images of other sizes, 2.00 may go" in caught.value.message


def test_without_right_answers_the_same_classes_must_be_named() -> None:
    with pytest.raises(ExportError, match="on images of other sizes int8 names the net's class in"):
        integers.require_resized(raw(n=32, right=3, lost=3, won=3, agreed=0.25), drop=0.02)
