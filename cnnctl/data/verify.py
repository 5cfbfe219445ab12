"""Which images cannot be decoded, found before training and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from cnnctl.data import parts
from cnnctl.data.places import cache_dir, write
from cnnctl.data.source import Encoded
from cnnctl.errors import DataError

Tell = Callable[[int, int], None]
PART = 256  # images that one thread decodes before it says so


def broken(images: Encoded, tell: Tell) -> dict[int, str]:
    """The numbers of the blobs that cannot be decoded, with the reasons.

    The verdict is kept in the cache folder, if it can be written, and holds until a file changes.
    """
    found = known(images)
    if found is None:
        found = _decoded(images, tell)
        with contextlib.suppress(OSError):
            write(_file(images), json.dumps(found).encode())
    return found


def known(images: Encoded) -> dict[int, str] | None:
    """The verdict, if there is one."""
    try:
        found = json.loads(_file(images).read_text(encoding="utf-8"))
        return {int(number): reason for number, reason in found.items()}
    except (OSError, ValueError, AttributeError):
        return None


def _file(images: Encoded) -> Path:
    numbers = hashlib.sha256(images.indices.tobytes()).hexdigest()
    text = f"{images.blobs.stamp()} {images.channels} {numbers}"
    return cache_dir() / "verified" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _decoded(images: Encoded, tell: Tell) -> dict[int, str]:
    count, done = len(images.labels), 0
    found: dict[int, str] = {}

    def part(start: int) -> dict[int, str]:
        faults = {}
        for index in range(start, min(start + PART, count)):
            try:
                images[index]
            except DataError as wrong:
                faults[int(images.indices[index])] = wrong.message
        return faults

    for faults in parts.run(part, range(0, count, PART)):
        found |= faults
        done = min(done + PART, count)
        tell(done, count)
    return found
