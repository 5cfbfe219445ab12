"""An export as people read it: what was written, and the proof."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from cnnctl.report.format import count, percent
from cnnctl.report.table import columns, pairs

FIGURES = {"top1": "top-1", "miou": "mean IoU", "explained": "explained"}


def exported(console: Console, data: dict[str, Any]) -> None:
    """The proof by batch size, what integers cost, and where the files are."""
    parity = data["parity"]
    corner = f"{count(parity['n'])} {parity['split']} images"
    rows = [(f"batches of {row['batch_size']}", row) for row in parity["batches"]]
    if parity["raw"] is not None:
        rows.append((_sizes(parity["raw"]), parity["raw"]))
    key = next(one for one in FIGURES if f"{one}_eager" in parity)
    same = ["same class"] if "top1_agreement" in parity else []
    name, ends = FIGURES[key], ("net", "file")
    head = [corner, "images", "largest error", *same, *(f"{name} {end}" for end in ends)]
    cells = [
        [
            what, count(row["n"]), _error(row["max_abs_error"]),
            *(percent(row["top1_agreement"]) for _ in same),
            *(percent(row[f"{key}_{who}"]) for who in ("eager", "export")),
        ]
        for what, row in rows
    ]  # fmt: skip
    columns(console, head, cells, text=(corner,), drops=("images",), gives=(corner,))
    console.print()
    files = ("file", "manifest", "card")
    told = [("format", _format(data)), ("error", _tolerance(parity))]
    if data["quantize"] is not None:
        told += _integers(data["quantize"])
    told += [("sha256", f"{data['sha256'][:16]}…"), *((name, data[name]) for name in files)]
    pairs(console, told, files)
    console.print()
    console.print("next")
    other = f"cnnctl bench {data['file']}"
    if key != "top1":
        other = f"cnnctl predict {data['file']} FOLDER"
    for command in (f"cnnctl evaluate {data['file']}", other):
        console.print(f"  {command}", soft_wrap=True)


def _sizes(raw: dict[str, Any]) -> str:
    """What the images of the last row are: the file resizes them itself."""
    if raw["scaled"]:
        return f"scaled to {raw['sizes']} sizes"
    return f"{count(raw['sizes'])} own sizes" if raw["sizes"] > 1 else "their own size"


def _format(data: dict[str, Any]) -> str:
    parts = [data["format"], "int8" if data["quantize"] else data["precision"]]
    parts += ["any batch" if data["dynamic_batch"] else "batches of 1"]
    inside = " and ".join(data["include"])
    return " · ".join([*parts, *([f"{inside} inside"] if inside else []), _size(data["bytes"])])


def _tolerance(parity: dict[str, Any]) -> str:
    largest = "intensity" if "explained_eager" in parity else "logit"
    error = f"{_error(parity['error'])} of the largest {largest}"
    if parity["tolerance"] is None:
        return f"{error}; int8 is judged by top-1"
    return f"{error}, {_error(parity['tolerance'])} is allowed"


def _integers(told: dict[str, Any]) -> list[tuple[str, str]]:
    low, high = (-100 * end + 0 for end in told["interval"][::-1])
    change = f"top-1 {-100 * told['top1_lost'] + 0:+.2f} points"
    change += f", 95 % {low:+.2f} to {high:+.2f} (p = {told['p']:.2g})"
    sizes = f"{_size(told['bytes_before'])}; scaled on {told['calibrated_on']} training images"
    return [("int8", change), ("float32", sizes)]


def _error(value: float) -> str:
    """2.4e-07; 0 stays what it is."""
    return f"{value:.1e}" if value else "0"


def _size(size: int) -> str:
    return f"{size / 1e6:.2f} MB"
