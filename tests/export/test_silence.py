from __future__ import annotations

import logging
import warnings

import pytest
import torch

from cnnctl.export.silence import CHATTY, quiet
from cnnctl.mirror import mirrored

IMAGE = torch.ones(1, 1, 5, 6)


def test_known_warnings_are_not_heard() -> None:
    with quiet():
        warnings.warn("`torch.jit.trace` is deprecated. Please switch", FutureWarning, stacklevel=1)


def test_torch_asks_whether_there_are_pixels_where_it_normalises_over_channels() -> None:
    """Which a trace keeps as it was: there are some."""
    with quiet():
        found = torch.jit.trace(torch.nn.LocalResponseNorm(2), torch.ones(1, 4, 3, 3))
    assert found(torch.ones(5, 4, 2, 2)).shape == (5, 4, 2, 2)


def test_borders_of_one_size_are_traced_without_a_word() -> None:
    with quiet():
        found = torch.jit.trace(lambda one: mirrored(one, 0, 8, *one.shape[3:]), IMAGE)
    assert found(IMAGE).shape == (1, 1, 8, 6)


def test_all_others_are() -> None:
    with quiet(), pytest.warns(UserWarning, match="new"):
        warnings.warn("something new", UserWarning, stacklevel=1)


def test_it_ends_with_the_block() -> None:
    with quiet():
        pass
    with pytest.warns(FutureWarning, match="trace"):
        warnings.warn("`torch.jit.trace` is deprecated.", FutureWarning, stacklevel=1)


@pytest.mark.parametrize("name", CHATTY)
def test_known_loggers_are_not_heard_within_the_block(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with quiet():
        logging.getLogger(name).warning("within")
    logging.getLogger(name).warning("after")
    assert [record.message for record in caplog.records] == ["after"]
