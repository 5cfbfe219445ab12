from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from cnnctl.config import learning, paths, schema, verbs
from cnnctl.config.images import Augment
from cnnctl.config.kinds import kind

GROUPS = {
    "data": schema.DATA,
    "optimizer": learning.OPTIMIZERS,
    "schedule": learning.SCHEDULES,
    "logger": schema.LOGGERS,
}
SINGLE = (Augment, schema.Hardware, schema.Trainer, schema.Train)
VERBS = (verbs.Evaluate, verbs.Predict, verbs.Export, verbs.Bench)
CLASSES = (
    *SINGLE,
    *VERBS,
    *dict.fromkeys(cls for group in GROUPS.values() for cls in group.values()),
)


def fields(cls: type) -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        yield f"{cls.__name__}.{field.name}", field, hints[field.name]


FIELDS = [one for cls in CLASSES for one in fields(cls)]


@pytest.mark.parametrize(("name", "field", "hint"), FIELDS, ids=[name for name, _, _ in FIELDS])
def test_every_key_has_a_help_text_a_kind_and_no_default(name, field, hint) -> None:
    about = field.metadata["help"]
    assert len(about) > 3
    assert about == about.strip().rstrip(".")
    assert set(field.metadata) <= {"help", "variants", "min", "max", "above", "below"}
    assert field.default is dataclasses.MISSING
    assert field.default_factory is dataclasses.MISSING
    if not dataclasses.is_dataclass(hint):
        assert kind(hint)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_sections_cannot_change(cls) -> None:
    assert cls.__dataclass_params__.frozen
    assert cls.__doc__


@pytest.mark.parametrize("group", GROUPS)
def test_every_variant_has_its_file_and_every_file_its_variant(group) -> None:
    assert set(GROUPS[group]) == set(paths.config_files()[group])


def test_every_section_of_a_training_is_a_group_but_the_loop_and_its_checkpoints() -> None:
    sections = {
        field.name
        for _, field, hint in fields(schema.Train)
        if dataclasses.is_dataclass(hint) or field.name == "model"
    }
    assert sections == (set(paths.config_files()) - {"recipe"}) | {"trainer", "checkpoint"}
