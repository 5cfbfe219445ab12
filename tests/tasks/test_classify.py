from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset, default_collate
from torchmetrics.classification import MulticlassCalibrationError

from cnnctl.data.order import Ticket
from cnnctl.data.prepare import Batch
from cnnctl.devices import Device
from cnnctl.nets.net import Net
from cnnctl.tasks.classify import Classify
from cnnctl.training import engine, noise

CPU = Device(
    accelerator="cpu", devices=1, num_nodes=1, precision="32-true", strategy="auto",
    sync_batchnorm=False, deterministic=False, matmul="highest", name="cpu",
)  # fmt: skip


def random_batch(images: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, generator=generator)
    return logits, torch.randint(0, classes, (images,), generator=generator)


def collated(rows: list[tuple[torch.Tensor, ...]]) -> list[Batch]:
    images, labels = default_collate(rows)
    return [Batch(images, labels, Ticket(np.arange(len(images)), None))]


def test_a_test_counts_all_images_and_starts_anew_each_time() -> None:
    task = Classify(Net(OrderedDict(same=nn.Identity()), "torch"), 4)
    for seed, batch_size in ((1, 5), (2, 7)):
        logits, labels = random_batch(23, 4, seed)
        loader = DataLoader(TensorDataset(logits, labels), batch_size, collate_fn=collated)
        with noise.quiet():
            engine.build(CPU, logger=False).test(task, loader, verbose=False)
        assert task.images == {"test": 23}
        expected = cross_entropy(logits, labels).item()
        assert task.figures["test"]["loss"] == pytest.approx(expected, rel=1e-6)
        ece = MulticlassCalibrationError(4, n_bins=15)(logits.softmax(1), labels).item()
        assert task.figures["test"]["ece"] == pytest.approx(ece, rel=1e-6)


def test_the_net_is_called_as_it_is() -> None:
    task = Classify(Net(OrderedDict(dense=nn.Linear(2, 3)), "torch"), 3)
    images = torch.ones(4, 2)
    assert torch.equal(task(images), task.net(images))


def seeing(net: Net, images: torch.Tensor, labels: torch.Tensor, *, mirror: bool) -> Classify:
    """A task that was tested on these images, in two batches."""
    task = Classify(net, 3, mirror=mirror)
    loader = DataLoader(TensorDataset(images, labels), 4, collate_fn=collated)
    with noise.quiet():
        engine.build(CPU, logger=False).test(task, loader, verbose=False)
    return task


def test_an_image_and_its_mirror_image_are_measured_as_one() -> None:
    """The mean of their logits (Simonyan, Zisserman 2015, section 3.2, has that of softmax)."""
    torch.manual_seed(0)
    net = Net(OrderedDict(flatten=nn.Flatten(), dense=nn.Linear(2 * 3 * 5, 3)), "torch")
    images, labels = torch.randn(7, 2, 3, 5), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    with torch.no_grad():
        logits = (net(images) + net(images.flip(-1))) / 2
        plain = net(images)
    for mirror, wanted in ((True, logits), (False, plain)):
        task = seeing(net, images, labels, mirror=mirror)
        loss, top1 = task.figures["test"]["loss"], task.figures["test"]["top1"]
        assert loss == pytest.approx(cross_entropy(wanted, labels).item(), rel=1e-6)
        assert top1 == pytest.approx((wanted.argmax(1) == labels).float().mean().item())
        ece = MulticlassCalibrationError(3, n_bins=15)(wanted.softmax(1), labels).item()
        assert task.figures["test"]["ece"] == pytest.approx(ece, rel=1e-5)
    assert not torch.allclose(plain, logits)


def test_a_mirrored_test_does_not_depend_on_the_side() -> None:
    torch.manual_seed(1)
    net = Net(OrderedDict(flatten=nn.Flatten(), dense=nn.Linear(12, 3)), "torch")
    images, labels = torch.randn(6, 1, 3, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    for mirror in (True, False):
        one, other = (
            seeing(net, given, labels, mirror=mirror).figures["test"]
            for given in (images, images.flip(3))
        )
        assert (one == pytest.approx(other, rel=1e-6)) is mirror
