"""The figures below the layer table: totals, a training step, budgets, published figures."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from cnnctl.report.format import count, megabytes
from cnnctl.report.table import columns, pairs

MB, MIB, MILLION = 1e6, 2**20, 1e6
CONVENTION = ("rows", "slides", "outputs")
SLIDES = (
    "The slides print 24M values and 93MB (or 96MB) for VGG-16. Their own rows add up to {rows} "
    "values, {mb} MB or {mib} MiB. {slides} values, {slides_mib} MiB, come out if the inputs of "
    "convolutions and dense layers are counted once more (memory=slides): a numerical match, "
    "not a documented intent."
)


def totals(console: Console, net: dict[str, Any]) -> None:
    """What one image costs, and what a training step needs."""
    totals, made = net["totals"], net["memory"]
    extra = [
        f"{word} {count(number)}"
        for word, number in (
            ("frozen", totals["frozen"]), ("buffers", totals["buffers"]),
            ("not used in this pass", totals["unused"]["params"]),
        )
        if number
    ]  # fmt: skip
    params = f"{count(totals['params'])} · {count(totals['weights'])} without biases"
    macs = f"{totals['macs'] / MILLION:,.1f} M forward"
    if totals["training_macs"]:
        back = totals["training_macs"]["backward"]
        macs += f" · {back / MILLION:,.1f} M backward"
    rows = [("parameters", " · ".join([params, *extra]))]
    rows += [("macs", f"{macs} · FLOPs are twice as many")]
    rows += [("depth", f"{totals['weight_layers']} weight layers on the longest path")]
    for name in CONVENTION:
        one = totals["conventions"][name]
        mark = "  ← above" if name == net["convention"] else ""
        rows.append((name, f"{count(one['values']):>13} values {_both(one['bytes'])}{mark}"))
    rows.append(("inference", f"{'':>20} {_both(totals['inference_peak_bytes'])}"))
    console.print(Text("one image", style="bold underline"))
    pairs(console, rows)
    console.print()
    step = f"one training step of {made['batch_size']} images"
    console.print(Text(step, style="bold underline"), end="")
    console.print(f"  {made['precision']} · {made['optimizer']} · {made['accelerator']}")
    if made["peak"] is None:
        console.print(Text(f"not available: {made['reason']}", style="yellow"), soft_wrap=True)
        return
    where = made["where"]
    layer = f" of {where['layer']}" if where["layer"] else ""
    pairs(console, [
        ("peak", f"{_both(made['peak'])}  {where['phase']}{layer}, {where['op']}"),
        *((name.replace("_", " "), _both(size)) for name, size in made["at_peak"].items()),
        ("kept", f"{_both(made['activations'])}  activations for the backward pass"),
    ])  # fmt: skip


def budgets(console: Console, net: dict[str, Any]) -> None:
    """The largest batch for each budget, where any is asked for."""
    if "budget" not in net:
        return
    console.print()
    rows = [
        [
            one["name"], count(one["batch_size"]) if one["batch_size"] else "none",
            megabytes(one["peak"]), megabytes(one["reserve"]),
            "fits" if one["fits"] else "does not fit",
        ]
        for one in net["budget"]
    ]  # fmt: skip
    wanted = f"batch {net['budget'][0]['wanted']}"
    head = ("budget", "largest batch", "its tensors", "reserve", wanted)
    columns(console, head, rows, text=("budget", wanted))
    if net["memory"]["accelerator"] == "gpu":
        dim(console, "reserve: context and fragments, estimated and not calibrated on a GPU")


def what_if(console: Console, net: dict[str, Any]) -> None:
    """The peak of a step made otherwise, where it is asked for."""
    if "what_if" not in net:
        return
    console.print()
    batches = sorted({one["batch_size"] for one in net["what_if"]})
    peaks: dict[tuple[str, str], list[str]] = {}
    for one in net["what_if"]:
        peaks.setdefault((one["precision"], one["optimizer"]), []).append(mb(one["peak"], 0))
    head = ("precision", "optimizer", *(f"batch {batch}" for batch in batches))
    rows = [[*made, *cells] for made, cells in peaks.items()]
    columns(console, head, rows, text=("precision", "optimizer"))
    dim(console, "MB at the peak of a training step")


def against(console: Console, rows: list[dict[str, Any]] | None) -> None:
    """Computed beside published figures, where it is asked for."""
    if rows is None:
        return
    console.print()
    if not rows:
        console.print("no published figures of this net are known here")
        return
    cells = [
        [
            row["net"],
            row["what"],
            row["printed"],
            "n/a" if row["computed"] is None else count(row["computed"]),
            "n/a" if row["deviation"] is None else f"{row['deviation']:+.1%}",
            row["source"],
        ]
        for row in rows
    ]
    head = ("net", "figure", "published", "computed", "deviation", "source")
    columns(console, head, cells, text=("net", "figure", "source"), gives=("source",),
            drops=("net",))  # fmt: skip


def notes(console: Console, net: dict[str, Any]) -> None:
    """What the columns mean, and why the slides' total for VGG-16 is another one."""
    layers = net["layers"]
    console.print()
    meaning = net["totals"]["conventions"][net["convention"]]["meaning"]
    dim(console, f"values, MB: {meaning} (memory={net['convention']})")
    dim(console, f"kept MB: for the backward pass, batch {net['memory']['batch_size']}")
    star = "; *: the window sees nothing new" if any(x["sees_enough"] for x in layers) else ""
    dim(console, f"field: pixels that one value sees, all: the whole image{star}")
    rows, slides = (net["totals"]["conventions"][name] for name in ("rows", "slides"))
    if net["name"] in {"vgg16", "vgg_d"} and net["input"] == [3, 224, 224]:
        console.print()
        dim(console, SLIDES.format(
            rows=count(rows["values"]), mb=mb(rows["bytes"]), mib=f"{rows['bytes'] / MIB:.1f}",
            slides=count(slides["values"]), slides_mib=f"{slides['bytes'] / MIB:.2f}",
        ))  # fmt: skip


def dim(console: Console, text: str) -> None:
    """A line that steps back."""
    console.print(Text(text, style="dim"))


def mb(size: int | None, digits: int = 2) -> str:
    """Bytes in MB; n/a for what is not available."""
    return "n/a" if size is None else f"{size / MB:,.{digits}f}"


def _both(size: int) -> str:
    return f"{size / MB:>10,.2f} MB {size / MIB:>10,.2f} MiB"
