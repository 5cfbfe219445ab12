from __future__ import annotations

import pickle

import pytest

from cnnctl import errors
from cnnctl.errors import CnnctlError, ConfigError, DataError, Problem


def every_class(base: type[CnnctlError] = CnnctlError) -> list[type[CnnctlError]]:
    return [base, *(cls for child in base.__subclasses__() for cls in every_class(child))]


def test_the_drawn_tree_names_every_class() -> None:
    drawn = errors.__doc__ or ""
    for cls in every_class():
        assert cls.__name__ in drawn


def test_user_errors_exit_with_2_and_others_with_1() -> None:
    for cls in every_class():
        assert cls.exit_code == (2 if issubclass(cls, errors.UserError) else 1)


def test_kinds_are_unique() -> None:
    kinds = [cls.kind for cls in every_class()]
    assert len(kinds) == len(set(kinds))


def test_a_hint_stands_in_parentheses() -> None:
    error = DataError("no such folder: x", "create it")
    assert str(error) == "no such folder: x (create it)"
    assert (error.message, error.hint) == ("no such folder: x", "create it")


def test_all_problems_are_told_one_a_line() -> None:
    error = ConfigError([Problem("first"), Problem("second", "a hint", "a.key")])
    assert str(error).splitlines() == ["first", "second (a hint)"]
    assert error.message == "first; second"
    assert error.hint == "a hint"


@pytest.mark.parametrize(
    "error", [DataError("text", "hint"), ConfigError([Problem("a", "b", "c")])]
)
def test_errors_survive_the_way_out_of_a_worker_process(error: CnnctlError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_a_problem_shows_itself() -> None:
    assert repr(Problem("text", "hint")) == "Problem('text (hint)')"
