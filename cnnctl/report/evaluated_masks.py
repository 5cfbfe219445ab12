"""Evaluations of masks as people read them: one net, two of them, several together."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from cnnctl.report.evaluated import CUT, ORDER, between, kept, measured, origin, value
from cnnctl.report.format import count, duration, image_count, percent
from cnnctl.report.table import columns, pairs

MANY = 21  # classes, as PASCAL VOC has them, above which only the worst are shown
WORST = 10
FIGURES = {  # of the JSON contract, as they are called
    "miou": "mean IoU", "dice": "Dice", "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy", "frequency_weighted_iou": "frequency-weighted IoU",
    "boundary_f1": "boundary F1", "loss": "loss",
}  # fmt: skip


def evaluated(console: Console, data: dict[str, Any]) -> None:
    """Figures with their intervals, classes, confusions, files."""
    _one(console, data)
    origin(console, data, _sources(data))


def paired(console: Console, data: dict[str, Any]) -> None:
    """Two nets on the same images: the difference, and if it is noise."""
    first, second = (one["metrics"] for one in data["nets"])
    told, corner = data["comparison"], measured(data)
    rows = [
        [FIGURES[name], value(name, first[name]), value(name, second[name])]
        for name in first
        if first[name] is not None or second[name] is not None
    ]
    columns(console, (corner, *ORDER), rows, text=(corner,))
    console.print()
    pairs(console, _differences(told))
    console.print()
    nobody = "neither is shown to be better"
    _verdict(console, told, [f"the {word} is better" for word in ORDER], nobody)
    console.print()
    rows = [(word, one["checkpoint"]) for word, one in zip(ORDER, data["nets"], strict=True)]
    pairs(console, [*rows, *kept(data)], (*ORDER, "folder"))


def together(console: Console, data: dict[str, Any]) -> None:
    """Each net alone, all together, and what that gains."""
    told, corner = data["ensemble"], measured(data)
    members = list(enumerate(told["members"], start=1))
    head = (corner, "mean IoU", "95 % interval", "boundary F1", "loss")
    rows = [_row(f"net {place}", one) for place, one in members]
    columns(console, head, [*rows, _row("together", data)], text=(corner,))
    console.print()
    best = told["gain_over_best"]
    rows = [
        ("against the mean", _change("miou", told["gain_over_mean"])),
        (f"against net {told['best'] + 1}", _change("miou", best)),
    ]
    pairs(console, rows)
    console.print()
    alone = "than the best net alone"
    words = [f"together they are {word} {alone}" for word in ("worse", "better")]
    _verdict(console, best, words, f"not shown to be better {alone}")
    console.print()
    _one(console, data)
    rows = [*((f"net {place}", one["checkpoint"]) for place, one in members), *_sources(data)]
    pairs(console, rows, [name for name, _ in rows if name not in CUT])


def _one(console: Console, data: dict[str, Any]) -> None:
    """What the answers of one net are worth."""
    corner, ends = measured(data), data["intervals"]
    rows = [
        [FIGURES[name], value(name, one), between(name, ends[name])]
        for name, one in data["metrics"].items()
        if one is not None
    ]
    columns(console, (corner, "", "95 % interval"), rows, text=(corner,))
    console.print()
    _classes(console, data["per_class"])
    _confused(console, data)


def _classes(console: Console, rows: list[dict[str, Any]]) -> None:
    shown, total = rows, sum(row["pixels"] for row in rows) or 1
    if len(rows) > MANY:
        shown = sorted(rows, key=lambda row: (row["iou"] is None, row["iou"]))[:WORST]
        console.print(f"the {WORST} of {count(len(rows))} classes with the lowest IoU")
    cells = [
        [
            row["class"], percent(row["pixels"] / total), percent(row["iou"]),
            between("iou", row["iou_interval"]), percent(row["precision"]),
            percent(row["recall"]), percent(row["boundary_f1"]),
        ]
        for row in shown
    ]  # fmt: skip
    head = (
        "class", "pixels", "IoU", "95 % interval", "precision", "recall", "boundary F1",
    )  # fmt: skip
    columns(
        console, head, cells, text=("class",), gives=("class",), drops=("precision", "recall")
    )  # fmt: skip
    console.print()


def _confused(console: Console, data: dict[str, Any]) -> None:
    """The classes whose pixels are most often taken for others."""
    rows, total = data["confused"][:WORST], sum(map(sum, data["confusion"]))
    if not rows:
        return
    cells = [[row["true"], row["predicted"], percent(row["n"] / total)] for row in rows]
    head = ("most confused: mask", "predicted", "of all pixels")
    columns(console, head, cells, text=head[:2], gives=head[1::-1])
    console.print()


def _row(name: str, one: dict[str, Any]) -> list[str]:
    metrics = one["metrics"]
    return [
        name, percent(metrics["miou"]), between("miou", one["intervals"]["miou"]),
        percent(metrics["boundary_f1"]), value("loss", metrics["loss"]),
    ]  # fmt: skip


def _differences(told: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("second − first", _change("miou", told))]
    rows += [
        ("", _change(name, told[name]))
        for name in ("dice", "pixel_accuracy", "boundary_f1", "loss")
        if told[name] is not None
    ]
    return [
        *rows,
        ("first better", f"on {image_count(told['first_better'])}"),
        ("second better", f"on {image_count(told['second_better'])}"),
    ]


def _verdict(console: Console, told: dict[str, Any], words: list[str], nobody: str) -> None:
    """Who has won; or that nobody has, and what it would take."""
    if told["better"] is not None:
        console.print(Text(words[told["better"]], style="bold"))
        return
    console.print(Text(f"within noise: {nobody}", style="yellow"))
    if told["images_needed"] is not None:
        size = int(float(f"{told['images_needed']:.2g}"))
        console.print(f"a difference of this size would show on about {count(size)} images")


def _change(name: str, told: dict[str, Any]) -> str:
    """Mean IoU +1.20 % (−0.40 to +2.80 %)."""
    values = (told["difference"], *(told["interval"] or ()))
    unit, form = (" %", "{:+.2f}") if name != "loss" else ("", "{:+.3g}")
    own, *ends = (form.format(100 * value if unit else value) for value in values)
    between = f" ({ends[0]} to {ends[1]}{unit})" if ends else ""
    return f"{FIGURES[name]} {own}{unit}{between}".replace("-", "−")


def _sources(data: dict[str, Any]) -> list[tuple[str, str]]:
    speed = f"{data['images_per_second']:.3g} images/s · {duration(data['seconds'])}"
    return [("speed", speed), *kept(data)]
