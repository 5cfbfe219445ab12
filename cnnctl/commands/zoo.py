"""cnnctl bench --zoo: many nets side by side, and two charts of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from math import inf
from pathlib import Path
from typing import Any

from cnnctl import runs
from cnnctl.commands.cases import Target
from cnnctl.config import verbs

# as in Canziani, Paszke, Culurciello 2016, and what came after; all have a twin in torchvision
NETS = (
    "alexnet_tv", "vgg11", "vgg16", "vgg19", "googlenet_tv", "inception_v3",
    "resnet18", "resnet34", "resnet50_v1_5", "resnet101_v1_5", "resnet152_v1_5",
    "wide_resnet50_2", "resnext50_32x4d", "densenet121", "densenet161", "mobilenet_v2",
    "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "efficientnet_b0", "efficientnet_b1",
    "efficientnet_b3",
)  # fmt: skip
STATED = "ImageNet, as torchvision states it for its first weights"


def single(bench: verbs.Bench, given: Collection[str]) -> verbs.Bench:
    """One image at once, in torch as it is, unless something else is asked for."""
    batch = bench.batch if "batch" in given else (1,)
    return dataclasses.replace(bench, batch=batch, engines=bench.engines or ("eager",))


def finish(
    data: dict[str, Any], targets: Sequence[Target], picture: Path | None, *, plain: bool
) -> None:
    """Add top-1 where it is known, sort by time (those without one come last), and draw.

    `plain`: the nets are those of their papers, on images of their papers' size.
    """
    for net, target in zip(data["nets"], targets, strict=True):
        net.update(known(target, plain=plain))
    data["nets"].sort(key=lambda net: net["rows"][0]["median"] if net["rows"] else inf)
    data["plot"] = None
    if picture is not None:
        from cnnctl.report import bench_charts

        data["plot"] = bench_charts.save(data, picture)


def known(target: Target, *, plain: bool) -> dict[str, Any]:
    """`top1` and of which images it is: a run's own test, or what torchvision states of a twin."""
    if target.one is not None and target.one.folder is not None:
        result = runs.read_result(target.one.folder) or {}
        top1 = result.get("test", {}).get("top1")
        if top1 is not None and target.one.file.name == runs.BEST:
            return {"top1": top1, "top1_of": f"test split of {target.one.train.data.name}"}
    if target.model is not None and plain:
        twin = str(target.model.get("twin") or "")
        if twin.startswith("torchvision/"):
            from cnnctl.audit.lectures import torchvision_top1

            top1 = float(torchvision_top1(twin.removeprefix("torchvision/")) / 100)
            return {"top1": top1, "top1_of": STATED}
    return {"top1": None, "top1_of": None}
