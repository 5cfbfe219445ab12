"""One pass over images with masks: pixels of each class, and pairs that cannot be used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from cnnctl.config.masks import IGNORE
from cnnctl.data import parts
from cnnctl.data.pairs import Pairs
from cnnctl.errors import DataError

PART = 8  # pairs that one thread looks at before it says so
KEY = 8  # bytes of a hash, as in survey
Tell = Callable[[int, int], None]  # pairs done, pairs in all


@dataclass
class MaskSurvey:
    """What was found; rows of zeros for pairs that could not be read.

    `pixels` are those of each class and, last, those that are ignored, int64 (N, classes + 1);
    `keys` hashes of the masks, uint64 (N,); `broken` says why a pair cannot be used.
    """

    pixels: np.ndarray
    keys: np.ndarray
    broken: dict[int, str] = field(default_factory=dict)

    @property
    def blank(self) -> list[int]:
        """The masks in which no pixel counts."""
        empty = (self.pixels[:, :-1].sum(1) == 0) & (self.pixels[:, -1] > 0)
        return np.flatnonzero(empty).tolist()


def survey(pairs: Pairs, classes: int, tell: Tell) -> MaskSurvey:
    """Every pair is read once, in threads, as training reads it; nothing stops at a broken one."""
    count, done = len(pairs.labels), 0
    found = MaskSurvey(np.zeros((count, classes + 1), np.int64), np.zeros(count, np.uint64))

    def part(start: int) -> int:
        numbers = range(start, min(start + PART, count))
        for number in numbers:  # each row is written by one thread
            try:
                _, mask = pairs.pair(number)
            except DataError as wrong:
                found.broken[number] = wrong.message.removeprefix(
                    f"cannot read image {pairs.name(number)}: "
                )
                continue
            often = torch.bincount(mask[0].flatten().long(), minlength=IGNORE + 1).numpy()
            found.pixels[number] = [*often[:classes], often[IGNORE]]
            digest = hashlib.blake2b(mask[0].numpy().tobytes(), digest_size=KEY).digest()
            found.keys[number] = int.from_bytes(digest)
        return len(numbers)

    for some in parts.run(part, range(0, count, PART)):
        done += some
        tell(done, count)
    return found
