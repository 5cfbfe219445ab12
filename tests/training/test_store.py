from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cnnctl.errors import CheckpointError, RunError
from cnnctl.training import store
from cnnctl.training.store import Hashed, VerifiedIO, link

BIG = {"weights": torch.arange(100_000.0)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that holds a checkpoint already."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    VerifiedIO().save_checkpoint({"a": 1}, folder / "last.ckpt")
    return folder / "last.ckpt"


def intact(place: Path) -> bool:
    """Whether the earlier checkpoint is there, and nothing else."""
    alone = [file.name for file in place.parent.iterdir()] == [place.name]
    return alone and VerifiedIO().load_checkpoint(place) == {"a": 1}


def refusal(place: Path) -> str:
    with pytest.raises(RunError) as caught:
        VerifiedIO().save_checkpoint(BIG, place)
    return str(caught.value)


@pytest.mark.parametrize("kind", [Path, str])
def test_a_checkpoint_takes_the_place_of_the_one_before(place, kind) -> None:
    VerifiedIO().save_checkpoint(BIG, kind(place))
    assert torch.equal(VerifiedIO().load_checkpoint(place)["weights"], BIG["weights"])
    assert [file.name for file in place.parent.iterdir()] == ["last.ckpt"]
    assert torch.load(place, weights_only=True).keys() == BIG.keys()


def test_what_is_written_is_what_torch_writes_into_a_file(place) -> None:
    VerifiedIO().save_checkpoint(BIG, place)
    stream = io.BytesIO()
    torch.save(BIG, stream)
    assert len(place.read_bytes()) == len(stream.getvalue())


def test_a_name_left_by_a_process_that_was_killed_is_no_hindrance(place) -> None:
    (place.parent / ".last.ckpt").write_bytes(b"half")
    VerifiedIO().save_checkpoint({"a": 1}, place)
    assert intact(place)


def test_a_folder_that_is_gone_is_told(tmp_path) -> None:
    place = tmp_path / "no" / "x.ckpt"
    assert refusal(place) == f"cannot write {place}: No such file or directory"
    assert not place.parent.exists()


@pytest.mark.parametrize("after", [0, 1000, 300_000])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_is_full_after_so_many_bytes_leaves_the_earlier_one(
    place, monkeypatch, after, number
) -> None:
    written = 0
    write = Hashed.write

    def full(self: Hashed, data: Any) -> int:
        nonlocal written
        written += len(data)
        if written > after:
            raise OSError(number, os.strerror(number))
        return write(self, data)

    monkeypatch.setattr(Hashed, "write", full)
    assert refusal(place).startswith(f"cannot write {place}: ")
    monkeypatch.undo()
    assert intact(place)


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_no_permission_at_any_step_leaves_the_earlier_one(place, monkeypatch, step) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os if step == "fsync" else Path, step, refuse)
    found = refusal(place)
    monkeypatch.undo()
    assert found == f"cannot write {place}: Permission denied"
    assert intact(place)


def test_a_file_that_is_read_back_otherwise_is_not_taken(place, monkeypatch) -> None:
    fsync, seen = os.fsync, []

    def bad_disk(handle: int) -> None:
        fsync(handle)
        file = place.parent / ".last.ckpt"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1  # one bit
        file.write_bytes(content)
        seen.append(file)

    monkeypatch.setattr(store.os, "fsync", bad_disk)
    found = refusal(place)
    monkeypatch.undo()
    assert found == f"cannot write {place}: what was read back is not what was written"
    assert len(seen) == 1
    assert intact(place)


def test_names_are_settled_where_the_system_can(place, monkeypatch) -> None:
    fsync, seen = os.fsync, []

    def noting(handle: int) -> None:
        seen.append(Path(f"/proc/self/fd/{handle}").resolve().name)
        if seen[-1] == "checkpoints":
            raise OSError(errno.EINVAL, "Invalid argument")  # as some network disks do
        fsync(handle)

    monkeypatch.setattr(store.os, "fsync", noting)
    VerifiedIO().save_checkpoint({"a": 1}, place)
    if sys.platform == "linux":
        assert seen == [".last.ckpt", "checkpoints"]
    assert intact(place)


LIMITED = """
import resource, signal, sys, torch
from cnnctl.errors import RunError
from cnnctl.training.store import VerifiedIO
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    VerifiedIO().save_checkpoint({"weights": torch.arange(100_000.0)}, sys.argv[1])
except RunError as error:
    print(error)
"""


def test_a_file_that_the_system_really_refuses_leaves_the_earlier_one(place) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(place)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"cannot write {place}: ")
    assert intact(place)


class Evil:
    """A pickle that makes a file when it is loaded."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("evil"),))


@pytest.mark.parametrize("whole", [True, False])
def test_a_checkpoint_with_code_is_refused_and_not_run(tmp_path, whole) -> None:
    place = tmp_path / "x.ckpt"
    if whole:
        torch.save({"state_dict": {}, "more": Evil()}, place)
    else:
        place.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError) as caught:
        VerifiedIO().load_checkpoint(place)
    assert ("holds Python objects" if whole else "cannot be read") in str(caught.value)
    assert not Path("evil").exists()


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_told(place, share) -> None:
    content = place.read_bytes()
    place.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="it is truncated, or no checkpoint"):
        VerifiedIO().load_checkpoint(place)


def test_the_hash_is_that_of_all_that_was_written() -> None:
    stream = io.BytesIO()
    hashed = Hashed(stream)
    assert hashed.writable()
    for part in (b"ab", memoryview(b"cde"), b""):
        assert hashed.write(part) == len(part)
    assert stream.getvalue() == b"abcde"
    assert hashed.digest.hexdigest() == hashlib.sha256(b"abcde").hexdigest()


def test_a_link_is_the_same_file_until_the_first_name_gets_another(place) -> None:
    best = place.with_name("best.ckpt")
    best.write_bytes(b"before")
    link(place, best)
    assert best.samefile(place)
    VerifiedIO().save_checkpoint({"a": 2}, place)
    assert VerifiedIO().load_checkpoint(best) == {"a": 1}
    assert sorted(file.name for file in place.parent.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_where_there_are_no_links_it_is_a_copy(place, monkeypatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    best = place.with_name("best.ckpt")
    link(place, best)
    assert not best.samefile(place)
    assert best.read_bytes() == place.read_bytes()
    assert sorted(file.name for file in place.parent.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_best_that_can_be_neither_linked_nor_copied_leaves_the_old_one(
    place, monkeypatch
) -> None:
    best = place.with_name("best.ckpt")
    best.write_text("old")

    def full(_: Path, beside: Path) -> None:
        beside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    monkeypatch.setattr(store.shutil, "copyfile", full)
    with pytest.raises(RunError) as caught:
        link(place, best)
    assert str(caught.value) == f"cannot write {best}: No space left on device"
    assert best.read_text() == "old"
    assert not list(place.parent.glob(".*"))


def test_a_link_in_a_folder_that_is_gone_is_told(tmp_path) -> None:
    place = tmp_path / "no" / "best.ckpt"
    with pytest.raises(RunError, match="No such file or directory"):
        link(tmp_path / "no" / "last.ckpt", place)
