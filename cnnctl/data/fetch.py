"""Getting a published data set through torchvision, from the disk or from its server.

What torchvision prints goes to stderr, and whatever it raises becomes one line.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import warnings
from collections.abc import Iterator
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.error import URLError

from cnnctl.config.images import Published
from cnnctl.config.masks import PublishedMasks
from cnnctl.data.catalog import Set
from cnnctl.errors import DataError

T = TypeVar("T")
SILENCE = 60.0  # seconds after which a server that sends nothing is given up
# After these, whatever has been unpacked before is whole.
BEFORE_UNPACKING = (URLError, ConnectionError, TimeoutError, HTTPException, RuntimeError)
ELSEWHERE = "or give the folder that holds it: data.root=FOLDER"
WORDS = {  # torchvision's, and ours
    "Dataset not found": "a file is missing, or its checksum differs",
    "File not found or corrupted": "the checksum of what was downloaded differs",
}


def fetch(data: Published | PublishedMasks, entry: Set[T]) -> dict[str, T]:
    """Every split of the data set, downloaded before if it is not there and data.download.

    Raises DataError if it is missing, damaged, cannot be downloaded or needs scipy.
    """
    return _Fetch(data, entry).run()


class _Fetch(Generic[T]):
    """One data set in one folder."""

    def __init__(self, data: Published | PublishedMasks, entry: Set[T]) -> None:
        self.entry = entry
        self.root = Path(data.root).expanduser()
        self.download = data.download and self.entry.get is None
        self.extra = bool(getattr(data, "extra", False))
        keys = self.entry.keys.items()
        self.arguments: dict[str, Any] = {name: getattr(data, key) for name, key in keys}
        self.mark = self.root / f".{data.name}.incomplete"
        self.places = [
            [self.root / form.format(**self.arguments) for form in forms]
            for forms in self.entry.places
        ]

    def run(self) -> dict[str, T]:
        """As `fetch` says."""
        if self.root.exists() and not self.root.is_dir():
            raise DataError(f"data.root is not a folder: {self.root}")
        self._refuse_half()
        missing = [forms for forms in self.places if not any(form.exists() for form in forms)]
        if missing and not self.download:
            names = " or ".join(form.relative_to(self.root).as_posix() for form in missing[0])
            hint = self.entry.get or "data.download=true gets it"
            text = f"{self.entry.title} is not in {self.root}: there is no {names}"
            raise DataError(text, f"{hint}, {ELSEWHERE}")
        if self._needs_scipy() and find_spec("scipy") is None:
            text = f"{self.entry.title} has files of MATLAB, and torchvision needs scipy for them"
            raise DataError(text, "pip install 'cnnctl[scipy]'")
        made = [forms[0] for forms in self.places if not forms[0].exists()]
        return self._make(made) if made else self._open()

    def _refuse_half(self) -> None:
        """Torchvision takes a folder that was unpacked in part for the whole set."""
        if not self.mark.exists():
            return
        begun = [self.root / line for line in self.mark.read_text(encoding="utf-8").splitlines()]
        begun = [str(path) for path in begun if path.exists()]
        if begun:
            text = f"{self.entry.title} in {self.root} is incomplete: getting it was interrupted"
            hint = f"delete {', '.join(begun)} and start again, unless another process is at it"
            raise DataError(text, hint)

    def _needs_scipy(self) -> bool:
        """ImageNet does once: torchvision makes meta.bin from a file of MATLAB."""
        matlab = self.entry.matlab
        return not (self.root / matlab).exists() if isinstance(matlab, str) else matlab

    def _open(self) -> dict[str, T]:
        """A set that is there; what torchvision finds damaged is downloaded again."""
        try:
            return self._read(download=False)
        except Exception as wrong:  # noqa: BLE001 - what a damaged file raises is no closed list
            reason = _reason(wrong)
        if self.download:
            try:
                return self._read(download=True)
            except Exception as wrong:  # noqa: BLE001 - as above
                again = _reason(wrong)
            reason += "" if again == reason else f"; downloading it again: {again}"
        text = f"{self.entry.title} in {self.root} is incomplete or damaged: {reason}"
        again = self.entry.get or "start again with data.download=true"
        raise DataError(text, f"delete its files there, then {again}")

    def _make(self, made: list[Path]) -> dict[str, T]:
        """A set that is downloaded or unpacked; while that lasts, a mark names what is `made`."""
        whole = False
        try:
            if not self.entry.checked:
                self.root.mkdir(parents=True, exist_ok=True)
                names = "\n".join(path.relative_to(self.root).as_posix() for path in made)
                self.mark.write_text(names, encoding="utf-8")
            found = self._read(download=self.download)
            whole = True
        except Exception as wrong:
            whole = isinstance(wrong, BEFORE_UNPACKING)
            doing = "download" if self.download else "unpack"
            text = f"cannot {doing} {self.entry.title} to {self.root}: {_reason(wrong)}"
            raise DataError(text, self.entry.get or f"try again later, {ELSEWHERE}") from wrong
        else:
            return found
        finally:
            if whole or not any(path.exists() for path in made):
                with contextlib.suppress(OSError):  # a folder that may not be written has no mark
                    self.mark.unlink()

    def _read(self, *, download: bool) -> dict[str, T]:
        arguments = self.arguments if self.entry.get else {**self.arguments, "download": download}
        with _alone():
            return {
                part: self.entry.read(self.entry.open(str(self.root), **own, **arguments))
                for part, own in self.entry.parts.items()
                if part != "extra" or self.extra
            }


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Nothing of torchvision's on stdout, which is the result's; no endless waiting."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickles of 2009, which nobody can renew
            yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(wrong: Exception) -> str:
    """The last line of what was raised, which names the cause, without Python's wrapping."""
    lines = [line.strip() for line in str(wrong).splitlines() if line.strip()]
    if not lines:
        return "a file is not in the format of the set"
    for theirs, ours in WORDS.items():
        if lines[-1].startswith(theirs):
            return ours
    return lines[-1].removeprefix("<urlopen error ").removesuffix(">").removesuffix(".")
