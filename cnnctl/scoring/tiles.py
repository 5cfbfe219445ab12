"""Large images part by part, with the answer of one pass (Ronneberger et al. 2015, figure 2)."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor

from cnnctl import nets
from cnnctl.audit.ghost import ghost
from cnnctl.audit.places import Field
from cnnctl.audit.reach import Reach
from cnnctl.audit.trace import Trace
from cnnctl.config.schema import Train
from cnnctl.errors import ConfigError, DataError, Problem, UsageError
from cnnctl.mirror import reflected
from cnnctl.nets import meta
from cnnctl.nets.segmenter import Segmenter
from cnnctl.nets.spec import Spec
from cnnctl.scoring.scorer import Eager, Scorer

LARGE = 64  # pixels of the image on which it is found how far a net sees; more than any stride
LEAVE = "leave out tile: the image is then seen whole"


class Box(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class Line(NamedTuple):
    """What is read of one axis, int64 (N,), and where the wanted pixels begin in the answer."""

    places: Tensor
    skipped: int


class Tiled:
    """A Scorer of images of any size, of which it sees no more than a tile and its context.

    The answer is that of one pass, to the rounding of floats. Tiles begin at multiples of the
    stride, so that every pool has the windows of one pass. Around them each has the context that
    its pixels depend on: of a net without padding the margin, mirrored at the edges of the image;
    of all others as much as the net sees, cut off at the edges, where the net pads as in one pass.

    Raises what `tiled` raises.
    """

    def __init__(self, scorer: Scorer, side: int, net: Segmenter) -> None:
        self.side = _aligned(side, net)
        self.net = net
        self.whole = scorer
        self.classes = scorer.classes
        self.bare = _bare(scorer) if net.margin else None
        self.before, self.after = (0, 0) if self.bare else sight(net)
        self.stretched = not self.bare and _stretches(net)

    def __call__(self, images: Tensor, /) -> Tensor:
        """As `Scorer` says; the answer alone has the size of the image."""
        height, width = images.shape[-2:]
        if max(height, width) <= self.side:
            return self.whole(images)
        logits = torch.empty(len(images), len(self.classes), height, width)
        for box in self.boxes(height, width):
            top, left, tall, wide = box
            logits[..., top : top + tall, left : left + wide] = self.part(images, box)
        return logits

    def loss(self, logits: Tensor, labels: Tensor, /) -> Tensor | None:
        """As the scorer that it is made of has it."""
        return self.whole.loss(logits, labels)

    def boxes(self, height: int, width: int) -> Iterator[Box]:
        """The tiles of an image, row by row."""
        for top in range(0, height, self.side):
            for left in range(0, width, self.side):
                yield Box(top, left, min(self.side, height - top), min(self.side, width - left))

    def part(self, images: Tensor, box: Box) -> Tensor:
        """Logits, float32 (B, classes, height, width), of any part of images (B, C, H, W).

        Raises DataError if one pass would stretch the maps of images of this size.
        """
        self._require_even(images)
        down = self._line(box.top, box.height, images.shape[-2])
        right = self._line(box.left, box.width, images.shape[-1])
        lines, columns = (one.places.to(images.device) for one in (down, right))
        seen = images.index_select(2, lines).index_select(3, columns)
        found = (self.bare or self.whole)(seen)[..., down.skipped :, right.skipped :]
        return found[..., : box.height, : box.width]

    def _require_even(self, images: Tensor) -> None:
        height, width = images.shape[-2:]
        stride, net = self.net.stride, type(self.net).__name__
        if self.stretched and (height % stride or width % stride):
            text = f"{net} stretches its maps over an image of {width}x{height}, as no tile can"
            raise DataError(text, f"{LEAVE}, or cut sides to multiples of {stride} pixels")

    def _line(self, start: int, count: int, length: int) -> Line:
        """What is read for `count` pixels from `start` on, of `length`."""
        stride, margin = self.net.stride, self.net.margin
        skipped = start % stride
        if self.bare:
            first = start - skipped
            places = torch.arange(first, first + self.net.side(skipped + count)) - margin
            return Line(reflected(places, length), skipped)
        first = max(0, start - self.before) // stride * stride
        last = min(length, -(-(start + count + self.after) // stride) * stride)
        while first and not self._alike(first, last, length):
            first -= stride
        return Line(torch.arange(first, last), start - first)

    def _alike(self, first: int, last: int, length: int) -> bool:
        """Whether a part that ends where the image ends is completed as the whole image is."""
        seen, side = last - first, self.net.side
        more = side(seen) - self.net.margin - seen
        return max(more, self.net.margin) < seen and (
            last < length or side(length) == side(seen) + first
        )


def tiled(scorer: Scorer, side: int | None, net: Segmenter | None) -> Scorer:
    """`scorer`, which sees tiles of at most `side` pixels a side; without `side` as it is.

    `net` is what it computes, with weights or without (`of`). Raises UsageError where there is
    none, or where it sees the whole image at once, so that no part has the answer of one pass;
    ConfigError if tiles are smaller than the stride.
    """
    if side is None:
        return scorer
    if net is None:
        raise UsageError(f"tile={side} is there for masks alone", "leave it out")
    return Tiled(scorer, side, net)


def of(scorer: Scorer, spec: Spec, train: Train) -> Segmenter | None:
    """The net that a scorer computes; of an exported file its like, without weights.

    None of a net that does not give a class for every pixel.
    """
    if isinstance(scorer, Eager):
        return scorer.net if isinstance(scorer.net, Segmenter) else None
    data = train.data
    shape = (data.channels, data.size, data.size)
    with meta.device():
        made = nets.build(spec, num_classes=len(scorer.classes), shape=shape)
    return made if isinstance(made, Segmenter) else None


def sight(net: Segmenter) -> tuple[int, int]:
    """How many pixels before and behind itself a pixel of the masks depends on.

    Raises UsageError if that is the whole image, or not known.
    """
    field = _field(net, max(LARGE, 4 * net.stride))
    if field is not None and field.everything:
        text = f"tile has no place here: every pixel of {type(net).__name__} depends on the whole"
        raise UsageError(f"{text} image", LEAVE)
    if field is None or field.axes is None or any(one.jump != 1 for one in field.axes):
        raise UsageError(f"it is not known how far {type(net).__name__} sees", LEAVE)
    seen = [
        (place - first + net.margin, last - net.margin - place)
        for axis in field.axes
        for place, (first, last) in enumerate(axis.seen)
    ]
    return max(0, *(before for before, _ in seen)), max(0, *(after for _, after in seen))


def _stretches(net: Segmenter) -> bool:
    """Whether the maps of an image that the stride does not divide are resized to its size."""
    field = _field(net, max(LARGE, 4 * net.stride) + 1)
    return field is None or any(one.jump != 1 for one in field.axes or ())


def _field(net: Segmenter, length: int) -> Field | None:
    """What a pixel of the masks sees of an image of about so many pixels a side."""
    bare, reach, side = _unframed(net), Reach(), net.side(length)
    with ghost(bare, "eval") as double, torch.no_grad():
        image = double.images((1, next(net.parameters()).shape[1], side, side))
        reach.begin(image)
        with Trace(double, reach=reach).open():
            return reach.of(double(image))


def _aligned(side: int, net: Segmenter) -> int:
    """The largest multiple of the stride in `side`."""
    if side < net.stride:
        text = f"tile must be {net.stride} or more, the stride of the net, got {side}"
        raise ConfigError([Problem(text, f"tile={net.stride}, or more: 256", "tile")])
    return side // net.stride * net.stride


def _bare(scorer: Scorer) -> Scorer | None:
    """A scorer of the paper's net alone, whose borders we bring; None of an exported file."""
    if not isinstance(scorer, Eager) or not isinstance(scorer.net, Segmenter):
        return None
    inner = copy(scorer)
    inner.placed = copy(scorer.placed)
    inner.placed.run = _unframed(scorer.net)
    return inner


def _unframed(net: Segmenter) -> Segmenter:
    """The same layers, without mirrored borders."""
    bare = copy(net)
    bare.framed = False
    return bare
