from __future__ import annotations

import gc

import pytest
import torch

from cnnctl.allocation import Follow, highest


def test_it_hears_of_what_is_given_and_taken_back() -> None:
    follow = Follow()
    kept = torch.empty(1000)
    gone = torch.empty(500)
    del gone
    assert follow.stop() == [4000, 2000, -2000]
    del kept


def test_what_is_older_is_not_heard_of() -> None:
    older = torch.empty(1000)
    follow = Follow()
    older.neg_()
    assert follow.stop() == []


@pytest.mark.parametrize("collects", [True, False])
def test_garbage_stays_meanwhile_and_is_collected_as_before_afterwards(collects) -> None:
    if not collects:
        gc.disable()
    try:
        follow = Follow()
        assert not gc.isenabled()
        follow.stop()
        assert gc.isenabled() is collects
    finally:
        gc.enable()


def test_nobody_is_told_afterwards() -> None:
    for _ in range(2):
        follow = Follow()
        assert torch.autograd._profiler_enabled()
        assert follow.stop() == []
        assert not torch.autograd._profiler_enabled()


def test_the_highest_is_that_at_one_time() -> None:
    assert highest([4, 2, -4, 3, -5]) == 6
    assert highest([]) == 0
