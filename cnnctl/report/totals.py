"""The figures below the layer table: totals, a training step, budgets, published figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from cnnctl.report.format import count, megabytes
from cnnctl.report.table import columns, pairs

MIB = 2**20
DECIMAL = {"k": 1e3, "M": 1e6}
BINARY = {"k": 2**10, "M": MIB}
SMALL = 1e7  # of a total: below it most layers would be 0.0 M
CONVENTION = ("rows", "slides", "outputs")
SLIDES = (
    "The slides print 24M values and 93MB (or 96MB) for VGG-16. Their own rows add up to {rows} "
    "values, {mb} MB or {mib} MiB. {slides} values, {slides_mib} MiB, come out if the inputs of "
    "convolutions and dense layers are counted once more (memory=slides): a numerical match, "
    "not a documented intent."
)


def totals(console: Console, net: dict[str, Any]) -> None:
    """What one image costs, and what a training step needs."""
    told = net["totals"]
    params = f"{count(told['params'])} · {count(told['weights'])} without biases"
    extra = [
        f" · {word} {count(number)}"
        for word, number in (
            ("frozen", told["frozen"]), ("buffers", told["buffers"]),
            ("not used in this pass", told["unused"]["params"]),
        )
        if number
    ]  # fmt: skip
    of = unit(told["macs"])
    macs = f"{scaled(told['macs'], of, 1)} {of} forward"
    if told["training_macs"]:
        macs += f" · {scaled(told['training_macs']['backward'], of, 1)} {of} backward"
    depth = _plural(told["weight_layers"], "weight layer")
    rows = [
        ("parameters", "".join([params, *extra])),
        ("macs", f"{macs} · FLOPs are twice as many"),
        ("depth", f"{depth} on the longest path"),
    ]
    of = unit(told["conventions"]["rows"]["bytes"])
    for name in CONVENTION:
        one = told["conventions"][name]
        mark = "  ← above" if name == net["convention"] else ""
        rows.append((name, f"{count(one['values']):>13} values {_both(one['bytes'], of)}{mark}"))
    peak = _both(told["inference_peak_bytes"], of)
    rows.append(("inference", f"{'':>20} {peak}  alive at most"))
    console.print(Text("one image", style="bold underline"))
    pairs(console, rows)
    console.print()
    _step(console, net)


def _step(console: Console, net: dict[str, Any]) -> None:
    """The peak of a training step, where it is, and what it is made of."""
    made = net["memory"]
    images, *how = _setting(made)
    console.print(Text(f"one training step of {images}", style="bold underline"), end="")
    console.print(f"  {' · '.join(how)}")
    if made["peak"] is None:
        console.print(Text(f"not available: {made['reason']}", style="yellow"), soft_wrap=True)
        return
    where, of = made["where"], unit(made["peak"])
    layer = f" of {where['layer']}" if where["layer"] else ""
    kept = net["totals"]["conventions"]["saved"]["bytes"]
    pairs(console, [
        ("peak", _both(made["peak"], of)),
        ("reached in", f"{where['phase']}{layer}, {where['op']}"),
        *((name.replace("_", " "), _both(size, of)) for name, size in made["at_peak"].items()),
        ("kept", f"{_both(kept, of)}  for the backward pass"),
        *_skips(made["skips"], kept, of),
    ], whole=("reached in",))  # fmt: skip


def _skips(size: int, kept: int, of: str) -> list[tuple[str, str]]:
    """What of it only joins need, where there are any."""
    told = f"{100 * size / kept:.1f} % of these: copies of earlier maps in concatenations"
    return [("skips", f"{_both(size, of)}  {told}")] if size else []


def steps(console: Console, nets: Sequence[dict[str, Any]]) -> None:
    """How the steps of several nets are made, in one line where all are alike."""
    made = [" · ".join(_setting(net["memory"])) for net in nets]
    if len(set(made)) == 1:
        dim(console, f"step: {made[0]}")
    else:
        for net, how in zip(nets, made, strict=True):
            dim(console, f"step of {net['name']}: {how}")
    for net in nets:
        if net["memory"]["peak"] is None:
            text = f"no step of {net['name']}: {net['memory']['reason']}"
            console.print(Text(text, style="yellow"), soft_wrap=True)


def _setting(made: dict[str, Any]) -> list[str]:
    """32 images, 32-true, adam, cpu; 4 × 32 images where gradients of batches are added up."""
    times = f"{made['accumulate']} × " if made["accumulate"] > 1 else ""
    layout = ["channels last"] if made["channels_last"] else []
    images = times + _plural(made["batch_size"], "image")
    return [images, made["precision"], made["optimizer"], made["accelerator"], *layout]


def budgets(console: Console, nets: Sequence[dict[str, Any]]) -> None:
    """The largest batch for each budget, where any is asked for."""
    rows = [
        [
            net["name"], one["name"], *_largest(one), megabytes(one["reserve"]),
            f"{one['wanted']} {'fits' if one['fits'] else 'does not fit'}",
        ]
        for net in nets
        for one in net.get("budget", ())
    ]  # fmt: skip
    if not rows:
        return
    console.print()
    head = ("net", "budget", "largest batch", "its tensors", "reserve", "batch")
    own = slice(0 if len(nets) > 1 else 1, None)  # of one net the name is known
    columns(console, head[own], [row[own] for row in rows], text=("net", "budget", "batch"),
            gives=head[own][:1])  # fmt: skip
    if any(net["memory"]["accelerator"] == "gpu" for net in nets):
        dim(console, "reserve: context and fragments, estimated and not calibrated on a GPU")


def _largest(fit: dict[str, Any]) -> tuple[str, str]:
    """A batch and its tensors, if any batch fits."""
    largest = fit["batch_size"]
    return (count(largest), megabytes(fit["peak"])) if largest else ("none", "–")


def what_if(console: Console, net: dict[str, Any], *, named: bool) -> None:
    """The peak of a step made otherwise, where it is asked for."""
    if "what_if" not in net:
        return
    console.print()
    of = unit(max(one["peak"] or 0 for one in net["what_if"]))
    batches = sorted({one["batch_size"] for one in net["what_if"]})
    peaks: dict[tuple[str, str], list[str]] = {}
    for one in net["what_if"]:
        cells = peaks.setdefault((one["precision"], one["optimizer"]), [])
        cells.append(scaled(one["peak"], of, 0))
    if named:
        console.print(Text(net["name"], style="bold underline"))
    head = ("precision", "optimizer", *(f"batch {batch}" for batch in batches))
    rows = [[*made, *cells] for made, cells in peaks.items()]
    columns(console, head, rows, text=("precision", "optimizer"))
    dim(console, f"{of}B at the peak of a training step")


def against(console: Console, rows: list[dict[str, Any]] | None) -> None:
    """Computed beside published figures, where it is asked for."""
    if rows is None:
        return
    console.print()
    if not rows:
        console.print("no published figures are known here")
        return
    cells = [
        [
            row["net"], row["what"], row["printed"],
            "n/a" if row["computed"] is None else count(row["computed"]),
            "n/a" if row["deviation"] is None else f"{100 * row['deviation']:+.1f} %",
            row["source"],
        ]
        for row in rows
    ]  # fmt: skip
    head = ("net", "figure", "published", "computed", "deviation", "source")
    own = slice(0 if len({row["net"] for row in rows}) > 1 else 1, None)
    columns(console, head[own], [row[own] for row in cells], text=("net", "figure", "source"),
            gives=("source", "figure"))  # fmt: skip


def notes(console: Console, net: dict[str, Any], *, folded: bool) -> None:
    """What the columns mean, and why the slides' total for VGG-16 is another one."""
    layers, convention = net["layers"], net["convention"]
    conventions = net["totals"]["conventions"]
    rows, slides = conventions["rows"], conventions["slides"]
    console.print()
    meaning = f"{conventions[convention]['meaning']} (memory={convention})"
    of_batch = conventions[convention]["values"] is None
    dim(console, meaning if of_batch else f"values, {unit(rows['bytes'])}B: {meaning}")
    star = "; *: the window sees nothing new" if any(x["sees_enough"] for x in layers) else ""
    dim(console, f"field: pixels that one value sees, all: the whole image{star}")
    if folded:
        dim(console, "×: so many equal blocks, each of them as its row and the rows below it")
    if net["name"] in {"vgg16", "vgg_d"} and net["input"] == [3, 224, 224]:
        console.print()
        dim(console, SLIDES.format(
            rows=count(rows["values"]), mb=f"{rows['bytes'] / 1e6:.2f}",
            mib=f"{rows['bytes'] / MIB:.1f}",
            slides=count(slides["values"]), slides_mib=f"{slides['bytes'] / MIB:.2f}",
        ))  # fmt: skip


def dim(console: Console, text: str) -> None:
    """A line that steps back."""
    console.print(Text(text, style="dim"))


def unit(largest: float) -> str:
    """The prefix k or M in which a table with this total shows more than zeros."""
    return "k" if largest < SMALL else "M"


def scaled(number: float | None, of: str, digits: int = 2) -> str:
    """A count or bytes in thousands (k) or millions (M); n/a for what is not available."""
    return "n/a" if number is None else f"{number / DECIMAL[of]:,.{digits}f}"


def _both(size: int, of: str) -> str:
    """Bytes in powers of ten and of two."""
    return f"{scaled(size, of):>10} {of}B {size / BINARY[of]:>10,.2f} {of.upper()}iB"


def _plural(number: int, thing: str) -> str:
    return f"{count(number)} {thing}{'s' * (number != 1)}"
