from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.config.near import did_you_mean, distance, nearest

words = st.text("abc._", max_size=8)
lawful = settings(max_examples=50, deadline=None)


@pytest.mark.parametrize(
    ("given_word", "known", "edits"),
    [
        ("", "", 0),
        ("", "lr", 2),
        ("lr", "lr", 0),
        ("lrr", "lr", 1),
        ("l", "lr", 1),
        ("lx", "lr", 1),
        ("rl", "lr", 1),
        ("modle", "model", 1),
        ("kitten", "sitting", 3),
        ("ca", "abc", 3),  # each pair is swapped at most once, so not 2
    ],
)
def test_distance_counts_inserts_drops_replacements_and_swaps(given_word, known, edits) -> None:
    assert distance(given_word, known) == edits


@lawful
@given(words, words)
def test_distance_is_symmetric_bounded_and_zero_for_equal_words_alone(a: str, b: str) -> None:
    assert distance(a, b) == distance(b, a)
    assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))
    assert (distance(a, b) == 0) == (a == b)


@lawful
@given(words.filter(lambda word: len(word) > 1), st.data())
def test_one_dropped_doubled_or_swapped_letter_is_at_most_one_edit(word: str, data) -> None:
    i = data.draw(st.integers(0, len(word) - 2))
    assert distance(word[:i] + word[i + 1 :], word) == 1
    assert distance(word[: i + 1] + word[i:], word) == 1
    assert distance(word[:i] + word[i + 1] + word[i] + word[i + 2 :], word) <= 1


@pytest.mark.parametrize(
    ("given_word", "known", "found"),
    [
        ("lr", [], None),
        ("modle", ["data", "model"], "model"),
        ("LeNet5", ["lenet5", "mlp"], "lenet5"),
        ("xyz", ["model", "data"], None),
        ("sedd", ["seed", "send"], "seed"),
        ("ax", ["bx", "ay"], "ay"),
        ("x", ["b", "a"], "a"),
        ("optimizer.lrr", ["optimizer.eps", "optimizer.lr"], "optimizer.lr"),
        ("optimizer.foo", ["optimizer.eps", "optimizer.lr"], None),
        ("optimizer.betas", ["optimizer.lr", "optimizer.eps"], None),
        ("lr", ["seed", "optimizer.lr"], "optimizer.lr"),
        ("epochs", ["trainer.max_epochs", "trainer.accumulate"], "trainer.max_epochs"),
        ("seed", ["data.split_seed", "sweep.seed"], "sweep.seed"),
    ],
)
def test_nearest(given_word, known, found) -> None:
    assert nearest(given_word, known) == found


@lawful
@given(words, st.lists(words, max_size=6))
def test_nearest_is_a_known_word_and_the_same_in_any_order(word: str, known: list[str]) -> None:
    found = nearest(word, known)
    assert found is None or found in known
    if word in known:
        assert found == word
    near = [other for other in known if distance(word, other) <= 1]
    if near:
        assert nearest(word, reversed(known)) == found
        assert distance(word, found or "") <= 1


def test_nearest_reads_any_iterable_once() -> None:
    assert nearest("lr", (word for word in ("seed", "optimizer.lr"))) == "optimizer.lr"


def test_the_hint_is_a_question() -> None:
    assert did_you_mean("modle", ["model"]) == "did you mean 'model'?"
    assert did_you_mean("xyz", ["model"]) is None
