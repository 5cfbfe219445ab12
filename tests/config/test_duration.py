from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.config.duration import Duration

FORMS = "a length such as 5epochs, 100steps, 10% or 0"
lawful = settings(max_examples=50, deadline=None)
lengths = st.builds(Duration, st.integers(0, 100).map(float), st.sampled_from(["steps", "epochs"]))


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        (0, 0, "steps"),
        (0.0, 0, "steps"),
        ("5epochs", 5, "epochs"),
        ("1epoch", 1, "epochs"),
        ("0.5epochs", 0.5, "epochs"),
        ("100steps", 100, "steps"),
        ("1step", 1, "steps"),
        ("5 epochs", 5, "epochs"),
        ("10%", 10, "%"),
        ("100%", 100, "%"),
        ("0%", 0, "%"),
    ],
)
def test_lengths_are_read(text, amount, unit) -> None:
    assert Duration.parse(text) == Duration(amount, unit)


@pytest.mark.parametrize(
    "text",
    [5, 0.5, -1, True, False, None, [], "", "0", "5", "epochs", "-1steps", "5days", "1e3steps",
     "5epochs ", "5  epochs", ".5epochs", "5epoch/s", "10 %%", "nan%"],
)  # fmt: skip
def test_anything_else_says_what_is_allowed(text) -> None:
    with pytest.raises(ValueError, match=f"^{FORMS}$"):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["100.5%", "101%", "1000 %"])
def test_a_share_is_at_most_the_whole(text) -> None:
    with pytest.raises(ValueError, match=r"^at most 100%$"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("text", "steps"),
    [("7steps", 7), ("2epochs", 46), ("0.5epochs", 12), ("10%", 23), ("100%", 230), (0, 0)],
)
def test_lengths_in_steps_of_ten_epochs_of_23(text, steps) -> None:
    assert Duration.parse(text).steps(per_epoch=23, total=230) == steps


@lawful
@given(lengths | st.builds(Duration, st.integers(0, 100).map(float), st.just("%")))
def test_what_is_shown_is_read_again(length: Duration) -> None:
    assert Duration.parse(str(length)) == length


@lawful
@given(st.integers(1, 100), st.integers(1, 1000), st.integers(0, 100))
def test_epochs_and_their_share_are_the_same_steps(epochs, per_epoch, amount) -> None:
    total = epochs * per_epoch
    share = Duration(100 * amount / epochs, "%").steps(per_epoch=per_epoch, total=total)
    assert share == Duration(amount, "epochs").steps(per_epoch=per_epoch, total=total)
    assert Duration(100, "%").steps(per_epoch=per_epoch, total=total) == total


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (Duration(5, "epochs"), "5epochs"),
        (Duration(0.5, "epochs"), "0.5epochs"),
        (Duration(10, "%"), "10%"),
        (Duration(0, "steps"), "0steps"),
    ],
)
def test_shown_as_typed(length, text) -> None:
    assert str(length) == text
