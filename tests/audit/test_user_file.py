"""Files of the user's own and their neighbours: found, and out of the way afterwards."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cnnctl.audit.user_file import opened
from cnnctl.errors import NetError


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        file = Path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def value(file: str) -> Any:
    """What the file calls value."""
    with opened(Path(file)) as module:
        return module.value


@pytest.fixture(autouse=True)
def unchanged() -> Any:
    """Every test leaves sys.path, and sys.modules but for modules of unique names."""
    path, modules, writing = list(sys.path), dict(sys.modules), sys.dont_write_bytecode
    yield
    assert sys.path == path
    assert sys.dont_write_bytecode == writing
    new = {name for name in sys.modules if name not in modules}
    assert {name for name in new if not name.startswith("stranger_")} == set()
    assert all(sys.modules[name] is module for name, module in modules.items())


def refused(file: str) -> str:
    with pytest.raises(NetError) as caught:
        value(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_finds_its_neighbours() -> None:
    write({
        "a/net.py": "import blocks, more.deep\nvalue = blocks.value + more.deep.value",
        "a/blocks.py": "value = 3", "a/more/__init__.py": "", "a/more/deep.py": "value = 4",
    })  # fmt: skip
    assert value("a/net.py") == 7


def test_neighbours_of_one_name_are_not_mixed_up() -> None:
    for number, folder in enumerate("abc"):
        write({f"{folder}/net.py": "from blocks import value"})
        write({f"{folder}/blocks.py": f"value = {number}"})
    assert [value(f"{folder}/net.py") for folder in "abca"] == [0, 1, 2, 0]


def test_a_neighbour_goes_before_a_loaded_module_of_its_name(monkeypatch) -> None:
    write({"net.py": "import blocks\nvalue = blocks.value", "blocks.py": "value = 3"})
    loaded = {name: ModuleType(name) for name in ("blocks", "blocks.part")}
    with monkeypatch.context() as context:
        for name, module in loaded.items():
            context.setitem(sys.modules, name, module)
        assert value("net.py") == 3
        assert {name: sys.modules[name] for name in loaded} == loaded


def test_modules_of_python_itself_stay_what_they_are() -> None:
    write({"net.py": "import json\nvalue = json.dumps([1])", "json.py": "dumps = None"})
    assert value("net.py") == "[1]"


def test_a_neighbour_may_be_imported_late_while_the_file_is_open() -> None:
    write({"net.py": "def late():\n    import blocks\n    return blocks.value"})
    write({"blocks.py": "value = 3"})
    with opened(Path("net.py")) as module:
        assert module.late() == 3
    with pytest.raises(ModuleNotFoundError):
        module.late()


@pytest.mark.parametrize("package", ["nets", "nets/inner", "test"])
def test_a_file_in_a_package_is_a_module_of_it(package) -> None:
    write({
        f"code/{package}/net.py": "from .blocks import value\nfrom . import start\nname = __name__",
        f"code/{package}/blocks.py": "value = 3", f"code/{package}/__init__.py": "start = 4",
        f"code/{package.partition('/')[0]}/__init__.py": "start = 4",
    })  # fmt: skip
    with opened(Path(f"code/{package}/net.py")) as module:
        assert module.value == 3
        assert module.name == f"{package}.net".replace("/", ".")
        assert sys.modules[module.name] is module
    assert value(f"code/{package}/blocks.py") == 3


def test_the_first_file_of_a_package_is_the_package() -> None:
    write(
        {"code/nets/__init__.py": "from .blocks import value", "code/nets/blocks.py": "value = 3"}
    )
    assert value("code/nets/__init__.py") == 3


def test_packages_of_one_name_are_not_mixed_up() -> None:
    for folder in "ab":
        write({f"{folder}/nets/__init__.py": "", f"{folder}/nets/blocks.py": f"value = '{folder}'"})
        write({f"{folder}/nets/net.py": "from nets.blocks import value"})
    assert [value(f"{folder}/nets/net.py") for folder in "aba"] == ["a", "b", "a"]


def test_a_folder_that_is_on_the_path_already_keeps_its_modules(monkeypatch, tmp_path) -> None:
    write({"net.py": "import blocks\nvalue = blocks", "blocks.py": ""})
    with monkeypatch.context() as context:
        context.setattr(sys, "path", [str(tmp_path), *sys.path])
        blocks = value("net.py")
    assert sys.modules.pop("blocks") is blocks


def test_a_file_is_run_anew_each_time_under_a_name_of_its_own() -> None:
    write({"my-net.py": "value = object()\nname = __name__"})
    assert value("my-net.py") is not value("my-net.py")
    with opened(Path("my-net.py")) as module:
        assert sys.modules[module.name] is module
        assert module.name.endswith("_my-net")


def test_classes_that_look_up_their_module_work() -> None:
    text = """from __future__ import annotations
from dataclasses import dataclass
@dataclass
class Sizes:
    width: int = 3
value = Sizes().width
"""
    write({"net.py": text})
    assert value("net.py") == 3


def test_nothing_is_written_beside_the_file(tmp_path, monkeypatch) -> None:
    write({"net.py": "import blocks\nvalue = 3", "blocks.py": ""})
    with monkeypatch.context() as context:
        context.setattr(sys, "dont_write_bytecode", False)
        assert value("net.py") == 3
        assert sys.dont_write_bytecode is False
    assert sorted(file.name for file in tmp_path.rglob("*.py*")) == ["blocks.py", "net.py"]
    assert list(tmp_path.rglob("__pycache__")) == []


def test_prints_go_to_stderr(capfd) -> None:
    write({"net.py": "print('one')\nvalue = lambda: print('two')"})
    with opened(Path("net.py")) as module:
        module.value()
    assert capfd.readouterr() == ("", "one\ntwo\n")


IMPORTED = "net.py cannot be imported"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("value = 3\nx = (\n", "net.py, line 2: '(' was never closed"),
        ("\nreturn 3", "net.py, line 2: 'return' outside function"),
        (
            "import none_such",
            f"{IMPORTED}, line 1: ModuleNotFoundError: No module named 'none_such'",
        ),
        ("\nimport blocks", f"{IMPORTED}, line 2: ValueError: no"),
        ("import broken", "{folder}/broken.py, line 1: invalid syntax"),
        ("raise SystemExit", f"{IMPORTED}, line 1: SystemExit"),
        ("def f():\n    raise KeyError('a\\nb')\nf()",
         f"{IMPORTED}, line 2: KeyError: 'a\\nb'"),
        ("raise OSError('one\\ntwo')", f"{IMPORTED}, line 1: OSError: one"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_run_is_told_with_the_line(text, message, tmp_path) -> None:
    write({"net.py": text, "blocks.py": "raise ValueError('no')", "broken.py": "1 +"})
    assert refused("net.py") == message.format(folder=tmp_path)


def test_a_failed_file_leaves_no_half_module() -> None:
    write({"net.py": "import blocks\nraise ValueError", "blocks.py": ""})
    before = set(sys.modules)
    refused("net.py")
    assert set(sys.modules) == before
