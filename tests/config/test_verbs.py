from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from cnnctl.commands import VERBS
from cnnctl.config import schema, verbs
from cnnctl.config.fields import key

CLASSES = (verbs.Evaluate, verbs.Predict, verbs.Export, verbs.Bench)


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """Every kind of key."""

    text: str = key("any text")
    number: int = key("any number", min=1)
    perhaps: float | None = key("a number or nothing")
    word: Literal["a", "b"] = key("a word")
    no_word: Literal["c"] | None = key("a word or nothing")
    switch: bool | None = key("on, off or nothing")
    words: tuple[Literal["d", "e"], ...] = key("words")
    no_words: tuple[Literal["f"], ...] | None = key("words or nothing")
    numbers: tuple[int, ...] | None = key("numbers or nothing")


def test_the_words_of_a_key_are_those_of_its_type() -> None:
    assert verbs.choices(Kinds) == {
        "text": (),
        "number": (),
        "perhaps": ("null",),
        "word": ("a", "b"),
        "no_word": ("c", "null"),
        "switch": ("true", "false", "null"),
        "words": ("d", "e"),
        "no_words": ("f", "null"),
        "numbers": ("null",),
    }
    assert verbs.lists(Kinds) == {"words", "no_words", "numbers"}


def test_every_class_belongs_to_a_verb_and_says_what_of_a_run_it_may_change() -> None:
    assert set(verbs.OF_RUN) == set(CLASSES)
    assert {cls.__name__.lower() for cls in CLASSES} <= set(VERBS)
    for may in verbs.OF_RUN.values():
        assert {word.partition(".")[0] for word in may} <= set(schema.Train.__dataclass_fields__)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_key_is_explained_and_no_section_of_a_run(cls: type) -> None:
    fields = cls.__dataclass_fields__
    assert all(field.metadata["help"] for field in fields.values())
    assert "checkpoint" in fields  # of a run: which one; `asked` takes it for the verb's own
    assert set(fields) & set(schema.Train.__dataclass_fields__) == {"checkpoint"}
