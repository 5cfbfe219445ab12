from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset, default_collate
from torchmetrics.functional import r2_score
from torchmetrics.functional.image import peak_signal_noise_ratio

from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.devices import Device
from cnnctl.nets.net import Net
from cnnctl.tasks.gradient import Measured
from cnnctl.tasks.reconstruct import Likeness, Reconstruct, likeness, parts
from cnnctl.training import engine, noise

CPU = Device(
    accelerator="cpu", devices=1, num_nodes=1, precision="32-true", strategy="auto",
    sync_batchnorm=False, deterministic=False, matmul="highest", name="cpu",
)  # fmt: skip
MEAN, STD = torch.tensor([0.4, 0.5, 0.3]), torch.tensor([0.2, 0.25, 0.3])


class Copies(Net):
    """Half of what it sees, shifted by a pixel: not the same for an image and its mirror image."""

    def __init__(self) -> None:
        super().__init__(OrderedDict(same=nn.Identity()), "torch")

    def forward(self, value: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return value.roll(1, 3) / 2

    def loss(self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
        assert isinstance(outputs, Tensor)
        return mse_loss(outputs, labels)


def intensities(images: int, seed: int = 0) -> Tensor:
    """In 0..1, (N, 3, 6, 5)."""
    return torch.rand(images, 3, 6, 5, generator=torch.Generator().manual_seed(seed))


def normalised(values: Tensor) -> Tensor:
    return (values - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)


def collated(rows: list[tuple[Tensor]]) -> list[Batch]:
    (images,) = default_collate(rows)
    return [Batch(images, images, Ticket(np.arange(len(images)), None))]


def measured(images: Tensor, *, mirror: bool = False) -> Reconstruct:
    """A task that was tested on these images, in batches of four."""
    task = Reconstruct(Copies(), 10, mirror=mirror, deviation=STD.tolist())
    loader = DataLoader(TensorDataset(images), 4, collate_fn=collated)
    with noise.quiet():
        engine.build(CPU, logger=False).test(task, loader, verbose=False)
    return task


@pytest.mark.parametrize("mirror", [False, True])
def test_the_figures_are_those_of_all_images_in_intensities(mirror) -> None:
    true = intensities(11)
    seen = normalised(true)
    made = seen.roll(1, 3) / 2
    if mirror:
        made = (made + (seen.flip(3).roll(1, 3) / 2).flip(3)) / 2
    task = measured(seen, mirror=mirror)
    back = made * STD.view(3, 1, 1) + MEAN.view(3, 1, 1)
    error = (back - true).double().square()
    spread = (true - true.mean((0, 2, 3), keepdim=True)).double().square()
    expected = {
        "loss": mse_loss(made, seen).item(),
        "mse": error.mean().item(),
        "psnr": peak_signal_noise_ratio(back, true, data_range=1.0).item(),
        "explained": 1 - (error.sum() / spread.sum()).item(),
    }
    assert task.images == {"test": 11}
    assert task.figures["test"] == pytest.approx(expected, rel=1e-5)
    assert list(task.figures["test"]) == list(expected)


def test_of_one_channel_explained_is_the_coefficient_of_determination() -> None:
    true = torch.rand(5, 1, 4, 4)
    made = true + 0.2 * torch.randn(5, 1, 4, 4)
    sums = parts(made / 0.5, true / 0.5, torch.tensor([0.5])).double().sum(0).tolist()
    expected = r2_score(made.flatten(), true.flatten()).item()
    assert likeness(sums)["explained"] == pytest.approx(expected, rel=1e-5)


def test_equal_images_have_120_decibels_and_are_explained_whole() -> None:
    images = intensities(3)
    sums = parts(images, images, torch.ones(3)).sum(0).tolist()
    assert likeness(sums) == {"mse": 0, "psnr": pytest.approx(120), "explained": 1}


def test_the_mean_colour_explains_nothing_and_black_less() -> None:
    images = intensities(4)
    colour = images.mean((0, 2, 3), keepdim=True).expand_as(images)
    found = [
        likeness(parts(made, images, torch.ones(3)).double().sum(0).tolist())["explained"]
        for made in (colour, torch.zeros_like(images))
    ]
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[1] < -2


def test_images_of_one_grey_have_nothing_to_explain() -> None:
    grey = torch.full((2, 1, 4, 4), 0.5)
    for made in (grey, grey + 0.25):
        assert likeness(parts(made, grey, torch.ones(1)).sum(0).tolist())["explained"] == 0


def test_the_mean_that_images_were_shifted_by_changes_nothing() -> None:
    true, made = intensities(6), intensities(6, seed=1)
    found = [
        likeness(parts(one, other, scale).double().sum(0).tolist())
        for one, other, scale in (
            (made, true, torch.ones(3)),
            (normalised(made), normalised(true), STD),
        )
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_each_image_counts_alike_however_batches_are_cut() -> None:
    made, wanted = intensities(7), intensities(7, seed=1)
    counted = []
    for sizes in ([7], [3, 4], [1] * 7):
        tally = Likeness(STD.tolist(), torch.device("cpu"))
        cut = zip(made.split(sizes), wanted.split(sizes), strict=True)
        for one, other in cut:
            tally.add(Measured(mse_loss(one, other), one, other))
        counted.append(tally.sums)
    for sums in counted:
        assert (sums.dtype, sums[-1]) == (torch.float64, 7)
        torch.testing.assert_close(sums, counted[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(counted[0][-2] / 7, mse_loss(made, wanted).double())


def test_a_tally_goes_on_from_sums_of_earlier() -> None:
    made, wanted = intensities(4), intensities(4, seed=1)
    whole = Likeness(STD.tolist(), torch.device("cpu"))
    first, second = (Likeness(STD.tolist(), torch.device("cpu")) for _ in range(2))
    for tally, some in ((whole, slice(4)), (first, slice(2))):
        tally.add(Measured(torch.tensor(0.5), made[some], wanted[some]))
    second.restore(first.sums)
    second.add(Measured(torch.tensor(0.5), made[2:], wanted[2:]))
    torch.testing.assert_close(second.sums, whole.sums, rtol=1e-6, atol=0)


def test_sixteen_bit_numbers_are_summed_in_thirty_two() -> None:
    made, wanted = intensities(2).bfloat16(), intensities(2, seed=1).bfloat16()
    found = parts(made, wanted, torch.ones(3))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, parts(made.float(), wanted.float(), torch.ones(3)))


def test_the_same_task_measures_another_net() -> None:
    task = measured(normalised(intensities(3)), mirror=True)
    net = Copies()
    again = task.again(net)
    assert (again.net, again.mirror, again.deviation) == (net, True, task.deviation)
    assert again.classes == 10
