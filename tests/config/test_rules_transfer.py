from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from cnnctl import runs
from cnnctl.config import paths
from cnnctl.config.read import read
from cnnctl.config.rules_transfer import IDLE, USED, alone, transfer
from cnnctl.config.schema import Transfer

REGIMES = ("none", "auto", "feature_extract", "finetune_top", "finetune_all")
NEEDS = "needs weights to start from (pretrained=torchvision, a file or a run)"


def chosen(name: str, **changes: Any) -> Transfer:
    """An option of the group, with some keys set."""
    option = runs.read_config(paths.conf_dir() / "transfer" / f"{name}.yaml")
    found, problems = read(Transfer, option | changes, "transfer")
    assert problems == []
    assert found is not None
    return found


def broken(
    name: str, pretrained: str | None = "file.pth", devices: Any = 1, nodes: int = 1, **changes: Any
) -> list[tuple[str, str | None]]:
    parts = {
        "transfer": chosen(name, **changes), "pretrained": pretrained,
        "hardware": SimpleNamespace(devices=devices, num_nodes=nodes),
    }  # fmt: skip
    return [(str(problem), problem.key) for problem in transfer(parts)]


@pytest.mark.parametrize("name", REGIMES)
def test_every_option_is_right_as_it_stands(name) -> None:
    assert chosen(name).name == name
    assert broken(name) == []


@pytest.mark.parametrize("name", REGIMES[1:])
def test_a_regime_needs_weights_to_start_from(name) -> None:
    assert broken(name, pretrained=None) == [(f"transfer={name} {NEEDS}", "pretrained")]


def test_without_a_regime_a_net_may_start_from_nothing() -> None:
    assert broken("none", pretrained=None) == []


@pytest.mark.parametrize(
    ("name", "changes", "text"),
    [
        (
            "none",
            {"freeze_until": "conv4_1"},
            (
                "transfer.freeze_until='conv4_1' has no effect with transfer=none "
                "(transfer=finetune_top, or set transfer.freeze_until=null)"
            ),
        ),
        (
            "finetune_all",
            {"freeze_until": "conv4_1"},
            (
                "transfer.freeze_until='conv4_1' has no effect with transfer=finetune_all "
                "(transfer=finetune_top, or set transfer.freeze_until=null)"
            ),
        ),
        (
            "none",
            {"backbone_lr": 0.5},
            (
                "transfer.backbone_lr=0.5 has no effect with transfer=none "
                "(set transfer.backbone_lr=1)"
            ),
        ),
        (
            "feature_extract",
            {"backbone_lr": 0.1},
            (
                "transfer.backbone_lr=0.1 has no effect with transfer=feature_extract "
                "(set transfer.backbone_lr=1)"
            ),
        ),
        (
            "feature_extract",
            {"unfreeze_every": 2},
            (
                "transfer.unfreeze_every=2 has no effect with transfer=feature_extract "
                "(set transfer.unfreeze_every=null)"
            ),
        ),
        (
            "finetune_all",
            {"freeze_norm": False},
            (
                "transfer.freeze_norm=false has no effect with transfer=finetune_all "
                "(set transfer.freeze_norm=true)"
            ),
        ),
    ],
)
def test_a_key_without_effect_is_refused(name, changes, text) -> None:
    (key,) = changes
    assert broken(name, **changes) == [(text, f"transfer.{key}")]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("auto", {"backbone_lr": 1, "freeze_norm": False, "unfreeze_every": 1}),
        ("feature_extract", {"freeze_norm": False}),
        ("finetune_top", {"freeze_until": "conv4_1", "freeze_norm": False, "unfreeze_every": 3}),
        ("finetune_all", {"backbone_lr": 0.5}),
        ("finetune_all", {"unfreeze_every": 1, "freeze_norm": False}),
    ],
)
def test_keys_that_do_something_are_allowed(name, changes) -> None:
    assert broken(name, **changes) == []


def test_all_keys_of_the_section_but_its_name_are_known() -> None:
    assert set(USED) == set(REGIMES)
    assert {"name", *IDLE} == set(vars(chosen("none")))
    for name in REGIMES:
        idle = replace(chosen(name), **IDLE)
        assert list(transfer({"transfer": idle})) == []


@pytest.mark.parametrize(
    ("devices", "nodes", "given"), [(2, 1, 2), ((0, 1, 3), 1, 3), (1, 2, 2), ("auto", 4, 4)]
)
def test_unfreezing_step_by_step_wants_one_device(devices, nodes, given) -> None:
    text = f"transfer.unfreeze_every works on one device, got {given} "
    found = broken("finetune_all", devices=devices, nodes=nodes, unfreeze_every=1)
    assert found == [(text + "(set transfer.unfreeze_every=null)", "transfer.unfreeze_every")]
    assert broken("finetune_all", devices=devices, nodes=nodes) == []


@pytest.mark.parametrize("devices", [1, (3,), "auto"])
def test_one_device_may_unfreeze_step_by_step(devices) -> None:
    assert broken("finetune_top", devices=devices, unfreeze_every=1) == []
    assert list(alone(1)) == []


def test_all_broken_rules_are_told_at_once() -> None:
    found = broken("feature_extract", None, 2, freeze_until="fc", backbone_lr=0.5, unfreeze_every=1)
    keys = ("freeze_until", "backbone_lr", "unfreeze_every", "unfreeze_every")
    assert [about for _, about in found] == ["pretrained", *(f"transfer.{key}" for key in keys)]


def test_rules_are_checked_for_the_sections_that_can_be_read() -> None:
    gradual = chosen("finetune_all", unfreeze_every=1)
    assert list(transfer({})) == []
    assert list(transfer({"transfer": gradual})) == []
    assert list(transfer({"pretrained": None})) == []
