"""The folder of an export: it is there with everything in it, or not at all. Needs no torch."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cnnctl.errors import RunError, Stopped

VERB = "export"
NEW = "output=FOLDER with the name of a new folder"


class Terminated(BaseException):
    """SIGTERM has come. Libraries that try one way after another must not catch it."""


def named(outputs: str, *words: str) -> Path:
    """A new name under `outputs`, as runs have them; two exports never share one."""
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")  # noqa: DTZ005 - the user's own clock names the folder
    name = "_".join([now, *(safe(word) for word in words), secrets.token_hex(2)])
    return Path(outputs).expanduser() / VERB / name


def safe(name: str) -> str:
    """The name of a net or of data as that of a file: torchvision/resnet18 has a slash."""
    return re.sub(r"[^\w.+-]+", "-", name)


def require_new(folder: Path) -> None:
    """Raise RunError if there is something in `folder`, or it is a file."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.is_dir() or folder.exists() or folder.is_symlink():
        what = "is not empty" if folder.is_dir() else "is a file"
        raise RunError(f"{folder} {what}", NEW)


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Path]:
    """A folder near `folder` to write in, which takes its place when the block ends.

    Whatever else happens, nothing is left, nor the folders above it that were made for it.
    Raises RunError if nothing can be written there or something has come to lie there meanwhile,
    and Stopped on SIGTERM, which ends the block as Ctrl-C does.
    """
    above = [path for path in folder.parents if not path.exists()]
    hidden: Path | None = None
    try:
        with _terminated():
            folder.parent.mkdir(parents=True, exist_ok=True)
            hidden = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            inside = hidden / folder.name  # open to others as the user has it; mkdtemp's is not
            inside.mkdir()
            yield inside
            _settle(inside, folder)
    except BaseException as wrong:
        _clear(hidden, above)
        if isinstance(wrong, Terminated):
            number = signal.SIGTERM
            raise Stopped("stopped by SIGTERM; nothing was kept", None, number) from None
        if isinstance(wrong, OSError):
            text = f"cannot write in {folder}: {wrong.strerror or wrong}"
            raise RunError(text, "choose another folder with output=…") from wrong
        raise
    _clear(hidden, [])


def _settle(inside: Path, folder: Path) -> None:
    """Rename; into a folder that is there, and empty, file by file, the manifest last."""
    require_new(folder)
    if not folder.exists():
        inside.rename(folder)
        return
    moved: list[Path] = []
    try:
        for file in sorted(inside.iterdir(), key=lambda one: one.suffix == ".json"):
            place = folder / file.name
            require_new(place)
            moved.append(place)
            file.rename(place)
    except BaseException:
        for place in moved:
            place.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Inside, SIGTERM raises Terminated, unless it is ignored, or this is not the main thread."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if main else None
    if before in (None, signal.SIG_IGN):
        yield
        return

    def stop(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _clear(hidden: Path | None, above: list[Path]) -> None:
    if hidden is not None:
        shutil.rmtree(hidden, ignore_errors=True)
    for path in above:  # the innermost comes first
        with contextlib.suppress(OSError):
            path.rmdir()
