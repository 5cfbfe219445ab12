"""Nets from a user's own Python file: FILE.py:Class, FILE.py:function(3, 10) or FILE.py:net.

The file is the user's own code and is run. Arguments are literals; they are read, not run.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import init

from cnnctl.audit import user_file
from cnnctl.config.near import did_you_mean
from cnnctl.errors import NetError, UsageError
from cnnctl.nets import meta

TARGET = re.compile(r"(?P<file>.+?\.py)(?::(?P<call>.*))?", re.DOTALL)
EXAMPLE = "such as nets.py:Net or nets.py:Net(3, width=64)"


class Target(NamedTuple):
    """A name in a file, and the arguments of a call of it; no name if none is given."""

    file: Path
    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it
    called: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"


def load(text: str) -> nn.Module:
    """The net of FILE.py:NAME or FILE.py:NAME(ARGUMENTS), on the meta device.

    NAME is a class of nets, a function that gives one, or a net. What the file prints goes to
    stderr. Raises UsageError for a text, file or name that is not right, and NetError where the
    user's own code fails or gives something else.
    """
    target = read(text)
    if not target.file.is_file():
        raise UsageError(f"there is no file {target.file}")
    with torch.random.fork_rng(devices=[]), user_file.opened(target.file) as module:
        found = _found(module, target)
        net = found if isinstance(found, nn.Module) else _built(found, target)
    lazy = [name for name, value in net.named_parameters() if nn.parameter.is_lazy(value)]
    if lazy:
        text = f"{target} has layers without sizes: {', '.join(lazy)}"
        raise NetError(text, "give all sizes, or a function that runs an image and returns the net")
    return net.to("meta")


def read(text: str) -> Target:
    """FILE.py:NAME(ARGUMENTS) in its parts. Raises UsageError."""
    found = TARGET.fullmatch(text)
    if found is None:
        raise UsageError(f"'{text}' is no Python file", EXAMPLE)
    file, call = Path(found["file"]), (found["call"] or "").strip()
    if not call:
        return Target(file, "")
    try:
        node = ast.parse(call, mode="eval").body
    except SyntaxError as wrong:
        raise UsageError(f"'{call}' is no name and no call: {wrong.msg}", EXAMPLE) from wrong
    if isinstance(node, ast.Name):
        return Target(file, node.id)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise UsageError(f"'{call}' is no name and no call", EXAMPLE)
    args = tuple(_literal(one) for one in node.args)
    kwargs = {str(one.arg): _literal(one.value) for one in node.keywords if one.arg}
    if len(kwargs) < len(node.keywords):
        raise UsageError(f"'{call}' has an argument twice, or one without a name", EXAMPLE)
    return Target(file, node.func.id, args, kwargs, called=True)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as wrong:
        allowed = "a number, a text, True, False, None, or a list, tuple or dict of them"
        raise UsageError(f"'{ast.unparse(node)}' is no literal", f"give {allowed}") from wrong


def _found(module: ModuleType, target: Target) -> Any:
    """What the name stands for in the file. Raises UsageError if it is nothing to build from."""
    names = list(_nets(module))
    told = ", ".join(names) or "no nn.Module"
    if not target.name:
        hint = f"such as {target.file}:{names[0]}" if names else None
        raise UsageError(f"{target.file} has {told}: name what to audit", hint)
    if target.name not in vars(module):
        near = did_you_mean(target.name, [name.removesuffix("()") for name in names])
        raise UsageError(f"{target.file} has no '{target.name}', but {told}", near)
    found = vars(module)[target.name]
    if isinstance(found, nn.Module) and target.called:
        raise UsageError(f"{target} is a net and takes no arguments", str(target))
    if not callable(found):
        raise UsageError(f"{target} is {_a(found)}, no nn.Module and no function that gives one")
    return found


def _nets(module: ModuleType) -> Iterator[str]:
    """The names of nets and classes of nets in a file, and of its functions, with ()."""
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        if name.startswith("_"):
            continue
        if isinstance(value, nn.Module) or (own and _is_class(value)):
            yield name
        elif own and inspect.isfunction(value):
            yield f"{name}()"


def _is_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Module)


def _built(maker: Callable[..., Any], target: Target) -> nn.Module:
    """What a class or function makes: on the meta device, or on the CPU if it needs numbers.

    There torch.nn.init does nothing, so that memory is reserved and never touched.
    """
    _require_arguments(maker, target)
    made: Any = None
    with contextlib.suppress(Exception, SystemExit), meta.device():
        made = maker(*target.args, **target.kwargs)
    if made is None:
        try:
            with torch.device("cpu"), _uninitialised():
                made = maker(*target.args, **target.kwargs)
        except (Exception, SystemExit) as wrong:
            raise NetError(
                f"{target} cannot be built{user_file.told(wrong, target.file)}"
            ) from wrong
    if not isinstance(made, nn.Module):
        raise NetError(f"{target} gives {_a(made)}, no nn.Module")
    return made


def _require_arguments(maker: Callable[..., Any], target: Target) -> None:
    try:
        signature = inspect.signature(maker)
    except (TypeError, ValueError):  # written in C
        return
    try:
        signature.bind(*target.args, **target.kwargs)
    except TypeError as wrong:
        bare = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
        wanted = signature.replace(parameters=bare, return_annotation=signature.empty)
        text = f"{target} cannot be built: TypeError: {wrong}"
        raise NetError(text, f"give arguments: {target}{wanted}") from wrong


@contextlib.contextmanager
def _uninitialised() -> Iterator[None]:
    """While open, the functions of torch.nn.init leave tensors as they are."""
    fillers = {
        name: value
        for name, value in vars(init).items()
        if name.endswith("_") and not name.startswith("_") and inspect.isfunction(value)
    }
    for name in fillers:
        setattr(init, name, _left)
    try:
        yield
    finally:
        for name, value in fillers.items():
            setattr(init, name, value)


def _left(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return tensor


def _a(value: Any) -> str:
    word = type(value).__name__
    return "None" if value is None else f"{'an' if word[0] in 'aeiouAEIOU' else 'a'} {word}"
