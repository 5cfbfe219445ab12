from __future__ import annotations

import re
from pathlib import Path

import pytest

from cnnctl.errors import RunError
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
        assert beside.parent == where.parent
    assert (where / "file").read_text() == "x"
    assert [path.name for path in where.parent.iterdir()] == ["one"]
    assert where.stat().st_mode == where.parent.stat().st_mode


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
