"""The figures of an audit as every written format says them: cells of a layer, facts of a net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cnnctl.report.audit import field, kernel
from cnnctl.report.format import count, shape

NOT_AVAILABLE = "n/a"
SMALL = 10_000_000  # bytes: the activations of a net with less are shown in kB
UNITS = {"kB": (1e3, 2), "MB": (1e6, 3)}  # bytes, and decimals that show a single vector
SKIPS = "of what the step keeps: copies of earlier maps in concatenations"
FITS = {True: "fits", False: "does not fit"}
Table = tuple[tuple[str, ...], list[list[str]]]  # its head and its rows
KIB, MIB, MILLION, BILLION = 2**10, 2**20, 1e6, 1e9


def number(value: int | None) -> str:
    """61706 -> 61,706; None -> n/a."""
    return NOT_AVAILABLE if value is None else count(value)


def large(value: float) -> str:
    """15470264320 -> 15.47 G; 416520 -> 416,520."""
    for size, prefix in ((BILLION, "G"), (MILLION, "M")):
        if value >= size:
            return f"{value / size:,.4g} {prefix}"
    return f"{value:,.4g}" if value % 1 else count(int(value))


def decimal(size: int | None) -> str:
    """Bytes in powers of ten: 13.57 MB, 32.3 kB, 80 B."""
    if size is None or size < KIB:
        return NOT_AVAILABLE if size is None else f"{size} B"
    return f"{size / 1e3:,.1f} kB" if size < MILLION else f"{size / MILLION:,.2f} MB"


def binary(size: int | None) -> str:
    """The same bytes in powers of two: 12.94 MiB, 31.5 KiB, 80 B."""
    if size is None or size < KIB:
        return decimal(size)
    return f"{size / KIB:,.1f} KiB" if size < MILLION else f"{size / MIB:,.2f} MiB"


def both(size: int | None) -> str:
    """13.57 MB (12.94 MiB)."""
    if size is None or size < KIB:
        return decimal(size)
    return f"{decimal(size)} ({binary(size)})"


def memory(size: int | None, of: str) -> str:
    """Bytes in a column whose head has the unit: 3.211, 0 for none at all, <0.001 for a few."""
    if not size:
        return number(size)
    one, digits = UNITS[of]
    least = 10**-digits
    return f"{size / one:,.{digits}f}" if size >= least * one else f"<{least:.{digits}f}"


def unit(net: Mapping[str, Any]) -> str:
    """The unit of the memory columns: kB for small nets, so that no layer is shown as 0."""
    total = net["totals"]["conventions"]["rows"]["bytes"]
    return "kB" if total < SMALL else "MB"


def cells(layer: Mapping[str, Any], of: str) -> dict[str, str]:
    """The columns of a layer or block; memory in the unit `of`."""
    jump = layer["jump"]
    return {
        "window": kernel(dict(layer)), "output": shape(layer["output"]),
        "activations": number(layer["activations"]),
        "bytes": memory(layer["bytes"], of), "kept_bytes": memory(layer["kept_bytes"], of),
        "params": count(layer["params"]), "macs": count(layer["macs"]),
        "field": field(dict(layer)), "jump": NOT_AVAILABLE if jump is None else f"{jump:g}",
    }  # fmt: skip


def heads(net: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The columns' titles, and the unit below each."""
    of = unit(net)
    batch = f"{of}, batch {net['memory']['batch_size']}"
    memory_of = batch if _of_batch(net) else of
    return {
        "window": ("window", "h×w"), "output": ("output", "c×h×w"),
        "activations": ("activations", "values"), "bytes": ("memory", memory_of),
        "kept_bytes": ("kept", batch),
        "params": ("parameters", ""), "macs": ("multiply-adds", "per image"),
        "field": ("field", "px"), "jump": ("jump", "px"),
    }  # fmt: skip


def notes(net: Mapping[str, Any]) -> list[str]:
    """What the columns mean."""
    meaning = net["totals"]["conventions"][net["convention"]]["meaning"]
    images = "of the batch" if _of_batch(net) else "of one image"
    told = [
        f"Activations and memory, {images}: {meaning} (memory={net['convention']}).",
        f"Kept: for the backward pass, batch {net['memory']['batch_size']}.",
        "A multiply-add counts once; FLOPs are twice as many. kB = 10^3, MB = 10^6 bytes.",
    ]
    if "budget" in net and net["memory"]["accelerator"] == "gpu":
        told.append("Reserve: context and fragments, estimated and not calibrated on a GPU.")
    idle = any(layer["sees_enough"] for layer in net["layers"])
    seen = ", all: the whole image" + ", *: the window sees nothing new" * idle
    return [*told, f"Field: pixels that one value sees{seen}. Jump: pixels between neighbours."]


