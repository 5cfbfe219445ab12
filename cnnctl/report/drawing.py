"""Where everything stands in the drawing of a net: boxes, arrows and texts, in pixels.

Each step of the chain is a box as papers draw them: high and deep as its maps, thick as it has
channels. A vector is a thin bar. Rows are as wide as the page and no text reaches into another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import Any

from cnnctl.report.chain import Step, chain
from cnnctl.report.figures import large
from cnnctl.report.format import count, shape

WIDTH = 1060  # pixels of a row at most, unless a single box is wider
MARGIN, GAP, LINE, HEAD = 20, 26, 15, 80
TITLES = (37, 57, 72)  # base lines of name, image, costs
LEGEND = (
    "A side grows with the root of the map's side, the thickness with that of the channels.",
    "×n: n blocks alike, with the parameters of all; a normalisation belongs to its layer.",
)
TALL, FLAT = 92, 7  # the side of the largest maps; of a map of nothing
THICK, THIN = 54, 4  # of the most channels; of none
SLANT = 0.32  # how far the depth of a box leans
SIZE = {"title": 17, "name": 12, "fact": 11, "times": 12, "note": 10}  # of the letters
NARROW, BROAD = set(" ,.:;|!'()·ijlt1fI"), set("mwMW×…–→@%")
MAP = 3  # axes of a map, at least
FEW = 64  # channels: what is thickest of all has that many at least


@dataclass(frozen=True)
class Label:
    """A text: (x, y) is the middle of its base line, or the start of it if `start`."""

    x: float
    y: float
    text: str
    style: str
    start: bool = False

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom; wide enough for the broadest common fonts."""
        width = extent(self.text, self.style)
        left = self.x if self.start else self.x - width / 2
        size = SIZE[self.style]
        return left, self.y - size, left + width, self.y + size / 3


@dataclass(frozen=True)
class Shape:
    """A filled polygon, or an open line."""

    points: str
    style: str


@dataclass
class Drawing:
    """What the template draws, in its order."""

    width: float
    height: float
    shapes: list[Shape] = field(default_factory=list)
    lines: list[Shape] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


@dataclass(frozen=True)
class _Box:
    """A step with its sizes: of the front (thickness, height), the lean, and its texts."""

    step: Step
    thick: float
    high: float
    deep: float
    texts: tuple[tuple[str, str], ...]

    @property
    def width(self) -> float:
        """Of all that belongs to it."""
        return max(self.thick + self.deep, *(extent(text, style) for text, style in self.texts))


def extent(text: str, style: str) -> float:
    """The width of a text in pixels, not less than in DejaVu Sans."""
    letters = sum(0.42 if c in NARROW else 1.0 if c in BROAD else 0.65 for c in text)
    return letters * SIZE[style] * (1.0 if style in {"fact", "note"} else 1.1)


def draw(net: dict[str, Any], *, titled: bool) -> Drawing:
    """Lay the chain of a net out, row below row, below its name and totals if `titled`."""
    steps = chain(net)
    rows = _rows([_box(step, _largest(steps)) for step in steps])
    told = tuple(_told(net)) if titled else ()
    head = [Label(MARGIN, y, *one, start=True) for y, one in zip(TITLES, told, strict=False)]
    inner = max(sum(box.width for box in row) + GAP * (len(row) + 1) for row in rows)
    inner = max(inner, *(extent(line, "note") for line in LEGEND), *(extent(*x) for x in told))
    drawing = Drawing(ceil(inner + 2 * MARGIN), 0, labels=head)
    top: float = HEAD if titled else MARGIN / 2
    for number, row in enumerate(rows):
        last = number == len(rows) - 1
        gap = GAP if last else (inner - sum(box.width for box in row)) / (len(row) + 1)
        top = _row(drawing, row, top, gap, (number == 0, last))
    top += LINE / 2
    for line in LEGEND:
        drawing.labels.append(Label(MARGIN, top, line, "note", start=True))
        top += LINE
    drawing.height = ceil(top)
    return drawing


def _told(net: dict[str, Any]) -> Iterator[tuple[str, str]]:
    totals = net["totals"]
    yield net["name"], "title"
    yield f"image {shape(net['input'])} · {count(totals['params'])} parameters", "fact"
    yield f"{large(totals['macs'])} multiply-adds per image", "fact"


