"""What must hold for every net of conf/model."""

from __future__ import annotations

import pytest
import torch
import yaml
from zoo import FILES, count, on_meta, spec

from cnnctl.config import paths
from cnnctl.nets.costs import cost

REFERENCE = yaml.safe_load(
    (paths.conf_dir().parent / "tests" / "nets" / "reference.yaml").read_text(encoding="utf-8")
)


def test_every_net_has_a_reference() -> None:
    assert sorted(REFERENCE) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_parameters_and_multiply_adds_are_those_of_the_reference(name: str) -> None:
    made, wanted = spec(name), REFERENCE[name]
    found = cost(made, num_classes=made.classes, shape=made.input)
    assert found.params == wanted["params"]
    assert found.macs == wanted.get("macs", found.macs)


@pytest.mark.parametrize("name", FILES)
def test_the_layers_add_up_and_the_output_has_one_value_per_class(name: str) -> None:
    net = on_meta(name).eval()
    own = [
        parameter.numel()
        for layer in net.modules()
        for parameter in layer.parameters(recurse=False)
    ]
    assert sum(own) == count(net)
    made = spec(name)
    with torch.no_grad():
        assert net(torch.empty(2, *made.input, device="meta")).shape == (2, made.classes)
