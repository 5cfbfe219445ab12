"""What `cnnctl data check` and `show` print."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from cnnctl.report import data_masks
from cnnctl.report.format import count, duration
from cnnctl.report.table import columns, pairs

Document = Mapping[str, Any]
SHOWN = 5  # of each finding; --json has all
KINDS = {  # in this order: the name of a finding, and what it means
    "refused": ("cannot be trained on", "stops training"),
    "broken": ("broken images", "stops training"),
    "classes": ("classes that differ between splits", "stops training"),
    "leaks": ("images in several splits", "flatters the result"),
    "conflicts": ("equal images of several classes", "a label is wrong"),
    "misnamed": ("wrongly named images", "read all the same"),
    "unlisted": ("images of unknown ending", "never seen: rename them"),
    "duplicates": ("equal images in one split", "seen too often"),
    "near": ("images that look equal in one split", "seen too often"),
    "rare": ("classes of few images", "hardly learnt"),
}
OF_MASKS = {  # the same for images with masks
    "broken": ("images or masks that cannot be used", "stops training"),
    "leaks": KINDS["leaks"],
    "conflicts": ("equal images of several masks", "a mask is wrong"),
    "blank": ("masks in which no pixel counts", "nothing is learned of them"),
    "absent": ("classes without a pixel in train", "never learned"),
    "rare": ("classes in few images of train", "hardly learned"),
    **{kind: KINDS[kind] for kind in ("misnamed", "duplicates", "near")},
}
WRONG = "✗"
CHANGED = {"bytes": "equal files", "pixels": "equal pixels", "near": "look equal"}


def checked(console: Console, data: Document) -> None:
    """What the data is, how often each thing is wrong with it, and the first few of each."""
    pairs(console, list(facts(data)))
    channels = data["channels"]
    if channels and channels["differ"]:
        why, words = advice(channels)
        console.print(Text(f"{why}\n  {words}", style="yellow"), soft_wrap=True)
    console.print()
    if has_masks(data):
        data_masks.pixels(console, data)
        console.print()
    words = kinds(data)
    found = {kind: data["findings"][kind] for kind in words if data["findings"][kind]}
    if found:
        rows = [
            [f"{WRONG} " * (kind in data["wrong"]) + title, number(kind, found[kind]), so]
            for kind, (title, so) in words.items()
            if kind in found
        ]
        head = ("found", "count", "so")
        columns(console, head, rows, text=("found", "so"), gives=("so",))
    for kind, rows in found.items():
        console.print()
        style = "bold red" if kind in data["wrong"] else "bold yellow"
        console.print(Text(words[kind][0], style=style))
        for row in rows[:SHOWN]:
            _cut(console, LINES.get(kind, of_image)(row, _short(data)))
        if len(rows) > SHOWN:
            console.print(f"  … and {count(len(rows) - SHOWN)} more")
    if found:
        console.print()
    for line in _written(data):
        console.print(line, soft_wrap=True)
    console.print(Text(verdict(data), style="bold"))


def has_masks(data: Document) -> bool:
    """Whether pixels were counted, not images."""
    return "examples" in data


def kinds(data: Document) -> dict[str, tuple[str, str]]:
    """The findings that there can be: their names, and what they mean."""
    return OF_MASKS if has_masks(data) else KINDS


def _spread(data: Document) -> str:
    """How many classes, and how many images the largest and the smallest have."""
    balance = data["balance"]
    large, small = (
        f"{one['class']} ({count(one['images'])})"
        for one in (balance["largest"], balance["smallest"])
    )
    spread = f"largest {large} · smallest {small}"
    if balance["ratio"]:
        spread += f" · {balance['ratio']:g} : 1"
    if balance["ratio"] == 1:
        spread = f"{count(balance['largest']['images'])} images of each in train"
    return f"{len(data['classes'])} · {spread}"


def facts(data: Document) -> list[tuple[str, str]]:
    """Names and figures of the data set as a whole."""
    splits = " · ".join(
        f"{name} {count(split['images'])}{' (drawn)' * (name in data['drawn'])}"
        for name, split in data["splits"].items()
    )
    spread = data_masks.spread(data) if has_masks(data) else _spread(data)
    told = [
        ("data", data["data"] + (f" · {data['root']}" if data["root"] else "")),
        ("images", splits),
        ("classes", spread),
    ]
    if data["sizes"]:
        told += [("size", data_masks.sizes(data) if has_masks(data) else _sizes(data["sizes"]))]
    told += [(word, _often(data[word])) for word in ("formats", "modes") if data[word]]
    for word in ("mean", "std") if data["channels"] else ():
        own, given = data["channels"][word], data["channels"][f"data_{word}"]
        told.append((word, f"{_list(own)} of train · data.{word}={_list(given)}"))
    if data["left_out"]:
        told.append(("left out", f"{count(len(data['left_out']))} images, as configured"))
    if not data["near"]["told"]:
        told.append(("alike", "not searched: the images are too simple to tell copies by looks"))
    return told


def number(kind: str, rows: Sequence[Document]) -> str:
    """How many; of groups, how many images they have."""
    if "images" not in rows[0] or kind in ("rare", "absent"):
        return count(len(rows))
    images = sum(len(row["images"]) for row in rows)
    return f"{count(images)} in {count(len(rows))} group{'s' * (len(rows) > 1)}"


def advice(channels: Document) -> tuple[str, str]:
    """Where mean or deviation differ, that they do, and what to set."""
    mean, std = (_list(channels[word]).replace(" ", "") for word in ("mean", "std"))
    words = f"data.mean={mean} data.std={std}"
    return (
        "train is different; unless a pretrained net expects these, set",
        words,
    )


def verdict(data: Document) -> str:
    """One line at the end."""
    images = count(sum(split["images"] for split in data["splits"].values()))
    took = f"{images} images in {duration(data['seconds'])}"
    if not data["wrong"]:
        return f"✓ nothing that training would stop at or be misled by · {took}"
    return f"{WRONG} training would stop or be misled · {took}"


def sheet(console: Console, data: Document) -> None:
    """Where the sheet is, and what is on it."""
    what = f"{len(data['images'])} images, unchanged and in {data['epochs']} epochs"
    rows = [("sheet", data["file"]), ("shows", f"{what} of augment={data['augment']}")]
    pairs(console, rows, ("sheet",))


def _cut(console: Console, parts: tuple[str, str]) -> None:
    """A path, of which the end counts, and what is said of it; on one line."""
    path, told = parts
    if not path:
        console.print(f"  {told}", soft_wrap=True)
        return
    room = max(12, console.width - 4 - len(told))
    path = path if len(path) <= room else f"…{path[len(path) - room + 1 :]}"
    console.print(Text(f"  {path}  {told}".rstrip()), no_wrap=True, overflow="ellipsis")


def _short(data: Document) -> Callable[[str], str]:
    """Names below data.root, which stands above."""
    root = f"{(data['root'] or '').rstrip('/')}/"
    return lambda name: name.removeprefix(root)


def of_image(row: Document, short: Callable[[str], str]) -> tuple[str, str]:
    """The name of an image, and what is wrong with it."""
    told = row.get("reason") or (f"is {row['format']}" if "format" in row else "")
    return short(row["name"]), told


def _of_group(row: Document, short: Callable[[str], str]) -> tuple[str, str]:
    """The first two, in which split or class they are where that differs, and how many more."""
    first, *others = row["images"]
    second = next((one for one in others if one["split"] != first["split"]), others[0])
    second = next((one for one in others if one["class"] != first["class"]), second)
    more = f" · and {count(len(others) - 1)} more" if len(others) > 1 else ""
    names = f"{_place(first, second, short)} = {_place(second, first, short)}"
    return names, f"{CHANGED[row['kind']]}{more}"


def _place(one: Document, other: Document, short: Callable[[str], str]) -> str:
    name = short(one["name"])
    told = [one[key] for key in ("split", "class") if one[key] != other[key]]
    told = [word for word in told if f"{word}/" not in name]
    return f"{name} ({', '.join(told)})" if told else name


def _written(data: Document) -> list[str]:
    lines = []
    if "quarantine" in data:
        listed = data["quarantine"]
        lines.append(
            f"quarantine  {listed['file']} lists {count(listed['images'])} images to leave out"
        )
        lines.append(f"            train with data.quarantine={listed['file']}")
    if "report" in data:
        lines.append(f"report      {data['report']}")
    return lines


def _sizes(sizes: Document) -> str:
    """Height × width; how many images are made larger."""
    told = data_masks.extent(sizes)
    enlarged = sizes["enlarged"]
    larger = f"{count(enlarged)} enlarged" if enlarged else "none enlarged"
    return f"{told} · data.size={sizes['wanted']}: {larger}"


def _often(counts: Mapping[str, int]) -> str:
    return " · ".join(f"{name} {count(often)}" for name, often in counts.items())


def _list(numbers: Sequence[float]) -> str:
    return f"[{', '.join(f'{number:g}' for number in numbers)}]"


LINES: dict[str, Callable[..., tuple[str, str]]] = {
    "refused": lambda row, _: ("", row["reason"]),
    "classes": lambda row, _: (row["class"], f"not in {', '.join(row['lacking'])}"),
    "rare": lambda row, _: (row["class"], f"{count(row['images'])} images"),
    "absent": lambda row, _: (row["class"], ""),
    **dict.fromkeys(("leaks", "conflicts", "duplicates", "near"), _of_group),
}
