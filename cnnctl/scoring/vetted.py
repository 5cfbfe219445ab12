"""Programs of torch, looked at before torch reads them: its readers run code that is in a file.

`torch.export.load` unpickles tensors that say they are pickled, loads libraries that lie in the
archive, gives sizes to sympy and conditions to Python to evaluate, and calls whatever function a
node names. TorchScript has no Python in it, but operators that write files. So only what cnnctl
writes goes in, and in an archive of our own: tensors as bytes, and a graph or code of torch's
operators on tensors. What else there is, is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
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
        "Float", "precision", "ToFloat", "TruncToInt", "Floor", "Equality", "Unequality",
        "GreaterThan", "LessThan", "StrictGreaterThan", "StrictLessThan",
    }
)  # fmt: skip
SYMBOL = re.compile(r"[su]\d+")
MARKS = frozenset("0123456789 +-*/=,()'")
OTHER = ("as_custom_obj", "as_opaque", "__enum__")  # objects that torch makes by their class's name
LARGEST = 2**26  # bytes of code; it alone is compressed
CODE = re.compile(r"code/__torch__[\w./]*\.py")
SCRIPT = re.compile(  # the parts of TorchScript, below the archive's own folder
    rf"{CODE.pattern}|(data|constants)\.pkl|(data|constants)/\d+"
    r"|byteorder|version|\.data/\w+|\.format_version|\.storage_alignment"
)
ASIDE = re.compile(  # what torch can do without
    rf"extra/{ENTRY}|traced_inputs\.pkl|traced_inputs/\d+|code/__torch__[\w./]*\.debug_pkl"
)
CALLED = re.compile(r"((?:\b(?:def|class)\s+)?[\w.)\]}\"']*)\s*\(")
FORM = re.compile(  # what stands before a bracket, besides operators
    r"|\(*(and|elif|if|in|not|or|return|while)|def\s+forward\d*|class\s+\w+|[\w.)]+\.forward\d*"
    r"|annotate|bool|float|getattr|int"
)
NAMED = re.compile(r"(?<![\w.])(?:torch|ops)\b(?:\.\w+)*")
TORCH = re.compile(r"(?:torch|ops\.aten)\.(\w+)")
OTHERS = ("ops.prim.NumToTensor", "torch.device")
PRIVATE = ("_convolution", "_convolution_mode")  # of those that users do not call; all checked
TEXTS = frozenset(  # words that operators take as text, and texts that TorchScript computes with
    {
        "a", "approximate", "b", "el", "equation", "indexing", "interpolation", "key", "mode",
        "norm", "ord", "pad_mode", "padding", "padding_side", "reduce", "rounding_mode", "s",
        "self", "separator", "side", "string", "substr",
    }
)  # fmt: skip


def _no_example() -> bytes:
    with io.BytesIO() as file:
        torch.save(((torch.zeros(1),), {}), file)
        return file.getvalue()


NO_EXAMPLE = _no_example()


class Unsafe(Exception):  # noqa: N818 - it says what the file is
    """A file has something in it that could run code."""


def program(file: Path) -> io.BytesIO:
    """The archive of an ExportedProgram without conditions and examples. Raises Unsafe."""

    def kept(part: str, held: bytes) -> bytes | None:
        if part == f"extra/{ENTRY}":
            return None
        if part == EXAMPLE:
            return NO_EXAMPLE
        if not PLAIN.fullmatch(part):
            raise Unsafe(f"it holds {part}, which is not of a program on tensors")
        return json.dumps(_checked(json.loads(held))).encode() if part.endswith(".json") else held

    return _rewritten(file, kept)


def script(file: Path) -> io.BytesIO:
    """The archive of TorchScript, its code and tensors alone. Raises Unsafe."""

    def kept(part: str, held: bytes) -> bytes | None:
        if ASIDE.fullmatch(part):
            return None
        if not SCRIPT.fullmatch(part):
            raise Unsafe(f"it holds {part}, which is not of TorchScript on tensors")
        if CODE.fullmatch(part):
            _require_calls(held)
        return held

    return _rewritten(file, kept)


def _rewritten(file: Path, kept: Callable[[str, bytes], bytes | None]) -> io.BytesIO:
    """The archive with what `kept` makes of each part, None: nothing.

    It is read once. Torch gets the new one: its own reader ignores capitals, and takes the file
    that may have been changed meanwhile.
    """
    clean = io.BytesIO()
    with (
        file.open("rb") as opened,
        zipfile.ZipFile(opened) as given,
        zipfile.ZipFile(clean, "w") as new,
    ):
        for entry in _entries_of(given, file.stat().st_size):
            folder, _, part = entry.filename.partition("/")
            with given.open(entry) as one:  # so many bytes, whatever it would unpack to
                held = kept(part, one.read(entry.file_size))
            if held is not None:
                new.writestr(f"{folder}/{part}", held)
    clean.seek(0)
    return clean


def _entries_of(archive: zipfile.ZipFile, size: int) -> list[zipfile.ZipInfo]:
    """The entries of an archive of `size` bytes, none of which is larger than it may be."""
    entries = archive.infolist()
    if len({entry.filename.casefold() for entry in entries}) < len(entries):
        raise Unsafe("it holds two files of one name")
    plain = [entry for entry in entries if entry.compress_type == zipfile.ZIP_STORED]
    packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    for entry in packed:
        if "/code/" not in entry.filename:
            raise Unsafe(f"it holds {entry.filename} compressed, which torch does not do")
    large = sum(entry.file_size for entry in packed)
    if sum(entry.file_size for entry in plain) > size or large > LARGEST:
        raise Unsafe("what it holds is larger than the file")
    return entries


def _require_calls(code: bytes) -> None:
    """Raise Unsafe if code calls anything but itself and torch's operators on tensors.

    Judged by what is named of torch, and by what stands before each bracket, so that no parser
    has to agree with torch's. Functions have no other names than `forward`: torch would run
    `__setstate__` as it loads.
    """
    text = code.decode("ascii")
    if "#" in text or "\\" in text:
        raise Unsafe("its code has comments, or lines that go on")
    for name in NAMED.findall(text):
        found = TORCH.fullmatch(name)
        if name not in OTHERS and not (found and _computes(found[1])):
            raise Unsafe(f"its code names {name}")
    for called in CALLED.findall(text):
        if not (NAMED.fullmatch(called) or FORM.fullmatch(called)):
            raise Unsafe(f"its code calls {called}")


@cache
def _computes(name: str) -> bool:
    """Whether all that an operator does is to give a result of tensors, numbers and known words."""
    if name.startswith("_") and name not in PRIVATE:
        return False
    schemas = torch._C._jit_get_schemas_for_operator(f"aten::{name}")  # noqa: SLF001 - there is no other list
    texts = {
        argument.name
        for schema in schemas
        for argument in schema.arguments
        if "str" in str(argument.type) or "Storage" in str(argument.type)
    }
    return bool(schemas) and texts <= TEXTS and all(schema.returns for schema in schemas)


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
    rest = re.sub(r"(?<=\d)\.(?=\d)|[A-Za-z_]\w*", "", text)  # a point within a number alone
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
