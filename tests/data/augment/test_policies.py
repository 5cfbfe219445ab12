from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from cnnctl.data.augment import policies
from cnnctl.data.augment.operations import NAMES, SIGNED, Step
from cnnctl.data.augment.policies import AutoAugment, Policy, RandAugment, Trivial
from cnnctl.data.draws import Draws

NEAREST = v2.InterpolationMode.NEAREST
PUBLISHED = {
    "imagenet": v2.AutoAugmentPolicy.IMAGENET,
    "cifar10": v2.AutoAugmentPolicy.CIFAR10,
    "svhn": v2.AutoAugmentPolicy.SVHN,
}
PLANS = [
    (Trivial(), v2.TrivialAugmentWide()),
    (RandAugment(2, 9), v2.RandAugment(2, 9)),
    (RandAugment(3, 30), v2.RandAugment(3, 30)),
    *((AutoAugment(name), v2.AutoAugment(policy)) for name, policy in PUBLISHED.items()),
]


def draws(count: int, epoch: int = 0) -> Draws:
    return Draws(5, epoch, np.arange(count))


def pictures(count: int, channels: int = 3, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(channels)
    shape = (count, channels, size, size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return images // 2 + torch.linspace(0, 120, size).byte()


def even(counts: torch.Tensor) -> bool:
    """Chi-square of equal chances, within five deviations of what it is by chance."""
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    return bool(((counts - expected) ** 2 / expected).sum() < freedom + 5 * (2 * freedom) ** 0.5)


@pytest.mark.parametrize(("plan", "theirs"), PLANS)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32)])
def test_every_image_is_torchvisions_with_the_same_draws(plan, theirs, channels, size) -> None:
    images = pictures(90, channels, size)
    changed = Policy(plan)(images, draws(90))
    steps = plan(draws(90), size, size)
    for place, image in enumerate(images):
        expected = image
        for which, magnitudes in steps:
            name, magnitude = NAMES[which[place]], magnitudes[place].item()
            expected = theirs._apply_image_or_video_transform(
                expected, name, magnitude, NEAREST, theirs._fill
            )
        assert torch.equal(changed[place], expected)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (224, 160)])
@pytest.mark.parametrize(
    ("space", "theirs"),
    [(Trivial.space, v2.TrivialAugmentWide), (RandAugment.space, v2.RandAugment),
     (AutoAugment.space, v2.AutoAugment)],
)  # fmt: skip
def test_magnitudes_are_torchvisions(space, theirs: Any, height, width) -> None:
    found = space.magnitudes(height, width)
    assert (found.dtype, found.shape) == (torch.float64, (len(NAMES), space.bins))
    for name, (bins, both) in theirs._AUGMENTATION_SPACE.items():
        expected = bins(space.bins, height, width)
        expected = torch.zeros(space.bins) if expected is None else expected
        assert found[NAMES.index(name)].tolist() == [float(number) for number in expected], name
        assert both == (name in SIGNED)


def test_trivial_chooses_every_operation_bin_and_sign_alike() -> None:
    count = 31 * 14 * 60
    ((which, magnitudes),) = Trivial()(draws(count), 32, 32)
    assert {NAMES[place] for place in which.unique()} == set(
        v2.TrivialAugmentWide._AUGMENTATION_SPACE
    )
    assert even(torch.bincount(which, minlength=14).float())
    table = Trivial.space.magnitudes(32, 32)
    for name in ("ShearX", "TranslateY", "Rotate", "Color", "Solarize"):
        found = magnitudes[which == NAMES.index(name)]
        steps = (found.abs()[:, None] - table[NAMES.index(name)]).abs().argmin(1)
        assert even(torch.bincount(steps, minlength=31).float()), name
        negative = (found < 0).float().mean().item()
        share = 15 / 31 if name in SIGNED else 0  # the weakest bin is 0, which has no sign
        assert negative == pytest.approx(share, abs=0.04 if share else 0), name


