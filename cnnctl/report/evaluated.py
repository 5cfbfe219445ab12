"""Evaluations as people read them: one net, two of them, several together."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from cnnctl.report.format import count, duration, image_count, number, percent
from cnnctl.report.table import columns, pairs

MANY = 20  # classes above which only the worst are shown
WORST = 10
CUT = ("speed", "files")  # at the edge; the others are paths to copy
ORDER = ("first", "second")  # of two nets
FIGURES = {  # of the JSON contract, as they are called
    "top1": "top-1", "top1_error": "top-1 error", "top5": "top-5", "top5_error": "top-5 error",
    "loss": "loss", "macro_precision": "macro precision", "macro_recall": "macro recall",
    "macro_f1": "macro F1", "ece": "calibration error",
}  # fmt: skip


def evaluated(console: Console, data: dict[str, Any]) -> None:
    """Figures with their intervals, calibration, classes, confusions, files."""
    _one(console, data)
    origin(console, data, _sources(data))


def origin(console: Console, data: dict[str, Any], more: list[tuple[str, str]]) -> None:
    """What was measured, a run or a file, and `more` about it."""
    inside = data["checkpoint"].removeprefix(f"{data['run']}/")
    rows = [("run", data["run"]), ("checkpoint", inside), *more]
    if inside == data["run"]:  # a file, not a run
        rows[:2] = [("file", inside)]
    pairs(console, rows, [name for name, _ in rows if name not in CUT])


def paired(console: Console, data: dict[str, Any]) -> None:
    """Two nets on the same images: the difference, and if it is noise."""
    first, second = (one["metrics"] for one in data["nets"])
    told, corner = data["comparison"], measured(data)
    rows = [
        [FIGURES[name], value(name, first[name]), value(name, second[name])]
        for name in first
        if first[name] is not None or second[name] is not None
    ]
    columns(console, (corner, "first", "second"), rows, text=(corner,))
    console.print()
    pairs(console, _difference(told))
    console.print()
    if told["better"] is None:
        _noise(console, told, "within noise: neither is shown to be better")
    else:
        _say(console, f"the {ORDER[told['better']]} is better", "bold")
    console.print()
    rows = [(word, one["checkpoint"]) for word, one in zip(ORDER, data["nets"], strict=True)]
    pairs(console, [*rows, *kept(data)], (*ORDER, "folder"))


def ensemble(console: Console, data: dict[str, Any]) -> None:
    """Each net alone, all together, and what that gains."""
    told, corner = data["ensemble"], measured(data)
    members = list(enumerate(told["members"], start=1))
    head = (corner, "top-1", "95 % interval", "loss", "calibration error")
    rows = [_row(f"net {number}", one) for number, one in members]
    columns(console, head, [*rows, _row("together", data)], text=(corner,))
    console.print()
    best, rows = told["gain_over_best"], [("against the mean", _change(told["gain_over_mean"]))]
    if told["loss_gain_over_mean"] is not None:
        rows.append(("", f"loss {_fall(told['loss_gain_over_mean'])}"))
    rows.append((f"against net {told['best'] + 1}", f"{_change(best)} · p = {_p(best['p'])}"))
    pairs(console, rows)
    console.print()
    if best["better"] is None:
        _noise(console, best, "within noise: not shown to be better than the best net alone")
    else:
        word = ("worse", "better")[best["better"]]
        _say(console, f"together they are {word} than the best net alone", "bold")
    console.print()
    _one(console, data)
    rows = [*((f"net {number}", one["checkpoint"]) for number, one in members), *_sources(data)]
    pairs(console, rows, [name for name, _ in rows if name not in CUT])


def _one(console: Console, data: dict[str, Any]) -> None:
    """What one set of predictions is worth."""
    corner = measured(data)
    known = [(name, one) for name, one in data["metrics"].items() if one is not None]
    ends = data["intervals"]
    rows = [[FIGURES[name], value(name, one), between(name, ends[name])] for name, one in known]
    columns(console, (corner, "", "95 % interval"), rows, text=(corner,))
    console.print()
    _calibrated(console, data["calibration"])
    console.print()
    _classes(console, data["per_class"])
    _confused(console, data)
    if data.get("robustness") is not None:
        from cnnctl.report.robustness import robustness

        robustness(console, data["robustness"])
        console.print()


def _row(name: str, one: dict[str, Any]) -> list[str]:
    metrics = one["metrics"]
    return [
        name, percent(metrics["top1"]), between("top1", one["intervals"]["top1"]),
        value("loss", metrics["loss"]), percent(metrics["ece"]),
    ]  # fmt: skip


def _classes(console: Console, rows: list[dict[str, Any]]) -> None:
    shown = rows
    if len(rows) > MANY:
        shown = sorted(rows, key=lambda row: (row["recall"] is None, row["recall"]))[:WORST]
        _say(console, f"the {WORST} of {count(len(rows))} classes with the lowest recall")
    cells = [
        [
            row["class"], count(row["n"]), percent(row["recall"]),
            between("recall", row["recall_interval"]), percent(row["precision"]),
            percent(row["f1"]),
        ]
        for row in shown
    ]  # fmt: skip
    head = ("class", "images", "recall", "95 % interval", "precision", "F1")
    columns(console, head, cells, text=("class",), gives=("class",))
    console.print()


def _confused(console: Console, data: dict[str, Any]) -> None:
    """The pairs that are mistaken more than once, or the first few."""
    rows = [row for row in data["confused"] if row["n"] > 1] or data["confused"][:3]
    if not rows:
        return
    cells = [[row["true"], row["predicted"], count(row["n"])] for row in rows[:WORST]]
    head = ("most confused: true", "predicted", "images")
    columns(console, head, cells, text=head[:2], gives=head[1::-1])
    console.print()


def _calibrated(console: Console, told: dict[str, Any]) -> None:
    """The temperature, and what it changes; or why there is none."""
    if told["after"] is None:
        _say(console, f"no temperature: {told['reason']}")
        return
    fitted, head = told["fitted_on"], ("temperature", "loss", "calibration error")
    names = ("1", f"{told['temperature']:.3g}, fitted on {count(fitted['n'])} of {fitted['split']}")
    cells = [
        [name, number(one["loss"]), percent(one["ece"])]
        for name, one in zip(names, (told, told["after"]), strict=True)
    ]
    columns(console, head, cells, text=head[:1])


def _difference(told: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("second − first", _change(told))]
    if told["loss"] is not None:
        rows.append(("", f"loss {_fall(told['loss'], -1)}"))
    return [
        *rows,
        ("both right", count(told["both_right"])),
        ("only first right", count(told["only_first_right"])),
        ("only second right", count(told["only_second_right"])),
        ("both wrong", count(told["both_wrong"])),
        ("McNemar's test", f"p = {_p(told['p'])}"),
    ]


def _noise(console: Console, told: dict[str, Any], text: str) -> None:
    """That nobody has won, and what it would take."""
    _say(console, text, "yellow")
    if told["images_needed"] is not None:
        size = float(f"{told['images_needed']:.2g}")
        _say(console, f"a difference of this size would show on about {count(int(size))} images")


def _change(told: dict[str, Any]) -> str:
    """top-1 +1.20 % (−0.40 to +2.80 %)."""
    own, *ends = (f"{100 * one:+.2f}" for one in (told["difference"], *(told["interval"] or ())))
    return "top-1 " + f"{own} %{' ({} to {} %)'.format(*ends) if ends else ''}".replace("-", "−")


def _fall(told: dict[str, Any], sign: int = 1) -> str:
    """A gain in loss as what the loss changes by; with sign -1, a change as it is."""
    ends = sorted(-sign * end for end in told["interval"] or ())
    own, *ends = (f"{one:+.3g}" for one in (-sign * told["difference"], *ends))
    return f"{own}{' ({} to {})'.format(*ends) if ends else ''}".replace("-", "−")


def _p(chance: float) -> str:
    return f"{chance:.3f}" if chance >= 0.001 else f"{chance:.1g}"  # noqa: PLR2004 - three digits


def measured(data: dict[str, Any]) -> str:
    """1,500 images of test."""
    return f"{image_count(data['n'])} of {data['split']}"


def value(name: str, figure: float | None) -> str:
    """97.11 %, or a loss."""
    if name == "loss":
        return "–" if figure is None else number(figure)
    return percent(figure)


def between(name: str, ends: list[float] | None) -> str:
    """97.11 – 99.42 %."""
    if ends is None:
        return "–"
    if name == "loss":
        return f"{number(ends[0])} – {number(ends[1])}"
    return f"{100 * ends[0]:.2f} – {percent(ends[1])}"


def _sources(data: dict[str, Any]) -> list[tuple[str, str]]:
    speed = f"{count(round(data['images_per_second']))} images/s · {duration(data['seconds'])}"
    return [("speed", speed), *kept(data)]


def kept(data: dict[str, Any]) -> list[tuple[str, str]]:
    """Where it is kept, and what besides result.json."""
    return [("folder", data["folder"]), ("files", " ".join(data["files"][1:]))]


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style))
