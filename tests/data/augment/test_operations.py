from __future__ import annotations

from typing import Any

import pytest
import torch
from torchvision.transforms import v2

from cnnctl.data.augment import operations
from cnnctl.data.augment.operations import NAMES, Step

ORACLE: Any = v2.TrivialAugmentWide()
NONE = ("Identity", "AutoContrast", "Equalize", "Invert")


def pictures(channels: int, size: int, count: int = 24) -> torch.Tensor:
    """Noise, soft gradients, grey, flat, black and white: all that an operation treats apart."""
    generator = torch.Generator().manual_seed(channels * size)
    shape = (count, channels, size, size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    ramp = torch.linspace(20, 190, size).byte()
    images[0:4] = images[0:4] // 8 + ramp
    images[4:8] = images[4:8, :1]
    images[8], images[9], images[10] = 0, 255, 117
    images[11, 0] = 80
    return images


def torchvisions(image: torch.Tensor, name: str, magnitude: float, mode: str) -> torch.Tensor:
    how = v2.InterpolationMode(mode)
    fill = ORACLE._fill
    return ORACLE._apply_image_or_video_transform(image, name, magnitude, how, fill)


def magnitudes(name: str, count: int, size: int) -> torch.Tensor:
    if name in NONE:
        return torch.zeros(count, dtype=torch.float64)
    if name == "Posterize":
        return (torch.arange(count) % 9).double()
    highest = {"Translate": size, "Rotate": 135, "Solarize": 1}
    limit = next((most for start, most in highest.items() if name.startswith(start)), 0.99)
    strengths = torch.linspace(0, limit, count).double()
    return strengths if name == "Solarize" else strengths * (-1) ** torch.arange(count)


def same(images: torch.Tensor, step: Step, mode: str) -> None:
    changed = operations.apply(images, step, mode)
    assert (changed.dtype, changed.shape) == (torch.uint8, images.shape)
    for place, (which, magnitude) in enumerate(zip(*step, strict=True)):
        expected = torchvisions(images[place], NAMES[which], magnitude.item(), mode)
        assert torch.equal(changed[place], expected), (place, NAMES[which], magnitude.item())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (1, 28), (3, 32), (3, 33), (3, 2)])
def test_every_image_has_the_bytes_that_torchvision_makes(name, channels, size) -> None:
    images = pictures(channels, size)
    which = torch.full((len(images),), NAMES.index(name))
    same(images, Step(which, magnitudes(name, len(images), size)), "nearest")


@pytest.mark.parametrize("name", operations.AFFINE)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32)])
def test_bilinear_sampling_has_torchvisions_bytes_too(name, channels, size) -> None:
    images = pictures(channels, size)
    which = torch.full((len(images),), NAMES.index(name))
    same(images, Step(which, magnitudes(name, len(images), size)), "bilinear")


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_batch_of_all_operations_is_put_back_in_its_order(mode) -> None:
    images = pictures(3, 32, 60)
    generator = torch.Generator().manual_seed(1)
    which = torch.randint(0, len(NAMES), (60,), generator=generator)
    strengths = [magnitudes(NAMES[place], 60, 32)[row] for row, place in enumerate(which)]
    same(images, Step(which, torch.stack(strengths)), mode)


def test_large_bright_images_keep_to_torchvisions_contrast() -> None:
    """Their sum of greys is more than float32 can count, so means may differ in the last bit."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(200, 256, (3, 3, 320, 320), generator=generator, dtype=torch.uint8)
    step = Step(torch.full((3,), NAMES.index("Contrast")), torch.tensor([-0.7, 0.31, 0.9]).double())
    changed = operations.apply(images, step, "nearest")
    for place, magnitude in enumerate(step.magnitudes):
        expected = torchvisions(images[place], "Contrast", magnitude.item(), "nearest")
        apart = (changed[place].int() - expected.int()).abs()
        assert apart.max() <= 1
        assert (apart > 0).float().mean() <= 0.001


def test_the_input_stays_as_it_is() -> None:
    images = pictures(3, 16)
    before = images.clone()
    for place, name in enumerate(NAMES):
        which = torch.full((len(images),), place)
        operations.apply(images, Step(which, magnitudes(name, len(images), 16)), "nearest")
        assert torch.equal(images, before), name


def test_the_identity_is_a_copy() -> None:
    images = pictures(3, 16)
    step = Step(torch.zeros(len(images), dtype=torch.int64), torch.ones(len(images)).double())
    changed = operations.apply(images, step, "nearest")
    assert torch.equal(changed, images)
    assert changed.data_ptr() != images.data_ptr()


@pytest.mark.parametrize("name", NAMES)
def test_what_an_image_becomes_does_not_depend_on_the_others(name) -> None:
    images = pictures(3, 31)
    step = Step(torch.full((24,), NAMES.index(name)), magnitudes(name, 24, 31))
    together = operations.apply(images, step, "bilinear")
    for place in range(24):
        rows = slice(place, place + 1)
        alone = Step(step.which[rows], step.magnitudes[rows])
        assert torch.equal(operations.apply(images[rows], alone, "bilinear")[0], together[place])


def test_the_names_are_all_that_torchvision_has() -> None:
    spaces: list[Any] = [v2.TrivialAugmentWide, v2.RandAugment, v2.AutoAugment, v2.AugMix]
    found = {name for space in spaces for name in space._AUGMENTATION_SPACE}
    assert found == set(NAMES)
    signed = {
        name for space in spaces for name, (_, both) in space._AUGMENTATION_SPACE.items() if both
    }
    assert signed == set(operations.SIGNED)
