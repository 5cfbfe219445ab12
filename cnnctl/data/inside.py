"""Images at known places inside of larger files."""

from __future__ import annotations

import hashlib
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnctl.errors import DataError


class Places(ABC):
    """Images at known places of some files.

    `table` has a row of numbers for each, int64 (N, K): first the file's, last the image's in
    that file. Arrays, as a million Python objects would be copied into every loader process.
    """

    def __init__(self, files: Sequence[str | Path], table: Sequence[Sequence[int]]) -> None:
        self.files = [str(file) for file in files]
        self.table = np.array(table, np.int64)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int, /) -> bytes:
        file, *place = self.table[index].tolist()
        try:
            return self._read(self.files[file], *place)
        except (OSError, ValueError, zlib.error) as wrong:
            raise DataError(f"cannot read image {self.name(index)}: {reason(wrong)}") from wrong

    @abstractmethod
    def _read(self, file: str, *place: int) -> bytes: ...

    def name(self, index: int) -> str:
        """The file, and the number or the name that the image has in it."""
        return f"{self.files[self.table[index, 0]]}/{self.table[index, -1]}"

    def stamp(self) -> str:
        """As `stamp`, of the files that have images, and the places."""
        return stamp([self.files[number] for number in np.unique(self.table[:, 0])], self.table)


def stamp(files: Sequence[str], table: np.ndarray) -> str:
    """SHA-256 over path, size and times of the last change of the files, and the places."""
    digest = hashlib.sha256(table.tobytes())
    for file in files:
        try:
            found = Path(file).stat()
        except OSError as wrong:
            raise unreadable(Path(file), wrong) from wrong
        times = f"{found.st_mtime_ns}\0{found.st_ctime_ns}"  # the second cannot be set back
        digest.update(os.fsencode(f"{file}\0{found.st_size}\0{times}\n"))
    return digest.hexdigest()


def unreadable(path: Path, wrong: Exception) -> DataError:
    """The error for a file that is not there, or not what it should be."""
    if isinstance(wrong, OSError) and wrong.strerror:
        return DataError(f"cannot read {path}: {wrong.strerror}")
    return DataError(f"{path} is damaged: {reason(wrong)}", "make or download it again")


def reason(wrong: Exception) -> str:
    """Why something could not be read, in one line."""
    text = getattr(wrong, "strerror", None) or str(wrong).strip() or type(wrong).__name__
    return text.splitlines()[0]
