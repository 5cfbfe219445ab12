from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from cnnctl.data.augment.augmix import DEPTH, SEVERITY, AugMix
from cnnctl.data.augment.operations import NAMES, SIGNED
from cnnctl.data.draws import Draws

IDENTITY = NAMES.index("Identity")


def draws(count: int, epoch: int = 0) -> Draws:
    return Draws(2, epoch, np.arange(count))


def pictures(count: int, channels: int = 3, size: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(channels)
    shape = (count, channels, size, size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return images // 2 + torch.linspace(0, 120, size).byte()


class Told(v2.AugMix):
    """torchvision's own class, told what to draw for one image."""

    def __init__(self, weights: list[torch.Tensor], choices: list[tuple[str, float]]) -> None:
        super().__init__()
        self.weights = iter(weights)
        self.choices = iter(choices)

    def _sample_dirichlet(self, params: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return next(self.weights)

    def _apply_image_or_video_transform(self, image: Any, *_: Any, **how: Any) -> Any:
        name, magnitude = next(self.choices)
        return super()._apply_image_or_video_transform(image, name, magnitude, **how)


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32)])
def test_every_image_is_torchvisions_with_the_same_draws(channels, size, monkeypatch) -> None:
    images, plan = pictures(40, channels, size), AugMix().plan(draws(40), size, size)
    changed = AugMix()(images, draws(40))
    for place, image in enumerate(images):
        own, *parts = plan.weights[place]
        weights = [torch.stack((own, torch.tensor(1.0)))[None], torch.stack(parts)[None]]
        choices, depths = [], []
        for chain in plan.chains:
            steps = [(NAMES[which[place]], found[place].item()) for which, found in chain]
            depths.append(sum(name != "Identity" for name, _ in steps))
            choices += steps[: depths[-1]]
        told = iter(depths)
        draw = torch.randint
        monkeypatch.setattr(
            torch, "randint",
            lambda *args, told=told, draw=draw, **named: (
                torch.tensor([next(told)]) if named.get("low") == 1 else draw(*args, **named)
            ),
        )  # fmt: skip
        expected = Told(weights, choices)(image)
        monkeypatch.undo()
        assert torch.equal(changed[place], expected)


def test_magnitudes_are_the_weakest_bins_of_torchvision() -> None:
    table = AugMix.space.magnitudes(32, 24)
    theirs = v2.AugMix._AUGMENTATION_SPACE
    assert set(AugMix.space.names) == set(theirs)
    for name, (bins, both) in theirs.items():
        expected = bins(10, 32, 24)
        expected = torch.zeros(10) if expected is None else expected
        assert table[NAMES.index(name)].tolist() == [float(number) for number in expected], name
        assert both == (name in SIGNED)
    for chain in AugMix().plan(draws(500), 32, 24).chains:
        for which, magnitudes in chain:
            weakest = table[which][:, :SEVERITY].abs()
            assert (magnitudes.abs()[:, None] == weakest).any(1).all()


def test_chains_are_one_to_three_operations_long_alike() -> None:
    plan = AugMix().plan(draws(6000), 32, 32)
    assert len(plan.chains) == 3
    for chain in plan.chains:
        assert len(chain) == DEPTH
        done = torch.stack([which != IDENTITY for which, _ in chain])
        assert done[0].all()
        assert (done[1] >= done[2]).all()
        counts = torch.bincount(done.sum(0), minlength=4)
        assert counts[0] == 0
        assert counts[1:].min() > 1850  # 2000 each, deviation 37


def test_every_operation_is_chosen_alike_and_half_of_them_negated() -> None:
    plan = AugMix().plan(draws(13 * 400), 32, 32)
    for which, magnitudes in (chain[0] for chain in plan.chains):
        counts = torch.bincount(which, minlength=len(NAMES))
        assert counts[IDENTITY] == counts[NAMES.index("Invert")] == 0
        assert 300 < counts[1:-1].min() <= counts[1:-1].max() < 500  # deviation 19
        for name in ("ShearX", "Color"):
            found = magnitudes[which == NAMES.index(name)]
            assert (found < 0).float().mean().item() == pytest.approx(1 / 3, abs=0.12)
            assert (found == 0).float().mean().item() == pytest.approx(1 / 3, abs=0.12)


def test_weights_are_shares_of_one() -> None:
    weights = AugMix().plan(draws(20000), 8, 8).weights
    assert weights.dtype == torch.float32
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(20000))
    own, chains = weights[:, 0], weights[:, 1:]
    assert own.mean().item() == pytest.approx(1 / 2, abs=0.01)
    assert own.var().item() == pytest.approx(1 / 12, rel=0.03)  # Beta(1, 1) is uniform
    parts = chains / chains.sum(1, keepdim=True)
    for part in parts.unbind(1):
        assert part.mean().item() == pytest.approx(1 / 3, abs=0.01)
        assert part.var().item() == pytest.approx(1 / 18, rel=0.04)  # Dirichlet(1, 1, 1)
        assert np.corrcoef(own.numpy(), part.numpy())[0, 1] == pytest.approx(0, abs=0.03)


def test_a_flat_image_stays_near_its_level() -> None:
    images = torch.full((60, 3, 16, 16), 100, dtype=torch.uint8)
    middle = AugMix()(images, draws(60))[:, :, 8, 8].float()
    assert (middle - 100).abs().max() < 100
    assert middle.mean().item() == pytest.approx(100, abs=15)


def test_augmix_follows_seed_and_epoch() -> None:
    images = pictures(9)
    before = images.clone()
    first = AugMix()(images, draws(9))
    assert (first.dtype, first.shape) == (torch.uint8, images.shape)
    assert torch.equal(images, before)
    assert torch.equal(first, AugMix()(images, draws(9)))
    assert not torch.equal(first, AugMix()(images, draws(9, epoch=1)))
