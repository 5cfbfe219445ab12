from __future__ import annotations

from collections.abc import Iterator

import pytest

from cnnctl.config import compose, preflight
from cnnctl.errors import Problem

SHARE = 0.95


def every_key(section: dict, prefix: str = "") -> Iterator[str]:
    for name, value in section.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from every_key(value, f"{prefix}{name}.")


def typos(key: str) -> Iterator[str]:
    """The last word of a key, and a section's name before it, each mutated in the middle."""
    words = key.split(".")
    for place, word in enumerate(words):
        i = len(word) // 2
        swapped = word[: i - 1] + word[i] + word[i - 1] + word[i + 1 :]
        for mutated in (word[:i] + word[i + 1 :], swapped, word[:i] + word[i] + word[i:]):
            yield ".".join([*words[:place], mutated, *words[place + 1 :]])


@pytest.fixture(scope="module")
def corpus() -> list[tuple[str, str, list[Problem]]]:
    """(the key that was meant, the typo, the problems that it gave), of one command line."""
    with compose.opened():
        config, _ = compose.compose("train", [])
        keys = [*every_key(config), "recipe"]
        wrong = {typo: key for key in keys for typo in typos(key) if typo not in keys}
        found, problems = compose.compose("train", [f"{typo}=1" for typo in wrong])
    _, problems = preflight.check(found, problems)
    return [(key, typo, [p for p in problems if p.key == typo]) for typo, key in wrong.items()]


def test_the_corpus_covers_every_section(corpus) -> None:
    sections = {key.partition(".")[0] for key, _, _ in corpus}
    assert sections == {
        "augment", "checkpoint", "data", "hardware", "logger", "loss", "model", "on_nan", "on_oom",
        "optimizer", "outputs", "pretrained", "pretrained_layers", "progress", "recipe", "schedule",
        "seed", "trainer", "transfer",
    }  # fmt: skip
    assert len(corpus) >= 250


def test_every_typo_is_refused_by_its_own_name(corpus) -> None:
    refused = [typo for _, typo, problems in corpus for _ in problems]
    assert refused == [typo for _, typo, _ in corpus]


def test_the_right_key_is_suggested(corpus) -> None:
    missed = [
        f"{typo} -> {problems[0].hint}, not {key}"
        for key, typo, problems in corpus
        if not problems or problems[0].hint != f"did you mean '{key}'?"
    ]
    assert len(missed) <= (1 - SHARE) * len(corpus), "\n".join(missed)
