"""The folder of an export: it is there with everything in it, or not at all. Needs no torch."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cnnctl.errors import RunError

VERB = "export"


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
        raise RunError(f"{folder} {what}", "output=FOLDER with the name of a new folder")


@contextlib.contextmanager
def made(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write in, which takes its place when the block ends.

    Whatever else happens, nothing is left, nor the folders above it that were made for it.
    Raises RunError if nothing can be written there.
    """
    above = [path for path in folder.parents if not path.exists()]
    beside: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        beside.chmod(folder.parent.stat().st_mode & 0o777)  # mkdtemp's is for its owner alone
        yield beside
        _settle(beside, folder)
    except BaseException as wrong:
        _clear(beside, above)
        if isinstance(wrong, OSError):
            text = f"cannot write in {folder}: {wrong.strerror or wrong}"
            raise RunError(text, "choose another folder with output=…") from wrong
        raise


def _settle(beside: Path, folder: Path) -> None:
    """Rename; into a folder that is there, and empty, file by file, the manifest last."""
    if not folder.exists():
        beside.rename(folder)
        return
    for file in sorted(beside.iterdir(), key=lambda one: one.suffix == ".json"):
        file.replace(folder / file.name)
    beside.rmdir()


def _clear(beside: Path | None, above: list[Path]) -> None:
    if beside is not None:
        shutil.rmtree(beside, ignore_errors=True)
    for path in above:  # the innermost comes first
        with contextlib.suppress(OSError):
            path.rmdir()
