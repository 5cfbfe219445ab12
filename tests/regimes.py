"""Regimes of transfer learning, for ResNet-20 or another net, on so many images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from zoo import on_meta

from cnnctl import runs, transfer
from cnnctl.config import paths
from cnnctl.config.read import read
from cnnctl.config.schema import Hardware, Transfer
from cnnctl.errors import ConfigError
from cnnctl.nets.net import Net
from cnnctl.transfer import Regime

BODY = ("conv1", "conv1_norm", "conv2_1", "conv2_2", "conv2_3",
        "conv3_1", "conv3_2", "conv3_3", "conv4_1", "conv4_2", "conv4_3")  # fmt: skip
T = TypeVar("T")


def option(group: str, name: str, cls: type[T], **changes: Any) -> T:
    """An option of a group, with some keys set."""
    values = runs.read_config(paths.conf_dir() / group / f"{name}.yaml")
    found, problems = read(cls, values | changes, group)
    assert problems == []
    assert found is not None
    return found


def settle(
    name: str, net: Net | None = None, *, shape=(3, 32, 32), images: int = 500, classes: int = 10,
    epochs: int = 10, new=("fc.weight", "fc.bias"), nodes: int = 1, **changes: Any,
) -> Regime:  # fmt: skip
    """The regime for ResNet-20, or another net, on so many images."""
    train: Any = SimpleNamespace(
        transfer=option("transfer", name, Transfer, **changes),
        trainer=SimpleNamespace(max_epochs=epochs),
        hardware=option("hardware", "cpu", Hardware, num_nodes=nodes),
        data=SimpleNamespace(channels=shape[0], size=shape[1]),
    )  # fmt: skip
    source: Any = SimpleNamespace(sizes={"train": images}, classes=("",) * classes)
    made = on_meta("resnet20", shape, classes) if net is None else net
    regime = transfer.settle(train, made, source, new)
    assert regime is not None
    return regime


def refused(*args: Any, **changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        settle(*args, **changes)
    return str(caught.value)
