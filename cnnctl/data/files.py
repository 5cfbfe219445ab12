"""Image files on a disk: their names in little memory, their bytes when they are wanted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np

from cnnctl.data.source import Blobs
from cnnctl.errors import DataError

PART = 4096  # files that one thread looks at before it hands over
THREADS = 16  # on a network drive each look is a wait


class Names:
    """Many texts in two arrays: UTF-8 bytes, and where each text starts.

    A list of a million strings takes 100 MB or more, and as Python counts the references to
    each of them, every loader process soon has a copy of its own. File names that are not
    UTF-8 come back as Python gave them.
    """

    def __init__(self, buffer: np.ndarray, offsets: np.ndarray) -> None:
        self.buffer = buffer
        self.offsets = offsets

    @classmethod
    def from_list(cls, names: Sequence[str]) -> Names:
        """A copy of `names`."""
        encoded = [os.fsencode(name) for name in names]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(name) for name in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    @classmethod
    def joined(cls, parts: Sequence[Names]) -> Names:
        """All of them, one after the other."""
        buffers = [part.buffer for part in parts] or [np.zeros(0, np.uint8)]
        lengths = [np.diff(part.offsets) for part in parts]
        offsets = np.concatenate([np.zeros(1, np.int64), *lengths])
        return cls(np.concatenate(buffers), np.cumsum(offsets))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int, /) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, stop = self.offsets[index : index + 2].tolist()
        return os.fsdecode(self.buffer[start:stop].tobytes())

    def __iter__(self) -> Iterator[str]:
        return map(os.fsdecode, self.encoded(0, len(self)))

    def encoded(self, start: int, stop: int) -> list[bytes]:
        """Those from `start` up to `stop` or the last, as bytes; faster than one by one."""
        offsets = self.offsets[start : stop + 1]
        data = self.buffer[offsets[0] : offsets[-1]].tobytes()
        return [data[a:b] for a, b in pairwise((offsets - offsets[0]).tolist())]


class Files:
    """Files under the folder `root`; `names` are their paths below it, or absolute ones."""

    def __init__(self, root: Path, names: Names) -> None:
        self.root = root
        self.names = names
        self.top = "" if root == Path() else str(root)

    @classmethod
    def of(cls, paths: Sequence[str | Path]) -> Files:
        """Files anywhere, absolute or from the working folder."""
        return cls(Path(), Names.from_list([str(path) for path in paths]))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> bytes:
        """What the file holds. Raises DataError, naming it, if it cannot be read."""
        path = self.name(index)
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as in name
                return file.readall()
        except OSError as wrong:
            raise _unreadable(path, wrong) from wrong

    def name(self, index: int) -> str:
        """The path."""
        return os.path.join(self.top, self.names[index])  # noqa: PTH118 - Path takes five times as long

    def stamp(self) -> str:
        """SHA-256 over name, size and time of the last change of every file.

        Raises DataError, naming a file that is gone.
        """
        digest = hashlib.sha256()
        with ThreadPoolExecutor(THREADS) as pool:
            for part in pool.map(self._looks, range(0, len(self), PART)):
                digest.update(part)
        return digest.hexdigest()

    def _looks(self, start: int) -> bytes:
        top, seen = os.fsencode(self.top), []
        for name in self.names.encoded(start, start + PART):
            path = os.path.join(top, name)  # noqa: PTH118 - bytes
            try:
                found = os.stat(path)  # noqa: PTH116 - bytes
            except OSError as wrong:
                raise _unreadable(os.fsdecode(path), wrong) from wrong
            times = (found.st_mtime_ns, found.st_ctime_ns)  # the second one cannot be set back
            seen.append(b"%b\0%d\0%d\0%d\n" % (name, found.st_size, *times))
        return b"".join(seen)


class Chained:
    """Several blobs as one: the second's follow the first's."""

    def __init__(self, *parts: Blobs) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int, /) -> bytes:
        """As its part says."""
        part, place = self._place(index)
        return part[place]

    def name(self, index: int) -> str:
        """As its part says."""
        part, place = self._place(index)
        return part.name(place)

    def stamp(self) -> str:
        """SHA-256 over those of the parts."""
        stamps = "\n".join(part.stamp() for part in self.parts)
        return hashlib.sha256(stamps.encode()).hexdigest()

    def _place(self, index: int) -> tuple[Blobs, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self.ends, index, side="right"))
        return self.parts[number], index - int(self.ends[number]) + len(self.parts[number])


def _unreadable(path: str, wrong: OSError) -> DataError:
    return DataError(f"cannot read image {path}: {wrong.strerror}")
