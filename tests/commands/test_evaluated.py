from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from answered import guessed

from cnnctl import weights
from cnnctl.commands import evaluated
from cnnctl.data.source import Source, Stored
from cnnctl.scoring.scorer import Eager


def source(images: int) -> Source:
    pixels = torch.zeros(images, 1, 2, 2, dtype=torch.uint8)
    labels = np.arange(images) * 10 // images  # in the order of the classes
    return Source(
        tuple("0123456789"), {"val": Stored(pixels, labels), "test": Stored(pixels, labels)}
    )


def test_a_temperature_takes_some_thousand_images_of_all_classes() -> None:
    few = source(evaluated.FITTED)
    assert evaluated._some(few) is few
    many = evaluated._some(source(3 * evaluated.FITTED))
    assert many.sizes == {"val": evaluated.FITTED, "test": 3 * evaluated.FITTED}
    counts = np.bincount(many.splits["val"].labels)
    assert len(counts) == 10
    assert counts.max() - counts.min() <= 1


def said(seed: int = 0, images: int = 9) -> Any:
    return SimpleNamespace(val=guessed(images, 3, seed), why=None)


def test_an_ensemble_has_a_temperature_where_all_have_the_same_val() -> None:
    val, why = evaluated._val([said(), said()])
    assert val is not None
    torch.testing.assert_close(val.probabilities, said().val.probabilities)
    assert why is None


def test_nets_of_several_folds_have_no_common_val() -> None:
    for other in (said(seed=1), said(images=8)):
        assert evaluated._val([said(), other]) == (None, evaluated.OTHER_VAL)
    without: Any = SimpleNamespace(val=None, why="there is none")
    assert evaluated._val([said(), without]) == (None, "there is none")


def asked(**changes: Any) -> Any:
    given = {"data": {"size": 8}, "augment": "none", "hardware": "cpu", "seed": 0}
    return SimpleNamespace(train=SimpleNamespace(**(given | changes)))


def test_images_are_loaded_once_for_nets_that_see_the_same(monkeypatch) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(evaluated.trained, "ready", lambda one: loaded.append(one) or len(loaded))
    first: Any = SimpleNamespace(train=asked().train, source="first")
    assert evaluated._source(asked(seed=3), [first]) == "first"
    for change in ({"data": {"size": 9}}, {"augment": "crop"}, {"hardware": "gpu"}):
        assert evaluated._source(asked(**change), [first]) == len(loaded)
    assert len(loaded) == 3


NET: Any = torch.nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("parts", "known"),
    [
        ({"saved": SimpleNamespace(weights=NET.state_dict())}, True),
        ({"manifest": SimpleNamespace(weights_sha256=weights.sha256(NET.state_dict()))}, True),
        ({"type": torch.float32}, True),
        ({"type": torch.bfloat16, "mixed": True}, True),
        ({"type": torch.bfloat16}, False),
    ],
)
def test_the_hash_is_that_of_the_weights_in_the_file(parts: dict[str, Any], known) -> None:
    one: Any = SimpleNamespace(**{"saved": None, "manifest": None, **parts})
    scorer: Any = Eager.__new__(Eager)
    scorer.type, scorer.mixed = parts.get("type"), parts.get("mixed", False)
    scorer.net = NET
    found = evaluated._sha256(one, scorer)
    assert found == (weights.sha256(NET.state_dict()) if known else None)
