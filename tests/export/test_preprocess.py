from __future__ import annotations

import pytest
import torch
from exports import pixels
from torch import Tensor

from cnnctl.data.reading import Whole
from cnnctl.export.preprocess import Preprocess

SIZES = (
    (32, 32), (33, 32), (31, 33), (64, 64), (57, 171), (200, 9), (1, 1), (1, 7), (100, 77),
    (480, 640), (1200, 801),
)  # fmt: skip


def bytes_only(size: int, channels: int) -> Preprocess:
    """Neither mean nor deviation: what comes out are the bytes."""
    made = Preprocess(size, [0.0] * channels, [1 / 255] * channels)
    made.scale.fill_(1)
    return made


def require_near(found: Tensor, wanted: Tensor, shrinks: float) -> None:
    """The same bytes; a level apart here and there where torch, or float32, is not exact."""
    off = (found - wanted.float()).abs()
    assert off.max() <= 1
    if "AVX" in torch.backends.cpu.get_cpu_capability():
        assert float((off > 0).float().mean()) <= (0 if shrinks <= 4 else 0.01)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pixels_are_those_that_evaluate_reads(height: int, width: int, channels: int) -> None:
    images = pixels(2, channels, height, width)
    for size in (32, 45):
        found = bytes_only(size, channels)(images)
        assert found.shape == (2, channels, size, size)
        require_near(found, Whole(size)(images), min(height, width) / size)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_noise_which_is_hardest_is_resized_to_the_same_bytes(height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (1, 3, height, width)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    require_near(bytes_only(40, 3)(images), Whole(40)(images), min(height, width) / 40)


def test_an_image_of_the_right_size_stays_as_it_is_to_the_bit() -> None:
    images = torch.randint(0, 256, (4, 3, 37, 37), dtype=torch.uint8)
    assert torch.equal(bytes_only(37, 3)(images), images.float())


def test_normalising_is_that_of_training() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    images = pixels(2, 3, 24, 24)

    def wide(numbers: tuple[float, ...]) -> Tensor:
        return torch.tensor(numbers).view(1, 3, 1, 1)

    wanted = (images / 255 - wide(mean)) / wide(std)
    assert torch.allclose(Preprocess(24, mean, std)(images), wanted, atol=1e-6)


@pytest.mark.parametrize(("length", "short"), [(300, 300), (401, 300), (20, 20), (90, 17)])
def test_the_weights_of_a_pixel_add_up_to_one(length: int, short: int) -> None:
    weights = Preprocess(32, [0.5], [0.5]).weights(length, short)
    assert weights.shape == (32, length)
    assert weights.min() >= 0
    assert torch.allclose(weights.sum(1), torch.ones(32), atol=1e-3)


def test_weights_are_whole_multiples_of_a_power_of_two() -> None:
    weights = Preprocess(32, [0.5], [0.5]).weights(100, 100)
    bits = next(bits for bits in range(30) if float((weights * 2**bits).frac().abs().max()) == 0)
    assert 2**14 <= float(weights.max()) * 2**bits < 2**15


def test_what_is_exported_takes_every_size() -> None:
    made = Preprocess(16, [0.5], [0.5])
    free = {0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    example = pixels(2, 1, 19, 23)
    traced = torch.export.export(made, (example,), dynamic_shapes=(free,), strict=False).module()
    for height, width in SIZES:
        images = pixels(3, 1, height, width)
        assert torch.equal(traced(images), made(images))


def test_everything_is_made_where_the_buffers_are() -> None:
    """The meta device stands for a GPU: two devices do not mix."""
    made = Preprocess(16, [0.5], [0.5]).to("meta")
    assert made(pixels(2, 1, 19, 23).to("meta")).shape == (2, 1, 16, 16)