def facts(net: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, figure and what belongs to it, of each total of a net."""
    totals, made = net["totals"], net["memory"]
    yield "parameters", count(totals["params"]), _params(totals)
    back = totals["training_macs"]
    step = f"{large(back['forward'] + back['backward'])} in training, " if back else ""
    yield (
        "multiply-adds", large(totals["macs"]),
        f"per image; {step}FLOPs {large(totals['flops'])}",
    )  # fmt: skip
    yield "depth", str(totals["weight_layers"]), "weight layers on the longest path"
    yield "receptive field", sees(net), "of the last layer that has one"
    one = totals["conventions"][net["convention"]]
    images = "batch" if _of_batch(net) else "one image"
    sizes = (
        ("weights", made["weights"], f"with buffers, {made['precision']}"),
        ("activations", one["bytes"], f"{images}, memory={net['convention']}"),
        ("inference", totals["inference_peak_bytes"], "at the peak, one image"),
        ("training step", made["peak"], f"at the peak, {setting(net)}"),
        *([("skips", made["skips"], SKIPS)] if made["skips"] else []),
    )
    for name, size, told in sizes:
        yield name, decimal(size), told if (size or 0) < KIB else f"{binary(size)}; {told}"


def setting(net: Mapping[str, Any]) -> str:
    """How a step is made: batch 32 · 32-true · adam · cpu."""
    made = net["memory"]
    told = [
        f"batch {made['batch_size']}",
        made["precision"],
        made["optimizer"],
        made["accelerator"],
    ]
    told += ["channels last"] if made["channels_last"] else []
    told += [f"{made['accumulate']} batches a step"] if made["accumulate"] > 1 else []
    return " · ".join(told)


def where(net: Mapping[str, Any]) -> str:
    """What is going on when most memory is alive; the reason where there is no step."""
    made = net["memory"]
    if made["peak"] is None:
        return f"not available: {made['reason']}"
    place = made["where"]
    layer = f" of {place['layer']}" if place["layer"] else ""
    return f"{place['phase']}{layer}, {place['op']}"


def sees(net: Mapping[str, Any]) -> str:
    """The receptive field of the last layer that has a local one, in pixels, or all."""
    known = [layer for layer in net["layers"] if layer["receptive_field"] is not None]
    if len(known) == 1:  # the image itself
        return "all" if any(layer["sees_all"] for layer in net["layers"]) else NOT_AVAILABLE
    local, _, everything = field({**known[-1], "sees_enough": False}).partition("+")
    return f"{local} px{' + ' * bool(everything)}{everything}"


def conventions(net: Mapping[str, Any]) -> Table:
    """Every way of counting the memory of activations."""
    head = ("memory", "values", "bytes", "images", "counts")
    return head, [
        [name, number(one["values"]), both(one["bytes"]), number(one["batch_size"]), one["meaning"]]
        for name, one in net["totals"]["conventions"].items()
    ]


def budget(net: Mapping[str, Any]) -> Table:
    """The largest batch for each memory to fit into, where any is given."""
    rows = net.get("budget", ())
    head = ("budget", "reserve", "largest batch", "its tensors")
    head = (*head, *{f"batch {one['wanted']}" for one in rows})
    return head, [[one["name"], both(one["reserve"]), *_largest(one)] for one in rows]


def what_if(net: Mapping[str, Any]) -> Table:
    """The peak of a step of other batches, precisions and optimizers, where it is asked for."""
    rows = net.get("what_if", ())
    batches = sorted({one["batch_size"] for one in rows})
    peaks: dict[tuple[str, str], list[str]] = {}
    for one in rows:
        peaks.setdefault((one["precision"], one["optimizer"]), []).append(decimal(one["peak"]))
    head = ("precision", "optimizer", *(f"peak, batch {count(batch)}" for batch in batches))
    return head, [[*made, *cells] for made, cells in peaks.items()]


def _largest(fit: Mapping[str, Any]) -> tuple[str, ...]:
    """The largest batch and its tensors, where there is any, and whether the given one fits."""
    size = fit["batch_size"]
    told = (count(size), both(fit["peak"])) if size else ("none", NOT_AVAILABLE)
    return (*told, FITS[fit["fits"]])


def _of_batch(net: Mapping[str, Any]) -> bool:
    """Whether the memory columns are those of the whole batch."""
    return net["totals"]["conventions"][net["convention"]]["values"] is None


def _params(totals: Mapping[str, Any]) -> str:
    told = [f"{count(totals['weights'])} without biases"]
    told += [
        f"{count(value)} {word}"
        for value, word in (
            (totals["frozen"], "frozen"), (totals["buffers"], "in buffers"),
            (totals["unused"]["params"], "not used in this pass"),
        )
        if value
    ]  # fmt: skip
    return ", ".join(told)
