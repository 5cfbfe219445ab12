"""Plans and runs as people read them."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from cnnctl.report.format import count, decibels, duration, megabytes, number, percent, shape
from cnnctl.report.table import columns, pairs

FIGURES = {"miou": "mean IoU", "dice": "Dice", "pixel_accuracy": "pixel accuracy", "psnr": "PSNR"}
UNITS = {"psnr": decibels, "mse": number}  # all others are shares


def plan(console: Console, data: dict[str, Any]) -> None:
    """What is about to be done."""
    net = f"{count(data['params'])} parameters · {count(data['macs'])} multiply-adds an image"
    plural = "s" if data["epochs"] > 1 else ""
    epochs = f"{data['epochs']} epoch{plural} of {count(data['steps_per_epoch'])}"
    scaled = f" ({data['scaling']})" if data["scaling"] else ""
    learning = f"learning rate {number(data['lr'])}{scaled} · {data['schedule']}"
    if data["warmup_steps"]:
        learning += f" after {count(data['warmup_steps'])} steps of warm-up"
    device = data["device"]
    rows = [
        ("net", f"{data['model']} · {net}"),
        *([("pretrained", _start(data["pretrained"]))] if data["pretrained"] else []),
        *([("transfer", _regime(data["transfer"], data["params"]))] if data["transfer"] else []),
        ("data", _images(data)),
        ("loading", _loading(data["feeds"])),
        ("steps", f"{count(data['steps'])}: {epochs} · global batch {data['global_batch']}"),
        ("augment", data["augment"]),
        ("optimizer", f"{data['optimizer']} · {learning}"),
        ("device", f"{_devices(device)} · {device['precision']}"),
        ("memory", f"a step will take {megabytes(data['memory']['peak'])}{_most(data['memory'])}"),
        ("seed", str(data["seed"])),
    ]
    whole = ("transfer", "run")
    pairs(console, [*rows, ("run", data["run"])] if "run" in data else rows, whole)
    if data["pretrained"] and data["pretrained"]["expects"]:
        wanted = " ".join(word.replace(" ", "") for word in data["pretrained"]["expects"])
        console.print(Text(f"the weights expect {wanted}", style="yellow"), soft_wrap=True)
    for split, feed in data["feeds"].items():
        if feed["why"] is not None:
            console.print(
                Text(f"{split} has no cache: {feed['why']}", style="yellow"), soft_wrap=True
            )
    for file, reason in data["skipped"].items():
        console.print(Text(f"left out: {file}: {reason}", style="yellow"), soft_wrap=True)


def trained(console: Console, data: dict[str, Any]) -> None:
    """The figures of a run and what to do next."""
    splits = [split for split in ("val", "test") if data[split]]
    best = f"epoch {data['best']['epoch']} of {data['epochs']}"
    _figures(console, best, [(split, data[split]) for split in splits])
    console.print()
    speed = f"{count(round(data['images_per_second']))} images/s"
    waiting = f"{100 * data['waiting']:.0f} % waiting for images"
    memory = f"process {megabytes(data['peak_memory_bytes'])}"
    rows = [
        ("time", f"{duration(data['seconds'])} · {speed} · {waiting} · {memory}"),
        ("memory", _checked(data["memory"])),
        ("weights", f"sha256 {data['weights_sha256'][:16]}…"),
        *([("wandb", _wandb(data["wandb"]))] if "wandb" in data else []),
        ("run", data["run"]),
        *([("masks", f"{data['run']}/{data['masks']}")] if "masks" in data else []),
    ]
    pairs(console, rows, ("wandb", "run", "masks"))
    console.print()
    console.print("next")
    config = f"{data['run']}/config.yaml"
    for command in (f"cnnctl evaluate {data['run']}", f"cnnctl train --config {config}"):
        console.print(f"  {command}", soft_wrap=True)


def _figures(console: Console, corner: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """Top-1, errors and loss by split; the top-5 error where there are more than five classes."""
    if "top1" not in rows[0][1]:
        names = [name for name in rows[0][1] if name != "loss"]
        head = (corner, *(FIGURES.get(name, name) for name in names), "loss")
        cells = [
            [
                split, *(UNITS.get(name, percent)(figures[name]) for name in names),
                number(figures["loss"]),
            ]
            for split, figures in rows
        ]  # fmt: skip
        columns(console, head, cells, text=(corner,))
        return
    many = all(figures["top5"] is not None for _, figures in rows)
    calibrated = all("ece" in figures for _, figures in rows)
    top5 = ("top-5 error",) if many else ()
    ece = ("calibration error",) if calibrated else ()
    head = (corner, "top-1", "top-1 error", *top5, "loss", *ece)
    cells = [
        [
            split, percent(figures["top1"]), percent(1 - figures["top1"]),
            *([percent(1 - figures["top5"])] if many else []), number(figures["loss"]),
            *([percent(figures["ece"])] if calibrated else []),
        ]
        for split, figures in rows
    ]  # fmt: skip
    columns(console, head, cells, text=(corner,))


def _images(data: dict[str, Any]) -> str:
    """`digits · 1×32×32 · 10 classes · train 24 × 16 windows · val 3`."""
    windows = {"train": f" × {data['windows']} windows"} if data["windows"] > 1 else {}
    sizes = [
        f"{split} {count(size)}{windows.get(split, '')}" for split, size in data["sizes"].items()
    ]
    told = [data["data"], shape(data["shape"]), f"{len(data['classes'])} classes", *sizes]
    return " · ".join(told)


def _loading(feeds: dict[str, Any]) -> str:
    """Where the pixels of each split come from: those of one kind together."""
    told: dict[str, list[str]] = {}
    size = sum(feed["bytes"] for feed in feeds.values() if feed["kind"] == "map")
    for split, feed in feeds.items():
        told.setdefault(_from(feed, size), []).append(split)
    if len(told) == 1:
        return next(iter(told))
    return " · ".join(f"{' '.join(splits)} {how}" for how, splits in told.items())


def _from(feed: dict[str, Any], cached: int) -> str:
    """From memory; from `cached` bytes that were decoded once; anew in every epoch."""
    if feed["kind"] == "memory":
        return "in memory"
    if feed["kind"] == "map":
        return f"decoded once, {megabytes(cached)} in the cache"
    if not feed["workers"]:
        return "decoded as it goes"
    many = f"{feed['workers']} process{'es' if feed['workers'] > 1 else ''}"
    return f"decoded by {many}, {megabytes(feed['bytes'])} ready in each"


def _regime(told: dict[str, Any], params: int) -> str:
    """Which layers learn, and how fast."""
    parts = [f"{told['name']}: {told['why']}"]
    parts.append(f"{count(told['learning'])} of {count(params)} parameters learn")
    if told["backbone_lr"] != 1 and told["name"] != "feature_extract":
        parts.append(f"{', '.join(told['new'])} at lr, the others at {told['backbone_lr']:g} x lr")
    if told["stages"]:
        every = "epoch" if told["unfreeze_every"] == 1 else f"{told['unfreeze_every']} epochs"
        parts.append(f"one more of {len(told['stages'])} stages every {every}")
    return " · ".join(parts)


def _most(memory: dict[str, Any]) -> str:
    """Of what the larger part is."""
    name, size = max(memory["at_peak"].items(), key=lambda item: item[1])
    return f", {megabytes(size)} of it {name.replace('_', ' ')}"


def _checked(memory: dict[str, Any]) -> str:
    """Predicted and measured, and how far apart they are."""
    predicted = f"predicted {megabytes(memory['predicted'])}"
    if memory["measured"] is None:
        return f"{predicted} · not measured: it takes a second step"
    measured = f"measured {megabytes(memory['measured'])} · {100 * memory['error']:+.2f} %"
    return f"{predicted} · {measured}"


def _start(told: dict[str, Any]) -> str:
    """The weights that training starts from, and what did not match."""
    parts = [told["source"], f"{told['tensors']} tensors"]
    parts += [f"{word}: {', '.join(told[word])}" for word in ("new", "unused") if told[word]]
    return " · ".join(parts)


def _wandb(told: dict[str, Any]) -> str:
    """Where the figures are, or how to send them there."""
    where = told.get("url") or told.get("sync")
    return f"{told['mode']} · {where}" if where else told["mode"]


def _devices(device: dict[str, Any]) -> str:
    """1 cpu (2 threads); GPUs 0, 1 (NVIDIA H200); 2 nodes of 4 gpu."""
    devices = device["devices"]
    local = f"{devices} {device['accelerator']}"
    if not isinstance(devices, int):
        local = f"{device['accelerator']} {', '.join(map(str, devices))}"
    nodes = f"{device['num_nodes']} nodes of " if device["num_nodes"] > 1 else ""
    return f"{nodes}{local} ({device['name']})"
