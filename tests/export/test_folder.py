from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest

from cnnctl.errors import RunError, Stopped
from cnnctl.export import folder


def everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if "home" not in path.parts}


def test_names_are_like_those_of_runs() -> None:
    found = folder.named("outputs", "torchvision/resnet18", "cifar10")
    assert found.parent == Path("outputs/export")
    pattern = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_torchvision-resnet18_cifar10_[0-9a-f]{4}"
    assert re.fullmatch(pattern, found.name)
    assert found != folder.named("outputs", "torchvision/resnet18", "cifar10")


@pytest.mark.parametrize(
    ("name", "safe"), [("vgg16", "vgg16"), ("timm/a.b_in1k", "timm-a.b_in1k"), ("a b:c", "a-b-c")]
)
def test_names_of_nets_become_names_of_files(name: str, safe: str) -> None:
    assert folder.safe(name) == safe


def test_all_of_it_appears_at_once(tmp_path: Path) -> None:
    where = tmp_path / "outputs" / "export" / "one"
    with folder.made(where) as beside:
        (beside / "file").write_text("x")
        assert not where.exists()
        assert where.parent in beside.parents
    assert (where / "file").read_text() == "x"
    assert [path.name for path in where.parent.iterdir()] == ["one"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o027, 0o750), (0o077, 0o700)])
def test_it_is_open_to_those_whom_the_umask_lets_in(tmp_path: Path, umask: int, mode: int) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "all").chmod(0o1777)  # as /tmp is
    before = os.umask(umask)
    try:
        with folder.made(tmp_path / "all" / "one"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "all" / "one").stat().st_mode & 0o7777 == mode


@pytest.mark.parametrize("wrong", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_of_what_failed(tmp_path: Path, wrong: type[BaseException]) -> None:
    def fail() -> None:
        with folder.made(tmp_path / "a" / "b" / "c") as beside:
            (beside / "file").write_text("x")
            raise wrong

    with pytest.raises(wrong):
        fail()
    assert everything(tmp_path) == set()


def test_folders_that_were_there_stay(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    def fail() -> None:
        with folder.made(tmp_path / "a" / "b" / "c"):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert everything(tmp_path) == {"a"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    where = tmp_path / "mine"
    where.mkdir()
    folder.require_new(where)
    with folder.made(where) as beside:
        for name in ("manifest.json", "net.onnx"):
            (beside / name).write_text(name)
    assert everything(tmp_path) == {"mine", "mine/manifest.json", "mine/net.onnx"}


def test_a_new_name_is_fine(tmp_path: Path) -> None:
    folder.require_new(tmp_path / "no" / "such")


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    for name, words in (("file", "is a file"), ("full", "not empty"), ("broken", "is a file")):
        with pytest.raises(RunError, match=words) as caught:
            folder.require_new(tmp_path / name)
        assert caught.value.hint == "output=FOLDER with the name of a new folder"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match="cannot write in") as caught,
        folder.made(tmp_path / "file" / "x"),
    ):
        pass
    assert caught.value.hint == "choose another folder with output=…"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with folder.made(tmp_path / "export" / "one") as beside:
            (beside / "half").write_text("x")
            raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left on device"):
        fail()
    assert everything(tmp_path) == set()


@pytest.mark.parametrize("there", [False, True])
def test_of_two_at_once_the_first_to_end_stays(tmp_path: Path, *, there: bool) -> None:
    where = tmp_path / "mine"
    if there:
        where.mkdir()

    def both() -> None:
        with folder.made(where) as one:
            (one / "manifest.json").write_text("slow")
            (one / "a.onnx").write_text("slow")
            with folder.made(where) as other:
                (other / "manifest.json").write_text("quick")

    with pytest.raises(RunError, match="not empty") as caught:
        both()
    assert caught.value.hint == "output=FOLDER with the name of a new folder"
    assert everything(tmp_path) == {"mine", "mine/manifest.json"}
    assert (where / "manifest.json").read_text() == "quick"


def test_a_failure_among_the_files_takes_back_the_others(tmp_path: Path, monkeypatch) -> None:
    where = tmp_path / "mine"
    where.mkdir()
    rename = Path.rename

    def fail(file: Path, place: Path) -> Path:
        if file.name == "manifest.json":
            raise OSError(28, "No space left on device")
        return rename(file, place)

    monkeypatch.setattr(Path, "rename", fail)

    def make() -> None:
        with folder.made(where) as inside:
            for name in ("a.onnx", "manifest.json"):
                (inside / name).write_text(name)

    with pytest.raises(RunError, match="No space left"):
        make()
    assert everything(tmp_path) == {"mine"}


def test_sigterm_leaves_nothing_whoever_catches_errors(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def make() -> None:
        with folder.made(tmp_path / "a" / "one") as inside:
            (inside / "file").write_text("x")
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.sigtimedwait([], 1)
            except Exception:  # noqa: BLE001, S110 - as torch's exporter does
                pass

    with pytest.raises(Stopped, match="SIGTERM") as caught:
        make()
    assert caught.value.exit_code == 143
    assert everything(tmp_path) == set()
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_another_thread_signals_stay_as_they_are(tmp_path: Path) -> None:
    def make() -> None:
        with folder.made(tmp_path / "one"):
            pass

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert everything(tmp_path) == {"one"}


def test_sigterm_that_is_ignored_stays_so(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with folder.made(tmp_path / "one"):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert everything(tmp_path) == {"one"}
