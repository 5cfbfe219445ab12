from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnctl.report import format as shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (shown.count(0), "0"),
        (shown.count(61706), "61,706"),
        (shown.image_count(0), "0 images"),
        (shown.image_count(1), "1 image"),
        (shown.image_count(1500), "1,500 images"),
        (shown.percent(0.98614), "98.61 %"),
        (shown.percent(1), "100.00 %"),
        (shown.percent(0), "0.00 %"),
        (shown.percent(None), "–"),
        (shown.megabytes(0), "0 MB"),
        (shown.megabytes(795_463_680), "795 MB"),
        (shown.megabytes(999_400_000), "999 MB"),
        (shown.megabytes(10**9), "1.00 GB"),
        (shown.megabytes(60_949_000_000), "60.95 GB"),
        (shown.duration(0.04), "0.0 s"),
        (shown.duration(12.34), "12.3 s"),
        (shown.duration(59.94), "59.9 s"),
        (shown.duration(60), "0:01:00"),
        (shown.duration(754), "0:12:34"),
        (shown.clock(3599.6), "1:00:00"),
        (shown.clock(360_000), "100:00:00"),
        (shown.number(0.003), "0.003"),
        (shown.number(1.23456), "1.235"),
        (shown.number(2e-5), "2e-05"),
        (shown.shape((1, 32, 32)), "1×32×32"),
        (shown.shape([]), ""),
    ],
)
def test_numbers_are_shown_with_their_unit(text: str, expected: str) -> None:
    assert text == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**15))
def test_a_count_reads_back(value: int) -> None:
    assert int(shown.count(value).replace(",", "")) == value


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1))
def test_a_percentage_is_right_to_half_of_its_last_digit(fraction: float) -> None:
    assert abs(float(shown.percent(fraction).removesuffix(" %")) - 100 * fraction) <= 0.005 + 1e-9


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 10**6))
def test_a_clock_reads_back_to_the_second(seconds: float) -> None:
    hours, minutes, rest = map(int, shown.clock(seconds).split(":"))
    assert minutes < 60
    assert rest < 60
    assert abs(hours * 3600 + minutes * 60 + rest - seconds) <= 0.5
