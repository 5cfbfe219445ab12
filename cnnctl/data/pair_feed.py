"""How images with masks get to the net: held in memory if they fit, or read anew each time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import Tensor

from cnnctl.config.masks import FolderMasks, Masks, PublishedMasks
from cnnctl.data import parts
from cnnctl.data.pair_reading import resized
from cnnctl.data.pairs import Held, Pairs
from cnnctl.data.source import Feed, Images, Source
from cnnctl.errors import DataError

SHARE = 0.25  # of the memory that images with masks may take
SAMPLE = 8  # pairs from whose size that of all is guessed
PART = 8  # pairs that one thread reads at a time
Tell = Callable[[str, int, int], None]


class Machine(NamedTuple):
    """What reads: loader processes, and how many processes that train share the memory."""

    workers: int
    local: int


def settle(
    source: Source, data: Masks, machine: Machine, tell: Tell, *, build: bool = True
) -> Source:  # fmt: skip
    """The source with its pairs where they are read from, and how that is, in `feeds`.

    What is held has been read, and so has everything with data.verify. Raises DataError for a pair
    that cannot be used, or leaves it out (data.on_error=skip). Without `build` nothing is read
    but what tells the sizes.
    """
    splits, feeds, faults = dict[str, Images](), dict[str, Feed](), dict[str, DataError]()
    need = {name: _guess(pairs, data) for name, pairs in source.splits.items()}
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / machine.local
    fits = data.cache != "never" and sum(need.values()) <= SHARE * memory
    for name, pairs in source.splits.items():
        assert isinstance(pairs, Pairs)
        splits[name] = pairs
        if build and not isinstance(pairs, Held) and (fits or _verified(data)):
            splits[name], broken = _read(pairs, data, tell, keep=fits)
            faults |= broken
        kept = splits[name]
        if isinstance(kept, Held) or fits:
            held = kept.bytes if isinstance(kept, Held) else need[name]
            feeds[name] = Feed(kind="memory", bytes=held)
        else:
            workers = machine.workers
            ahead = 2 * data.batch_size * data.size**2 * (data.channels + 1) if workers else 0
            feeds[name] = Feed(kind="decode", bytes=ahead, workers=workers)
    _judge(faults, splits, data)
    reasons = {
        name: wrong.message.removeprefix(f"cannot read image {name}: ")
        for name, wrong in faults.items()
    }
    return replace(source, splits=splits, skipped={**source.skipped, **reasons}, feeds=feeds)


def _read(
    pairs: Pairs, data: Masks, tell: Tell, *, keep: bool
) -> tuple[Pairs, dict[str, DataError]]:
    """The pairs without those that cannot be used, and why each of these cannot; held if `keep`."""
    count, done = len(pairs.labels), 0
    found: dict[int, tuple[Tensor, Tensor]] = {}
    broken: dict[str, DataError] = {}
    sound: list[int] = []

    def part(start: int) -> list[tuple[int, tuple[Tensor, Tensor] | DataError]]:
        return [(number, _pair(pairs, number)) for number in range(start, min(start + PART, count))]

    for some in parts.run(part, range(0, count, PART)):
        for number, pair in some:
            if isinstance(pair, DataError):
                broken[pairs.name(number)] = pair
                continue
            sound.append(number)
            if keep:
                found[number] = (resized(pair[0], data.resize).contiguous(), pair[1])
        done += len(some)
        tell("reading", done, count)
    if keep:
        return Held([found[one] for one in sound], [pairs.name(one) for one in sound]), broken
    return (pairs.pick(np.array(sound, np.int64)) if broken else pairs), broken


def _pair(pairs: Pairs, number: int) -> tuple[Tensor, Tensor] | DataError:
    try:
        return pairs.pair(number)
    except DataError as wrong:
        return wrong


def _guess(pairs: Images, data: Masks) -> int:
    """Bytes of all pairs, from those of a few."""
    assert isinstance(pairs, Pairs)
    if isinstance(pairs, Held):
        return pairs.bytes
    count, sizes = len(pairs.labels), list[int]()
    for number in range(0, count, max(1, count // SAMPLE)):
        with contextlib.suppress(DataError):  # a broken one is told later
            image, mask = pairs.pair(number)
            sizes.append(resized(image, data.resize).nbytes + mask.nbytes)
    return count * max(sizes, default=0)


def _judge(faults: dict[str, DataError], splits: dict[str, Images], data: Masks) -> None:
    if faults and data.on_error == "fail":
        first, *others = faults.values()
        more = f"; {len(others)} more cannot be used" if others else ""
        hint = "mend or remove it, or leave such images out with data.on_error=skip"
        raise DataError(f"{first.message}{more}", first.hint or hint)
    for name, pairs in splits.items():
        if not len(pairs.labels):
            first = next((wrong.message for wrong in faults.values()), None)
            raise DataError(f"no image of {name} can be used", first)


def _verified(data: Masks) -> bool:
    return isinstance(data, (FolderMasks, PublishedMasks)) and data.verify
