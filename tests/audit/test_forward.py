from __future__ import annotations

import json
from importlib.resources import files

import pytest
import torch
from zoo import FILES, spec

from cnnctl.audit.forward import Cost, cost
from cnnctl.errors import NetError


def test_the_shipped_table_is_what_is_computed(overwrite: bool) -> None:  # noqa: FBT001 - a fixture
    table = {}
    for name in FILES:
        net = spec(name)
        table[name] = cost(net, num_classes=net.classes, shape=net.input)._asdict()
    shipped = files("cnnctl.nets") / "costs.json"
    text = json.dumps(table, indent=2) + "\n"
    if overwrite:
        shipped.write_text(text, encoding="utf-8")
    assert shipped.read_text(encoding="utf-8") == text


def test_the_costs_of_lenet5_add_up_by_hand() -> None:
    convolutions = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 6 * 25 + 120 * 16 * 25
    macs = convolutions + 120 * 84 + 84 * 10
    assert cost(spec("lenet5"), num_classes=10, shape=(1, 32, 32)) == Cost(61_706, macs)


def test_the_costs_follow_the_classes_and_the_shape() -> None:
    narrow = cost(spec("mlp", hidden=[7]), num_classes=3, shape=(3, 4, 5))
    assert narrow == Cost(params=60 * 7 + 7 + 7 * 3 + 3, macs=60 * 7 + 7 * 3)


def test_counting_leaves_the_random_state_as_it_was() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    cost(spec("lenet5"), num_classes=10, shape=(1, 32, 32))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.zeros(1).device.type == "cpu"


def test_counting_allocates_nothing() -> None:
    wide = spec("mlp", hidden=[1_000_000, 1_000_000])
    assert cost(wide, num_classes=10, shape=(1, 32, 32)).macs == 1_001_034_000_000


def test_counting_refuses_what_cannot_be_built() -> None:
    with pytest.raises(NetError, match=r"too small for layer 'c1': \(3 − 5\)/1 \+ 1 = -1"):
        cost(spec("lenet5"), num_classes=10, shape=(1, 3, 3))
