"""Nets as the documents of their audits."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn
from zoo import on_meta, spec

from cnnctl.audit.budget import MOMENTUM
from cnnctl.audit.document import Subject, audit
from cnnctl.audit.step import Setting
from cnnctl.config.learning import Adam

ADAM = Adam(
    name="adam", lr=0.001, weight_decay=0, scaling="none", reference_batch=256,
    decay_norms=True, layer_decay=None,
    betas=(0.9, 0.999), eps=1e-8,
)  # fmt: skip


def subject(name: str, shape: tuple[int, int, int] | None = None, **changes: Any) -> Subject:
    """A net of the zoo, by default on the paper's image."""
    made = spec(name, **changes)
    return Subject(name, on_meta(name, shape, **changes), shape or made.input, made.paper)


def chain(shape: tuple[int, int, int], **layers: nn.Module) -> Subject:
    """Layers in a row under their names, on images of a shape (C, H, W)."""
    return Subject("chain", nn.Sequential(OrderedDict(layers)), shape)


def told(net: Subject, memory: str = "rows", batch_size: int = 2, **setting: Any) -> dict[str, Any]:
    """The document of a net that is trained with SGD and momentum."""
    return audit(net, Setting(batch_size, MOMENTUM, **setting), memory)


def layer(net: dict[str, Any], name: str) -> dict[str, Any]:
    """The first row of that name."""
    return next(one for one in net["layers"] if one["name"] == name)


NORMED = chain((3, 1, 1), conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4), flat=nn.Flatten())
