"""Programs of torch, looked at before torch reads them: its readers run code that is in a file.

`torch.export.load` unpickles tensors that say they are pickled, loads libraries that lie in the
archive, gives sizes to sympy and conditions to Python to evaluate, and calls whatever function a
node names. So only what cnnctl writes goes in, and in an archive of our own: tensors as bytes, and
a graph of torch's operators on tensors. What else there is, is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from cnnctl.manifest import ENTRY

PLAIN = re.compile(  # the parts of a program, below the archive's own folder
    r"models/model\.json|data/(weights|constants)/(weight|tensor)_\d+"
    r"|data/(weights|constants)/model_(weights|constants)_config\.json"
    r"|archive_format|archive_version|byteorder|version|\.data/\w+"
)
EXAMPLE = "data/sample_inputs/model.pt"  # pickled; torch wants one, and makes no use of it
TENSOR = re.compile(r"(weight|tensor)_\d+")
OPERATOR = re.compile(  # without those that open files or call what they are given
    r"torch\.ops\.aten\.(?!from_file|__)\w+\.(?!__)\w+|torch\.sym_\w+"
    r"|_operator\.(?!attrgetter|call|itemgetter|methodcaller)[a-z]+|math\.[a-z]+"
)
NAME = re.compile(r"[\w.]*")
SIZES = frozenset(
    {
        "Symbol", "Integer", "Rational", "Mul", "Add", "Max", "Min", "Pow", "Mod", "FloorDiv",
        "PythonMod", "CleanDiv", "CeilDiv", "Eq", "Ne", "Ge", "Gt", "Le", "Lt", "And", "Or", "Not",
        "true", "false", "True", "False", "positive", "nonnegative", "integer",
    }
)  # fmt: skip
SYMBOL = re.compile(r"[su]\d+")
MARKS = frozenset("0123456789 +-*/=,()'")
OTHER = ("as_custom_obj", "as_opaque", "__enum__")  # objects that torch makes by their class's name
SCRIPT = re.compile(r"\bops\.(?!aten\b|prim\b)\w+|\b(from_file|save|load|__import__)\b")


def _no_example() -> bytes:
    with io.BytesIO() as file:
        torch.save(((torch.zeros(1),), {}), file)
        return file.getvalue()


NO_EXAMPLE = _no_example()


class Unsafe(Exception):  # noqa: N818 - it says what the file is
    """A file has something in it that could run code."""


def program(file: Path) -> io.BytesIO:
    """The archive of an ExportedProgram without conditions and examples. Raises Unsafe."""
    clean = io.BytesIO()
    with zipfile.ZipFile(file) as given, zipfile.ZipFile(clean, "w") as kept:
        for name in _names(given):
            folder, _, part = name.partition("/")
            if part == f"extra/{ENTRY}":
                continue
            if part != EXAMPLE and not PLAIN.fullmatch(part):
                raise Unsafe(f"it holds {part}, which is not of a program on tensors")
            held = NO_EXAMPLE if part == EXAMPLE else given.read(name)
            if part.endswith(".json"):
                held = json.dumps(_checked(json.loads(held))).encode()
            kept.writestr(f"{folder}/{part}", held)
    clean.seek(0)
    return clean


def script(file: Path) -> None:
    """Look at the code of TorchScript, which has no Python in it. Raises Unsafe."""
    with zipfile.ZipFile(file) as archive:
        for name in _names(archive):
            found = SCRIPT.search(archive.read(name).decode()) if name.endswith(".py") else None
            if found:
                raise Unsafe(f"its code calls {found.group()}")


def _names(archive: zipfile.ZipFile) -> list[str]:
    names = archive.namelist()
    if len({name.casefold() for name in names}) < len(names):
        raise Unsafe("it holds two files of one name")
    return names


def _checked(document: Any) -> Any:
    """The document, if all that torch looks up or evaluates in it is known; without conditions."""
    for key, value in _entries(document):
        wrong = _wrong(key, value)
        if wrong is not None:
            raise Unsafe(f"it holds {wrong}")
    if isinstance(document, dict) and "guards_code" in document:
        document["guards_code"] = []
    return document


def _wrong(key: str, value: Any) -> str | None:
    """What is wrong with an entry."""
    if value and (key in OTHER or (isinstance(value, str) and "__enum__" in value)):
        return f"an object of Python ({key})"
    if key == "use_pickle" and value:
        return "a pickled tensor"
    if not isinstance(value, str):
        return None
    known = {
        "path_name": TENSOR.fullmatch,
        "target": OPERATOR.fullmatch,
        "as_operator": OPERATOR.fullmatch,
        "expr_str": _is_size,
        "name": NAME.fullmatch,
        "forward_arg_names": NAME.fullmatch,
    }
    return None if key not in known or known[key](value) else f"{key} {value[:60]!r}"


def _is_size(text: str) -> bool:
    """Whether a size is made of numbers and symbols alone."""
    words = re.findall(r"[A-Za-z_]\w*", text)
    rest = re.sub(r"[A-Za-z_]\w*", "", text)
    known = all(word in SIZES or SYMBOL.fullmatch(word) for word in words)
    return known and set(rest) <= MARKS


def _entries(document: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a document under the key that leads to it; those of a list under its own."""
    yield key, document
    if isinstance(document, dict):
        for name, value in document.items():
            yield from _entries(value, name)
    elif isinstance(document, list):
        for value in document:
            yield from _entries(value, key)
