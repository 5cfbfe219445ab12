"""Rules about the published data sets and noise, told without torch."""

from __future__ import annotations

from collections.abc import Iterator

from cnnctl.config.images import Data, Emnist, Fake, Published
from cnnctl.errors import Problem

UNDIVIDED = ("caltech101", "eurosat")  # published without a test split
EMNIST = {"balanced": 47, "byclass": 62, "bymerge": 47, "digits": 10, "letters": 26, "mnist": 10}


def published(data: Data) -> Iterator[Problem]:
    """What `data` sets without an effect, or against the set itself."""
    if not isinstance(data, (Fake, Published)):
        return
    if data.test_fraction is not None and data.val_fraction + data.test_fraction >= 1:
        text = "data.val_fraction and data.test_fraction leave nothing to train on"
        yield Problem(text, "their sum must be below 1", "data.val_fraction")
    if isinstance(data, Fake):
        return
    if data.test_fraction is not None and data.name not in UNDIVIDED:
        text = f"data.test_fraction has no effect: {data.name} has a test split of its own"
        yield Problem(text, "data.test_fraction=null", "data.test_fraction")
    if data.name == "imagenet" and data.download:
        text = "data.download=true has no effect: imagenet cannot be downloaded"
        yield Problem(text, "data.download=false", "data.download")
    if isinstance(data, Emnist) and data.classes != EMNIST[data.split]:
        classes = EMNIST[data.split]
        text = f"data.classes must be {classes} for data.split={data.split}, got {data.classes}"
        yield Problem(text, f"data.classes={classes}", "data.classes")
