"""The receptive field along one axis, exactly: which pixels an index sees, on an endless image.

The usual recursion (size, jump) cannot say what a transposed convolution or a resize sees, since
there the answer depends on the position. Here the first few positions are listed and all others
follow: index i + period sees what i sees, `advance` pixels further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from math import lcm
from typing import NamedTuple

Seen = tuple[int, int]  # the first and the last pixel


class Axis(NamedTuple):
    """What `len(seen)` neighbouring indices see; the pattern repeats `advance` pixels further."""

    seen: tuple[Seen, ...] = ((0, 0),)
    advance: int = 1

    @property
    def size(self) -> int:
        """Pixels that one index sees, the most of all positions."""
        return max(last - first + 1 for first, last in self.seen)

    @property
    def jump(self) -> Fraction:
        """Pixels between neighbouring indices, on average."""
        return Fraction(self.advance, len(self.seen))

    def at(self, index: int) -> Seen:
        """What an index sees."""
        turns, place = divmod(index, len(self.seen))
        first, last = self.seen[place]
        return first + turns * self.advance, last + turns * self.advance

    def gather(self, stride: Fraction | int, taps: Callable[[int], Sequence[int]]) -> Axis:
        """A layer whose index i reads the indices taps(i) of this axis.

        taps(i + p) must be taps(i) + p·stride wherever p·stride is whole.
        """
        stride = Fraction(stride)
        period = _least(stride, len(self.seen))
        return Axis(
            tuple(union(self.at(tap) for tap in taps(i)) for i in range(period)),
            int(period * stride * self.jump),
        )

    def joined(self, other: Axis) -> Axis | None:
        """What sees both, as a sum or a concatenation does; None if their jumps differ."""
        if self == other:
            return self
        if self.jump != other.jump:
            return None
        period = lcm(len(self.seen), len(other.seen))
        return Axis(
            tuple(union((self.at(i), other.at(i))) for i in range(period)), int(period * self.jump)
        )


def union(parts: Iterable[Seen]) -> Seen:
    """The smallest range that holds all of them."""
    firsts, lasts = zip(*parts, strict=True)
    return min(firsts), max(lasts)


def _least(stride: Fraction, period: int) -> int:
    """The fewest steps after which a walk of `stride` has passed whole periods."""
    steps = 1
    while (steps * stride) % period:
        steps += 1
    return steps


def slide(axis: Axis, kernel: int, stride: int, padding: int, dilation: int = 1) -> Axis:
    """A convolution or a pool."""
    if len(axis.seen) == 1:  # the usual case, without a list of taps
        (first, last), step = axis.seen[0], axis.advance
        more = (kernel - 1) * dilation - padding
        return Axis(((first - padding * step, last + more * step),), stride * step)
    return axis.gather(
        stride, lambda i: [i * stride - padding + tap * dilation for tap in range(kernel)]
    )


def spread(axis: Axis, kernel: int, stride: int, padding: int, dilation: int = 1) -> Axis | None:
    """A transposed convolution; None if some of its positions get nothing."""

    def taps(i: int) -> list[int]:
        ends = (i + padding - tap * dilation for tap in range(kernel))
        return [end // stride for end in ends if end % stride == 0]

    if not all(taps(i) for i in range(stride)):
        return None
    return axis.gather(Fraction(1, stride), taps)


def share(axis: Axis, size: int, pieces: int) -> Axis:
    """Adaptive pooling of `size` indices to `pieces`: [⌊i·n/m⌋, ⌈(i + 1)·n/m⌉)."""
    return axis.gather(
        Fraction(size, pieces),
        lambda i: range(i * size // pieces, -(-(i + 1) * size // pieces)),
    )


def resize(axis: Axis, size: int, new: int, *, near: int) -> Axis:
    """Enlarging or shrinking to `new` indices, of which each is made of the `near` nearest ones.

    1: the nearest below, 2: linear, 4: cubic. An index right on top of another sees that alone.
    """
    ratio = Fraction(size, new)

    def taps(i: int) -> Sequence[int]:
        if near == 1:
            return [(i * ratio).__floor__()]
        centre = (i + Fraction(1, 2)) * ratio - Fraction(1, 2)
        first = centre.__floor__() - near // 2 + 1
        return [int(centre)] if centre.denominator == 1 else range(first, first + near)

    return axis.gather(ratio, taps)


def shift(axis: Axis, start: int, step: int = 1) -> Axis:
    """A slice that begins at `start`, or padding where it is negative."""
    return axis.gather(step, lambda i: [start + i * step])
