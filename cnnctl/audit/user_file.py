"""A Python file of the user's own: run once, and out of the way of all other modules."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from cnnctl.errors import NetError

NUMBERS = itertools.count(1)


@contextlib.contextmanager
def opened(file: Path) -> Iterator[ModuleType]:
    """The module of a file; while open, it can import its neighbours, and prints go to stderr.

    A file in a package is a module of the package. No other file is written. Raises NetError,
    with the line, if the file cannot be run.
    """
    root, name = _place(file.resolve())
    with contextlib.redirect_stdout(sys.stderr), _at_home(root, name.partition(".")[0]):
        yield _imported(file, name)


def _place(file: Path) -> tuple[Path, str]:
    """The folder to import from, and the name of the module there; empty outside a package."""
    root, parts = file.parent, [] if file.stem == "__init__" else [file.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    return root, ".".join(parts) if root != file.parent else ""


@contextlib.contextmanager
def _at_home(root: Path, package: str) -> Iterator[None]:
    """While open, modules of a folder are found first, even behind loaded ones of their names.

    Afterwards sys.path and sys.modules are as before, but for what comes from elsewhere.
    """
    path, writing = list(sys.path), sys.dont_write_bytecode
    files = itertools.chain(root.glob("*.py"), (one.parent for one in root.glob("*/__init__.py")))
    own = {file.stem for file in files} - sys.stdlib_module_names | {package}
    others = {
        name: module
        for name, module in sys.modules.items()
        if name.partition(".")[0] in own and not _inside(module, root)
    }
    for name in others:
        del sys.modules[name]
    before = set(sys.modules)
    sys.path.insert(0, str(root))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, writing
        if all(Path(entry).resolve() != root for entry in path):
            for name in set(sys.modules) - before:
                if name.partition(".")[0] in own:
                    del sys.modules[name]
        sys.modules.update(others)


def _inside(module: ModuleType, root: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(root)


def _imported(file: Path, name: str) -> ModuleType:
    try:
        return importlib.import_module(name) if name else _run(file)
    except SyntaxError as wrong:
        where = wrong.filename if wrong.filename != str(file.resolve()) else file
        raise NetError(f"{where}, line {wrong.lineno}: {wrong.msg}") from wrong
    except (Exception, SystemExit) as wrong:
        raise NetError(f"{file} cannot be imported{told(wrong, file)}") from wrong


def _run(file: Path) -> ModuleType:
    """A module of a name that no other has; it stays known, as dataclasses and typing expect."""
    name = f"stranger_{next(NUMBERS)}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def told(wrong: BaseException, file: Path) -> str:
    """The line of the file in which something went wrong, and what."""
    frames = traceback.extract_tb(wrong.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file.resolve())]
    where = f", line {lines[-1]}" if lines else ""
    text = str(wrong).strip().splitlines()
    return f"{where}: {': '.join([type(wrong).__name__, *text[:1]])}"
