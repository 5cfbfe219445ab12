"""Places for names beside their marks, so that nothing covers anything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import cos, hypot, pi, sin

Point = tuple[float, float]
Line = tuple[Point, Point]
Box = tuple[float, float, float, float]  # left, bottom, right, top

AIR = 1.5  # points around a name
RINGS = (6, 8, 11, 16, 22, 29, 37, 46, 56, 68, 82, 98, 116, 136)  # points from mark to name
TURNS = 24  # directions of each ring; the first is to the right
NEAR = 8  # points: a name further off needs a line to its mark


@dataclass
class Layout:
    """What is taken already: `marks`, and the names and lines that have been placed.

    All in pixels; `scale` pixels are a point.
    """

    frame: Box
    scale: float
    marks: list[Box]
    names: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def place(self, mark: Point, half: Point) -> tuple[Box, Line | None]:
        """The nearest free box for a name of half this width and height, and the line to it.

        Where there is none, the line may pass others; where nothing is free at all, the name
        stands to the right of its mark all the same.
        """
        tried = [around(centre, half, AIR * self.scale) for centre in self._centres(mark, half)]
        found = [(box, self._line(mark, box)) for box in tried if self._free(box)]
        clear = (one for one in found if one[1] is None or self._clear(one[1]))
        box, line = next(clear, next(iter(found), (tried[0], None)))
        self.names.append(box)
        self.lines += [line] if line else []
        return box, line

    def _centres(self, mark: Point, half: Point) -> Iterator[Point]:
        for ring in RINGS:
            for turn in sorted(range(TURNS), key=_preferred):
                angle = 2 * pi * turn / TURNS
                yield (
                    mark[0] + cos(angle) * (half[0] + ring * self.scale),
                    mark[1] + sin(angle) * (half[1] + ring * self.scale),
                )

    def _line(self, mark: Point, box: Box) -> Line | None:
        end = min(max(mark[0], box[0]), box[2]), min(max(mark[1], box[1]), box[3])
        apart = hypot(end[0] - mark[0], end[1] - mark[1])
        return (mark, end) if apart > NEAR * self.scale else None

    def _free(self, box: Box) -> bool:
        """Whether a name can stand here."""
        inside = box[0] >= self.frame[0] and box[1] >= self.frame[1]
        if not inside or box[2] > self.frame[2] or box[3] > self.frame[3]:
            return False
        if any(overlap(box, other) for other in (*self.marks, *self.names)):
            return False
        return not any(crosses(line, box) for line in self.lines)

    def _clear(self, line: Line) -> bool:
        """Whether a line passes no name, and no mark but those it begins in."""
        marks = (other for other in self.marks if not _holds(other, line[0]))
        return not any(crosses(line, other) for other in (*marks, *self.names))


def around(centre: Point, half: Point, air: float) -> Box:
    """The box of a middle, half its size, and some air."""
    (x, y), (wide, high) = centre, half
    return x - wide - air, y - high - air, x + wide + air, y + high + air


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share more than an edge."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def crosses(line: Line, box: Box) -> bool:
    """Whether a line passes through a box (Liang, Barsky 1984: clip it at each side)."""
    (x, y), (to_x, to_y) = line
    enters, leaves = 0.0, 1.0
    for start, step, low, high in ((x, to_x - x, box[0], box[2]), (y, to_y - y, box[1], box[3])):
        if step == 0:
            if not low < start < high:
                return False
            continue
        near, far = sorted(((low - start) / step, (high - start) / step))
        enters, leaves = max(enters, near), min(leaves, far)
    return enters < leaves


def _holds(box: Box, point: Point) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _preferred(turn: int) -> tuple[int, int]:
    """Right, left, above, below first; slanted places after them."""
    quarter = TURNS // 4
    return turn % quarter != 0, (0, 2, 1, 3)[turn // quarter]
