from __future__ import annotations

import contextlib
import logging
import warnings

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from cnnctl.errors import DataError
from cnnctl.training import noise


class Broken(Dataset[torch.Tensor]):
    """One image, which cannot be read."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> torch.Tensor:
        raise DataError("cannot read image a.png: the file is empty")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_one_line_however_many_loaders(workers) -> None:
    with pytest.raises(DataError) as caught, noise.plain_errors():
        list(DataLoader(Broken(), num_workers=workers))
    assert str(caught.value) == "cannot read image a.png: the file is empty"


def test_an_error_of_another_kind_passes_as_it_is() -> None:
    with pytest.raises(ValueError, match=r"^DataError: not ours$"), noise.plain_errors():
        raise ValueError("DataError: not ours")


def test_lightnings_loggers_get_their_levels_back_after_a_failure_too() -> None:
    log = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    before = log.level
    with contextlib.suppress(ValueError), noise.quiet():
        assert log.level == logging.WARNING
        raise ValueError
    assert log.level == before


def test_warnings_are_switched_off_by_name_and_no_others() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with noise.quiet():
            warnings.warn("The 'train_dataloader' does not have many workers which", stacklevel=1)
            warnings.warn("something new", stacklevel=1)
    assert [str(warning.message) for warning in seen] == ["something new"]