def test_trivial_counts_as_torchvision_counts(monkeypatch) -> None:
    theirs: Any = v2.TrivialAugmentWide()
    seen: list[str] = []
    monkeypatch.setattr(
        theirs, "_apply_image_or_video_transform",
        lambda image, name, *_, **__: (seen.append(name), image)[1],
    )  # fmt: skip
    torch.manual_seed(0)
    image = pictures(1)[0]
    for _ in range(1400):
        theirs(image)
    ((which, _),) = Trivial()(draws(1400), 32, 32)
    ours = torch.bincount(which, minlength=14)
    for place, name in enumerate(NAMES[:14]):
        assert abs(seen.count(name) - int(ours[place])) < 70  # five deviations of the difference


def test_randaugment_draws_its_operations_apart_and_keeps_its_strength() -> None:
    steps = RandAugment(2, 9)(draws(14 * 14 * 40), 32, 32)
    assert len(steps) == 2
    pairs = steps[0].which * 14 + steps[1].which
    assert even(torch.bincount(pairs, minlength=14 * 14).float())
    table = RandAugment.space.magnitudes(32, 32)[:, 9]
    for which, magnitudes in steps:
        assert torch.equal(magnitudes.abs(), table[which].abs())
        both = torch.tensor([name in SIGNED for name in NAMES])[which]
        assert (magnitudes[both] < 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
        assert (magnitudes[~both] >= 0).all()


@pytest.mark.parametrize("name", PUBLISHED)
def test_autoaugment_draws_pairs_as_published(name) -> None:
    count = 25 * 800
    steps = AutoAugment(name)(draws(count), 32, 32)
    pairs = v2.AutoAugment(PUBLISHED[name])._policies
    chosen = (draws(count).uniform("policy", 5)[:, 0] * 25).long()
    assert even(torch.bincount(chosen, minlength=25).float())
    table = AutoAugment.space.magnitudes(32, 32)
    for number, pair in enumerate(pairs):
        for (operation, chance, bins), (which, magnitudes) in zip(pair, steps, strict=True):
            found, strengths = which[chosen == number], magnitudes[chosen == number]
            happened = found == NAMES.index(operation)
            assert set(found[~happened].tolist()) <= {NAMES.index("Identity")}
            share = happened.float().mean().item()
            assert share == pytest.approx(chance, abs=0.1 if 0 < chance < 1 else 0)
            expected = 0.0 if bins is None else table[NAMES.index(operation), bins].item()
            assert set(strengths[happened].abs().tolist()) <= {abs(expected)}
            if operation in SIGNED and happened.any():
                negative = (strengths[happened] < 0).float().mean().item()
                assert negative == pytest.approx(0.5, abs=0.15) or expected == 0


def test_the_three_published_policies_differ() -> None:
    found = {name: AutoAugment(name).pairs for name in PUBLISHED}
    assert {tuple(pairs.shape) for pairs in found.values()} == {(25, 2, 3)}
    assert not torch.equal(found["imagenet"], found["cifar10"])
    assert not torch.equal(found["cifar10"], found["svhn"])


def test_signs_are_drawn_for_operations_that_go_two_ways() -> None:
    which = torch.arange(len(NAMES)).repeat(2)
    numbers = torch.tensor([0.49, 0.5]).repeat_interleave(len(NAMES))
    found = policies.signed(which, torch.ones(len(which)), numbers)
    expected = [-1 if name in SIGNED else 1 for name in NAMES] + [1] * len(NAMES)
    assert found.tolist() == expected


@pytest.mark.parametrize(("plan", "theirs"), PLANS)
def test_a_policy_follows_seed_and_epoch(plan, theirs) -> None:
    images = pictures(20)
    before = images.clone()
    first = Policy(plan)(images, draws(20))
    assert torch.equal(images, before)
    assert torch.equal(first, Policy(plan)(images, draws(20)))
    assert not torch.equal(first, Policy(plan)(images, draws(20, epoch=1)))


def test_a_policy_does_its_steps_in_their_order() -> None:
    images = pictures(1)
    invert, solarize = NAMES.index("Invert"), NAMES.index("Solarize")

    def plan(draws: Draws, height: int, width: int) -> list[Step]:
        names = torch.tensor([[invert], [solarize]])
        return [Step(name, torch.tensor([0.25], dtype=torch.float64)) for name in names]

    inverted = 255 - images
    expected = torch.where(inverted >= 63.75, images, inverted)
    assert torch.equal(Policy(plan)(images, draws(1)), expected)