def _sizes(output: Sequence[int]) -> tuple[int, float, float]:
    """Channels, height and width; a sequence is a square of as many places, a vector has none."""
    if len(output) >= MAP:
        return output[0], output[-2], output[-1]
    if len(output) == MAP - 1:
        return output[1], sqrt(output[0]), sqrt(output[0])
    return output[0] if output else 1, 0, 0


def _largest(steps: Sequence[Step]) -> tuple[float, int, int]:
    """The largest side of a map, the most channels of maps, the longest vector."""
    sizes = [_sizes(step.output) for step in steps]
    maps = [one for one in sizes if one[1]]
    side = max((max(one[1:]) for one in maps), default=1)
    vector = max((one[0] for one in sizes if not one[1]), default=1)
    return side, max([FEW, *(one[0] for one in maps)]), vector


def _box(step: Step, largest: tuple[float, int, int]) -> _Box:
    side, most, vector = largest
    channels, *sides = _sizes(step.output)
    texts = [(step.label, "name"), (shape(step.output) or "1", "fact"), (step.work, "fact")]
    texts += [(f"{count(step.params)} params", "fact")] if step.params else []
    if not sides[0]:
        high = FLAT + (TALL - FLAT) * sqrt(channels / vector)
        return _Box(step, FLAT, high, 0, tuple(texts))
    high, deep = (FLAT + (TALL - FLAT) * sqrt(one / side) for one in sides)
    thick = THIN + (THICK - THIN) * sqrt(channels / most)
    return _Box(step, thick, high, SLANT * deep, tuple(texts))


def _rows(boxes: Sequence[_Box]) -> list[list[_Box]]:
    rows: list[list[_Box]] = [[]]
    used = 0.0
    for box in boxes:
        if rows[-1] and used + box.width + 2 * GAP > WIDTH:
            rows.append([])
            used = 0.0
        rows[-1].append(box)
        used += box.width + GAP
    return rows


def _row(
    drawing: Drawing, row: Sequence[_Box], top: float, gap: float, ends: tuple[bool, bool]
) -> float:
    """Draw one row below `top`, the first, the last or between; gives where it ends."""
    first, last = ends
    tall = max(box.high + box.deep for box in row) + 1.5 * LINE
    middle = top + tall / 2 + LINE / 2
    below = top + tall + 1.5 * LINE
    x: float = MARGIN + gap
    end: float | None = None if first else MARGIN
    for box in row:
        left = x + (box.width - box.thick - box.deep) / 2
        if end is not None:
            _arrow(drawing, end, left, middle)
        end = left + box.thick + box.deep
        _solid(drawing, box, left, middle)
        centre = x + box.width / 2
        drawing.labels += [
            Label(centre, below + LINE * line, text, style)
            for line, (text, style) in enumerate(box.texts)
        ]
        if box.step.times > 1:
            high = middle - (box.high + box.deep) / 2 - 6
            drawing.labels.append(Label(centre, high, f"×{box.step.times}", "times"))
        x += box.width + gap
    if not last and end is not None:
        _arrow(drawing, end, x, middle)
    return below + LINE * (max(len(box.texts) for box in row) + 0.5)


def _solid(drawing: Drawing, box: _Box, left: float, middle: float) -> None:
    """Front, top and side of a box whose whole height is centred on `middle`."""
    top = middle - (box.high - box.deep) / 2
    right, bottom, lean = left + box.thick, top + box.high, box.deep
    kind = box.step.kind
    faces = {
        "front": ((left, top), (right, top), (right, bottom), (left, bottom)),
        "top": ((left, top), (left + lean, top - lean), (right + lean, top - lean), (right, top)),
        "side": (
            (right, top), (right + lean, top - lean),
            (right + lean, bottom - lean), (right, bottom),
        ),
    }  # fmt: skip
    drawing.shapes += [
        Shape(_points(points), f"{kind} {face}")
        for face, points in faces.items()
        if lean or face == "front"
    ]


def _arrow(drawing: Drawing, start: float, end: float, y: float) -> None:
    """From one box to the next, three pixels short of both."""
    start, end = start + 3, end - 3
    drawing.lines.append(Shape(_points(((start, y), (end, y))), "line"))
    tip = ((end, y), (end - 5, y - 3.5), (end - 5, y + 3.5))
    drawing.shapes.append(Shape(_points(tip), "tip"))


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
