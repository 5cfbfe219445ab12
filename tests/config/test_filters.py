from __future__ import annotations

import pytest

from cnnctl.config import filters
from cnnctl.config.filters import Wanted
from cnnctl.errors import UsageError

NETS = [
    {"name": "a", "family": "vgg", "year": 2014, "params": 5_000_000},
    {"name": "b", "family": "resnet", "year": 2016, "params": 5_000_001},
    {"name": "c", "family": "resnet", "year": 2012, "params": 499_999},
    {"name": "own", "family": "mlp", "year": None, "params": None},
]


def names(**flags: str) -> list[str]:
    given = {f"--{name.replace('_', '-')}": value for name, value in flags.items()}
    return [net["name"] for net in filters.chosen(NETS, filters.read(given))]


def test_without_filters_all_are_chosen() -> None:
    assert filters.read({"--json": ""}) == Wanted(None, None, None)
    assert names() == ["a", "b", "c", "own"]


@pytest.mark.parametrize(
    ("most", "chosen"),
    [
        ("5M", ["a", "c"]),
        ("5m", ["a", "c"]),
        ("5000001", ["a", "b", "c"]),
        ("0.5M", ["c"]),
        ("500 K", ["c"]),
        ("1B", ["a", "b", "c"]),
        ("0", []),
    ],
)
def test_at_most_so_many_parameters(most, chosen) -> None:
    assert names(max_params=most) == chosen


@pytest.mark.parametrize(
    ("year", "chosen"),
    [("2014", ["a"]), ("2012-2014", ["a", "c"]), ("2015-2020", ["b"]), ("2016-2012", [])],
)
def test_a_year_or_a_range_of_years_both_ends_included(year, chosen) -> None:
    assert names(year=year) == chosen


def test_filters_add_up() -> None:
    assert names(family="resnet") == ["b", "c"]
    assert names(family="resnet", year="2012-2020", max_params="1M") == ["c"]
    assert names(family="mlp", year="1986") == []


@pytest.mark.parametrize(
    ("flag", "value", "text"),
    [
        ("--max-params", "five", "--max-params takes a number such as 500K or 5M, got 'five'"),
        ("--max-params", "-5M", "--max-params takes a number such as 500K or 5M, got '-5M'"),
        ("--max-params", "5G", "--max-params takes a number such as 500K or 5M, got '5G'"),
        ("--year", "15", "--year takes a year or two, 2015 or 2012-2016, got '15'"),
        ("--year", "2012-", "--year takes a year or two, 2015 or 2012-2016, got '2012-'"),
    ],
)
def test_a_faulty_value_is_told(flag, value, text) -> None:
    with pytest.raises(UsageError) as caught:
        filters.read({flag: value})
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("family", "hint"), [("resnt", "did you mean 'resnet'?"), ("xyz", "one of mlp, resnet, vgg")]
)
def test_a_family_that_no_net_has_is_told(family, hint) -> None:
    with pytest.raises(UsageError) as caught:
        names(family=family)
    assert str(caught.value) == f"no net is of a family '{family}' ({hint})"
