from __future__ import annotations

from typing import Any

import pytest

from cnnctl import runs
from cnnctl.config import compose, paths
from cnnctl.config.images import Augment
from cnnctl.config.read import read
from cnnctl.data import augment
from cnnctl.data.augment.augmix import AugMix
from cnnctl.data.augment.erasing import Erase
from cnnctl.data.augment.geometry import Elastic, Rotate, ShiftFlip
from cnnctl.data.augment.mixing import CutMix, MixUp
from cnnctl.data.augment.pca import PcaColour
from cnnctl.data.augment.policies import AutoAugment, Policy, RandAugment, Trivial

OPTIONS = sorted(file.stem for file in (paths.conf_dir() / "augment").glob("*.yaml"))
NONE = runs.read_config(paths.conf_dir() / "augment" / "none.yaml")
ALL = {
    "shift": 1, "flip": 0.5, "rotate": 5, "elastic": [9, 2], "policy": "trivial",
    "colour": 0.1, "erase": 0.5, "mixup": 0.2, "cutmix": 1,
}  # fmt: skip


def section(**changes: Any) -> Augment:
    found, problems = read(Augment, NONE | changes, "augment")
    assert problems == []
    assert found is not None
    return found


def kinds(changes: list[Any]) -> list[type]:
    return [type(change) for change in changes]


def test_nothing_is_done_where_nothing_is_asked_for() -> None:
    chosen = section()
    assert augment.of_bytes(chosen) == augment.of_intensities(chosen) == []
    assert augment.of_normalised(chosen) == []
    assert augment.of_batches(chosen, 10) is None


def test_all_changes_come_in_their_order() -> None:
    chosen = section(**ALL)
    assert kinds(augment.of_bytes(chosen)) == [ShiftFlip, Rotate, Elastic, Policy]
    assert kinds(augment.of_intensities(chosen)) == [PcaColour]
    assert kinds(augment.of_normalised(chosen)) == [Erase]
    mix: Any = augment.of_batches(chosen, 10)
    assert kinds(mix.ways) == [MixUp, CutMix]
    assert {way.classes for way in mix.ways} == {10}


@pytest.mark.parametrize("key", ALL)
def test_each_key_switches_its_own_change_on(key) -> None:
    chosen = section(**{key: ALL[key]})
    found = [
        *augment.of_bytes(chosen), *augment.of_intensities(chosen), *augment.of_normalised(chosen),
    ]  # fmt: skip
    mix: Any = augment.of_batches(chosen, 10)
    assert len(found) + len(mix.ways if mix else []) == 1


@pytest.mark.parametrize("turns", [False, True])
def test_flips_come_by_chance_or_by_turns(turns) -> None:
    (change,) = augment.of_bytes(section(flip=0.5, flip_alternates=turns))
    assert isinstance(change, ShiftFlip)
    assert change.by_turns is turns


@pytest.mark.parametrize(
    ("policy", "kind"),
    [("trivial", Trivial), ("randaugment", RandAugment), ("autoaugment_imagenet", AutoAugment),
     ("autoaugment_cifar10", AutoAugment), ("autoaugment_svhn", AutoAugment)],
)  # fmt: skip
def test_a_policy_is_known_by_its_name(policy, kind) -> None:
    numbers = {"ops": 3, "magnitude": 11} if policy == "randaugment" else {}
    (change,) = augment.of_bytes(section(policy=policy, **numbers))
    assert isinstance(change, Policy)
    assert isinstance(change.plan, kind)
    if isinstance(change.plan, RandAugment):
        assert (change.plan.ops, change.plan.magnitude) == (3, 11)
    if isinstance(change.plan, AutoAugment):
        expected = AutoAugment(policy.removeprefix("autoaugment_")).pairs
        assert change.plan.pairs.equal(expected)


def test_augmix_samples_in_its_own_way() -> None:
    assert kinds(augment.of_bytes(section(policy="augmix"))) == [AugMix]


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_bears_its_name_and_does_something(name) -> None:
    with compose.opened():
        config, _ = compose.compose("train", [f"augment={name}"])
    found, problems = read(Augment, config["augment"], "augment")
    assert problems == []
    assert found is not None
    assert found.name == name
    done = [*augment.of_bytes(found), *augment.of_intensities(found), *augment.of_normalised(found)]
    mixes = augment.of_batches(found, 2)
    assert bool(done or mixes or found.crop) == (name != "none")


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_says_first_where_it_comes_from(name) -> None:
    first = (paths.conf_dir() / "augment" / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")
    inherits = name in (
        "trivial", "randaugment", "autoaugment", "augmix", "pca_colour", "random_erasing",
        "mixup", "cutmix",
    )  # fmt: skip
    assert ("flip_crop" in first) == inherits
