"""Checkpoints on disk: whole, verified, and read without running code in them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from cnnctl import runs, weights
from cnnctl.errors import CheckpointError, RunError
from cnnctl.tasks.steps import STATE


class VerifiedIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, reads it back, and only then renames it.

    The one before stays until then. Lightning's own way swallows a PermissionError and keeps a
    second copy in memory.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,
    ) -> None:
        """Save, whole or not at all. Raises RunError if the folder is full, gone or read-only."""
        place = Path(path)
        beside = place.with_name(f".{place.name}")
        try:
            with beside.open("wb") as file:
                hashed = Hashed(file)
                torch.save(checkpoint, hashed)  # pyright: ignore[reportArgumentType] - all it needs is `write`
                file.flush()
                os.fsync(file.fileno())
            _verify(beside, hashed.digest.digest())
            beside.replace(place)
            _settle(place.parent)
        except (OSError, RuntimeError) as wrong:  # torch turns a full disk into a RuntimeError
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            if isinstance(wrong, torch.OutOfMemoryError | torch.AcceleratorError):
                raise  # of the device, whose tensors are copied meanwhile
            reason = getattr(wrong, "strerror", None) or "the disk may be full"
            raise RunError(f"cannot write {place}: {reason}") from wrong

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """What it holds. Raises CheckpointError if it is damaged, or more than data."""
        try:
            return weights.content(Path(path))
        except CheckpointError as wrong:
            best = Path(path).with_name(runs.BEST)
            hint = f"begin anew: remove {path}, or start from pretrained={best}"
            raise CheckpointError(wrong.message, hint) from wrong


def configuration(path: Path) -> dict[str, Any]:
    """That of the run which wrote it. Raises CheckpointError if no run can go on from it."""
    saved = VerifiedIO().load_checkpoint(path)
    needed = (weights.ENTRY, STATE, "optimizer_states", "state_dict", "callbacks")
    if not isinstance(saved, dict) or not all(name in saved for name in needed):
        text = f"{path} is no checkpoint that a run can go on from"
        raise CheckpointError(text, f"begin anew: remove {path}")
    best, place = saved["callbacks"]["Checkpoints"]["best"], saved[STATE]
    named = best is None or (best[2] + 1 == place["epoch"] and place["begun"] == 0)
    if not named and not path.with_name(runs.BEST).is_file():  # else it is named when it goes on
        text = f"{path.with_name(runs.BEST)} is gone, which no later epoch may equal"
        raise CheckpointError(text, f"begin anew: remove {path}")
    return json.loads(saved[weights.ENTRY])["config"]


class Hashed(io.RawIOBase):
    """A file that is written from front to end, and its SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """All of it."""
        self.digest.update(data)
        return self.file.write(data)


def link(file: Path, place: Path) -> None:
    """Let `place` be the same file, in one go; a copy where there are no links.

    Raises RunError if the folder is full or read-only.
    """
    beside = place.with_name(f".{place.name}")
    try:
        beside.unlink(missing_ok=True)
        try:
            beside.hardlink_to(file)
        except OSError:
            shutil.copyfile(file, beside)
        beside.replace(place)
        beside.unlink(missing_ok=True)  # which is still there if both were the same file already
        _settle(place.parent)
    except OSError as wrong:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise RunError(f"cannot write {place}: {wrong.strerror}") from wrong


def _verify(file: Path, digest: bytes) -> None:
    with file.open("rb") as read:
        if hashlib.file_digest(read, "sha256").digest() != digest:
            raise OSError(errno.EIO, "what was read back is not what was written")


def _settle(folder: Path) -> None:
    """Make the new name last, as fsync does for what is inside a file."""
    with contextlib.suppress(OSError):  # there are systems that cannot
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
