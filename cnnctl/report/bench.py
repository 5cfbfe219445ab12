"""Times of nets as tables: one for each net, or one of many nets."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from cnnctl.report.format import count, duration, megabytes, number, percent, shape
from cnnctl.report.table import columns, pairs

MILLI, MEGA, GIGA, TERA = 1e3, 1e6, 1e9, 1e12
TENS = 1e7
ROWS = (
    "engine", "batch", "median ms", "p95 ms", "images/s", "GFLOP/s", "share", "memory",
    "J/image", "differs",
)  # fmt: skip
ZOO = (
    "net", "top-1", "params", "macs", "median ms", "p95 ms", "images/s", "GFLOP/s", "share",
    "memory", "",
)  # fmt: skip
BUSY = 0.5  # of the cores
BAR = 20  # columns of the longest time


def benched(console: Console, data: dict[str, Any]) -> None:
    """Each net with its engines and batch sizes."""
    _machine(console, data)
    for net in data["nets"]:
        console.print()
        _net(console, net)
    console.print()
    _notes(console, data)


def zoo(console: Console, data: dict[str, Any]) -> None:
    """One line for each net, the fastest first."""
    _machine(console, data)
    nets = [net for net in data["nets"] if net["rows"]]
    slowest = max(net["rows"][0]["median"] for net in nets)
    rows = []
    for net in nets:
        row = net["rows"][0]
        bar = "━" * max(1, round(BAR * row["median"] / slowest))
        rows.append([
            net["name"], percent(net["top1"]), _short(net["params"]), _short(net["macs"]),
            *_figures(row), bar,
        ])  # fmt: skip
    first = nets[0]["rows"][0]
    console.print()
    console.print(f"{first['engine']}, {_images(first['batch'])}; the fastest first", style="dim")
    empty = _empty(ZOO, rows)
    columns(
        console, [name for name in ZOO if name not in empty], _without(ZOO, rows, empty),
        text=("net", ""), gives=("net",),
        drops=("", "GFLOP/s", "memory", "images/s", "p95 ms"),
    )  # fmt: skip
    console.print()
    for net in data["nets"]:
        if not net["rows"]:
            reasons = dict.fromkeys(one["reason"] for one in net["unavailable"])
            _line(console, f"not measured: {net['name']} – {'; '.join(reasons)}")
    of = sorted({net["top1_of"] for net in data["nets"] if net["top1_of"]})
    for words in of:
        console.print(f"top-1: {words}", style="dim")
    _notes(console, data)
    if data["plot"]:
        pairs(console, [("charts", data["plot"])], whole=("charts",))
    else:
        _line(console, "charts: --plot zoo.png")


def _machine(console: Console, data: dict[str, Any]) -> None:
    threads = f"{data['threads']} thread{'s' if data['threads'] > 1 else ''}"
    words = [data["device"], *([threads] if data["device"] == "cpu" else []), data["device_name"]]
    libraries = " · ".join(f"{name} {version}" for name, version in data["versions"].items())
    pairs(
        console,
        [
            ("device", " · ".join(words)),
            ("precision", data["precision"]),
            ("products", f"{flops(data['matmul_flops'])} of large matrices: a share of 100 %"),
            ("libraries", libraries),
        ],
    )
    if data["load"] is not None and data["load"] > BUSY * data["cores"]:
        text = f"busy: a load of {data['load']:.1f} on {data['cores']} cores before it began; times"
        console.print(f"{text} are longer than they could be", style="yellow", soft_wrap=True)


def _net(console: Console, net: dict[str, Any]) -> None:
    known = [f"{count(net[key])} {key}" for key in ("params", "macs") if net[key] is not None]
    takes = f"{shape(net['input'])} {net['takes']}"
    console.print(" · ".join([net["name"], *known, takes]), style="bold", soft_wrap=True)
    rows = [
        [row["engine"], count(row["batch"]), *_figures(row), _joules(row), _far(row)]
        for row in net["rows"]
    ]
    empty = _empty(ROWS, rows)
    if rows:
        columns(
            console, [name for name in ROWS if name not in empty], _without(ROWS, rows, empty),
            text=("engine",), drops=("GFLOP/s", "memory", "J/image"),
        )  # fmt: skip
    for text in _missing(net["unavailable"]):
        _line(console, text)
    started = [row for row in net["rows"] if row["compile_seconds"] is not None]
    if started:
        times = ", ".join(
            f"{duration(row['compile_seconds'])} for batch {count(row['batch'])}" for row in started
        )
        _line(console, f"compiled from nothing in {times}")
    for row in net["rows"]:
        _same(console, row)
    if net.get("not_counted"):
        _line(console, f"multiply-adds not counted: {net['not_counted']}")


def _missing(unavailable: list[dict[str, Any]]) -> list[str]:
    """What was not measured, together where the reason is the same."""
    found: dict[str, dict[str, list[int]]] = {}
    for one in unavailable:
        sizes = found.setdefault(one["reason"], {}).setdefault(one["engine"], [])
        sizes += [] if one["batch"] is None else [one["batch"]]
    lines = []
    for reason, engines in found.items():
        names = [
            f"{name}, batch {', '.join(map(count, sizes))}" if sizes else name
            for name, sizes in engines.items()
        ]
        between = "; " if any(engines.values()) else ", "
        lines.append(f"not measured: {between.join(names)} – {reason}")
    return lines


def _notes(console: Console, data: dict[str, Any]) -> None:
    """What the figures are, where it is not plain."""
    rows = [row for net in data["nets"] for row in net["rows"]]
    if any(row["peak_memory_bytes"] for row in rows):
        _line(console, "memory: weights, batch and the most that torch has beside them in a pass")
    if any(row["top1_agreement"] is not None for row in rows):
        _line(console, "differs: at most, from the first engine, as a share of the largest output")
    if any(row["joules_per_image"] for row in rows):
        whole = "the whole GPU" if data["device"] == "gpu" else "all CPU packages"
        _line(console, f"energy: of {whole}, by {data['energy']}, whoever uses it")
    else:
        _line(console, "energy: no counter that can be read here")


def _same(console: Console, row: dict[str, Any]) -> None:
    """Say so where an engine gives another answer than the first."""
    if row["top1_agreement"] is None or row["top1_agreement"] == 1:
        return
    told = percent(row["top1_agreement"])
    text = f"{row['engine']}, batch {row['batch']}: the same class as the first engine on {told}"
    console.print(f"{text} of the images", style="yellow", soft_wrap=True)


def _figures(row: dict[str, Any]) -> list[str]:
    """Times to memory, as the columns of both tables have them."""
    return [
        ms(row["median"]),
        ms(row["p95"]),
        figure(row["images_per_second"]),
        "–" if row["flops"] is None else f"{row['flops'] / GIGA:,.1f}",
        "–" if row["share"] is None else f"{100 * row['share']:.0f} %",
        "–" if row["peak_memory_bytes"] is None else _memory(row["peak_memory_bytes"]),
    ]


def ms(seconds: float) -> str:
    """0.0123456 -> 12.35; 12.3 -> 12,300."""
    return figure(MILLI * seconds)


def figure(value: float) -> str:
    """Four digits, and all those in front of the point: 0.01235, 12.35, 12,346."""
    return count(round(value)) if value >= MILLI else f"{value:.4g}"


def _memory(size: int) -> str:
    return megabytes(size) if size >= TENS else f"{size / MEGA:.2f} MB"


def flops(value: float) -> str:
    """1.5e9 -> 1.5 GFLOP/s."""
    return f"{value / TERA:.1f} TFLOP/s" if value >= TERA else f"{value / GIGA:.1f} GFLOP/s"


def _joules(row: dict[str, Any]) -> str:
    return "–" if row["joules_per_image"] is None else number(row["joules_per_image"])


def _far(row: dict[str, Any]) -> str:
    """The largest difference, as a share of the largest output; ? where one is no number."""
    if row["top1_agreement"] is None:
        return "–"
    far, largest = row["max_abs_difference"], row["max_abs_output"]
    return "?" if far is None or not largest else f"{far / largest:.1g}"


def _short(value: int | None) -> str:
    """25,557,032 -> 25.6 M."""
    if value is None:
        return "–"
    for size, prefix in ((GIGA, "G"), (MEGA, "M"), (MILLI, "k")):
        if value >= size:
            return f"{value / size:#.3g} {prefix}".replace(". ", " ")
    return str(value)


def _images(batch: int) -> str:
    return "one image" if batch == 1 else f"{count(batch)} images at once"


def _empty(head: tuple[str, ...], rows: list[list[str]]) -> set[str]:
    """Columns without a figure."""
    cells = zip(head, *rows, strict=True)
    return {name for name, *values in cells if all(value == "–" for value in values)}


def _without(head: tuple[str, ...], rows: list[list[str]], empty: set[str]) -> list[list[str]]:
    return [
        [cell for name, cell in zip(head, row, strict=True) if name not in empty] for row in rows
    ]


def _line(console: Console, text: str) -> None:
    console.print(text, style="dim", soft_wrap=True)
