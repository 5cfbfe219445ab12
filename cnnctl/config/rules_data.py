"""Rules about splits, told without torch."""

from __future__ import annotations

from collections.abc import Iterator

from cnnctl.config.images import Data, Folder
from cnnctl.config.masks import FolderMasks
from cnnctl.errors import Problem


def splits(data: Data) -> Iterator[Problem]:
    """Shares that leave nothing; folds and fold go together, and folds are counted from 0."""
    share = data.test_fraction if isinstance(data, (Folder, FolderMasks)) else None
    if share is not None and data.val_fraction + share >= 1:
        text = "data.val_fraction and data.test_fraction leave nothing to train on"
        yield Problem(text, "their sum must be below 1", "data.val_fraction")
    if data.folds is None and data.fold is not None:
        text = f"data.fold={data.fold} has no effect without data.folds"
        yield Problem(text, f"data.folds={max(5, data.fold + 1)}, or data.fold=null", "data.fold")
    elif data.folds is not None and data.fold is None:
        text = f"data.folds={data.folds} needs data.fold: which of them is val"
        yield Problem(text, f"data.fold=0 to {data.folds - 1}", "data.folds")
    elif data.folds is not None and data.fold is not None and data.fold >= data.folds:
        text = f"data.fold={data.fold} does not exist: data.folds={data.folds} are counted from 0"
        yield Problem(text, f"data.fold=0 to {data.folds - 1}", "data.fold")
