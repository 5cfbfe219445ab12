from __future__ import annotations

import pytest
from audited import chain, subject, told
from torch import nn

from cnnctl.audit import sizes
from cnnctl.audit.budget import MOMENTUM
from cnnctl.audit.document import Subject
from cnnctl.audit.step import Setting
from cnnctl.errors import NetError

SETTING = Setting(2, MOMENTUM)


def unframed(side: int) -> Subject:
    made = subject("unet", (1, side, side), widths=[4, 8, 16])
    made.net.framed = False  # pyright: ignore[reportArgumentType] - a Segmenter
    return made


def test_a_row_has_the_figures_of_the_audit_at_that_size() -> None:
    made = subject("lenet5")
    found, whole = sizes.row(made, SETTING, 32), told(made)
    assert set(found) == {"side", *sizes.FIGURES, "refused"}
    assert (found["input"], found["output"], found["refused"]) == ([1, 32, 32], [10], None)
    totals = whole["totals"]
    assert found["activations"] == totals["conventions"]["rows"]["values"]
    assert found["bytes"] == totals["conventions"]["rows"]["bytes"]
    for key in ("params", "macs", "inference_peak_bytes"):
        assert found[key] == totals[key]
    assert found["peak"] == whole["memory"]["peak"]


@pytest.mark.parametrize(("side", "left"), [(60, 20), (100, 60)])
def test_the_field_stays_and_its_share_falls_as_images_grow(side, left) -> None:
    found = sizes.row(unframed(side), SETTING, side)
    assert found["output"] == [2, left, left]
    assert found["receptive_field"] == 44
    assert found["share"] == 44 / side
    assert found["sees_all"] is False


def test_costs_grow_with_the_area_and_parameters_do_not() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1))
    small, large = (
        sizes.row(Subject("two", net, (1, side, side)), SETTING, side) for side in (16, 32)
    )
    assert small["params"] == large["params"]
    for key in ("macs", "activations", "bytes"):
        assert large[key] == 4 * small[key]
    assert small["macs"] == 16 * 16 * 9 * (4 + 8)
    assert (small["receptive_field"], small["share"], large["share"]) == (5, 5 / 16, 5 / 32)


def test_a_net_that_cannot_be_trained_at_a_size_has_its_other_figures() -> None:
    made = chain((3, 1, 1), norm=nn.BatchNorm2d(3))
    found = sizes.row(made, Setting(1, MOMENTUM), 1)
    assert found["peak"] is None
    assert found["refused"].startswith("a batch of 1 cannot be trained on")
    assert found["output"] == [3, 1, 1]


def test_behind_global_pooling_all_is_seen() -> None:
    made = chain((1, 8, 8), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(1, 2))
    found = sizes.row(made, SETTING, 8)
    assert (found["receptive_field"], found["share"], found["sees_all"]) == (None, None, True)


def test_a_size_that_is_refused_has_the_reason_and_no_figures() -> None:
    found = sizes.refused(7, NetError("too small"))
    assert found == {"side": 7, **dict.fromkeys(sizes.FIGURES), "refused": "too small"}
