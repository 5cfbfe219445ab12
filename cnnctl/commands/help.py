"""cnnctl VERB --help: usage, flags, groups with their options, keys with type and meaning."""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
import typing

from cnnctl.commands import COMMON, FLAG, SHORT, VERBS
from cnnctl.config import audit, paths, schema, verbs
from cnnctl.config.kinds import kind

GROUPS = (
    "model", "data", "augment", "loss", "optimizer", "schedule", "hardware", "transfer", "logger",
    "recipe",
)  # fmt: skip
PIPE_WIDTH = 120  # columns where there is no terminal to measure
NARROWEST = 24  # columns for the text of a table at least
MANY = 3  # names in front of the text of a key at most
COMPOSES: dict[str, tuple[type, tuple[str, ...]]] = {  # of a verb: its keys and its groups
    "train": (schema.Train, GROUPS),
    "show": (schema.Train, GROUPS),
    "evaluate": (verbs.Evaluate, ()),
    "predict": (verbs.Predict, ()),
    "export": (verbs.Export, ()),
    "bench": (verbs.Bench, ()),
    "audit": (audit.Audit, audit.GROUPS),
}


def page(name: str) -> str:
    """The help of one verb."""
    verb = VERBS[name]
    parts = [f"usage: {verb.usage}", f"{verb.summary}.", verb.about, _flags(name)]
    if name in COMPOSES:
        keys, groups = COMPOSES[name]
        parts += [_groups(groups), _keys(keys)]
    return "\n\n".join(part for part in parts if part)


def _flags(name: str) -> str:
    short = {flag: letter for letter, flag in SHORT.items()}
    rows = [
        (", ".join(filter(None, (short.get(flag), flag))) + (" …" if takes != FLAG else ""), text)
        for flag, (takes, text) in {**VERBS[name].flags, **COMMON}.items()
    ]
    return _table("flags", rows)


def _groups(names: tuple[str, ...]) -> str:
    files = paths.config_files()
    rows = [(group, _options(group, sorted(files[group]))) for group in names]
    return _table("groups", rows) if rows else ""


def _options(group: str, names: list[str]) -> str:
    if len(names) > paths.FEW:
        plural = group if group == "data" else f"{group}s"
        return f"{len(names)} {plural}, see: cnnctl list {plural}"
    return ", ".join(names)


def _keys(cls: type) -> str:
    """Every key with its type, its meaning and its limits; variants of a section once each."""
    rows: list[tuple[str, str]] = []
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        variants = field.metadata.get("variants")
        if variants:
            shared = _shared(hints[field.name])
            common = {item.name for item in dataclasses.fields(shared)}
            rows += _section(field.name, shared, set())
            for variant in dict.fromkeys(variants.values()):
                names = [name for name, one in variants.items() if one is variant]
                rows += _section(field.name, variant, common, f"{_some(names)}: ")
        elif dataclasses.is_dataclass(hints[field.name]):
            rows += _section(field.name, typing.cast("type", hints[field.name]), set())
        elif field.name == "model":
            rows.append(("model.…", f"{field.metadata['help']}; see: cnnctl show model=NAME"))
        else:
            rows.append((field.name, _meaning(field, hints[field.name])))
    return _table("keys", rows)


def _some(names: list[str]) -> str:
    """The names of the options with the same keys, or the first and how many more there are."""
    if len(names) > MANY:
        return f"{names[0]} and {len(names) - 1} others"
    return ", ".join(names)


def _shared(hint: typing.Any) -> type:
    """What all variants of a section have: Data of Data, or of Data | None."""
    return (*typing.get_args(hint), hint)[0]


def _section(prefix: str, cls: type, without: set[str], of: str = "") -> list[tuple[str, str]]:
    hints = typing.get_type_hints(cls)
    return [
        (f"{prefix}.{field.name}", of + _meaning(field, hints[field.name]))
        for field in dataclasses.fields(cls)
        if field.name not in without and field.name != "name"
    ]


def _meaning(field: dataclasses.Field[typing.Any], hint: object) -> str:
    words = {"min": "at least", "max": "at most", "above": "above", "below": "below"}
    limits = [f"{words[name]} {field.metadata[name]}" for name in words if name in field.metadata]
    return f"{field.metadata['help']} [{', '.join([kind(hint), *limits])}]"


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    room = max(shutil.get_terminal_size((PIPE_WIDTH, 0)).columns, width + NARROWEST)
    indent = " " * (width + 4)
    lines = [
        textwrap.fill(
            text, room, initial_indent=f"  {name:<{width}}  ", subsequent_indent=indent,
            break_on_hyphens=False,
        )
        for name, text in rows
    ]  # fmt: skip
    return "\n".join([f"{title}:", *lines])
