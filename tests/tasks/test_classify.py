from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from torch.utils.data import DataLoader, TensorDataset, default_collate
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
)

from cnnctl.devices import Device
from cnnctl.nets.net import Net
from cnnctl.tasks.classify import Classify, Tally, means
from cnnctl.training import engine, measure, noise

CPU = Device(
    accelerator="cpu", devices=1, num_nodes=1, precision="32-true", strategy="auto", name="cpu"
)


def random_batch(images: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, generator=generator)
    return logits, torch.randint(0, classes, (images,), generator=generator)


def tallied(logits: torch.Tensor, labels: torch.Tensor, sizes: list[int]) -> Tally:
    tally = Tally(torch.device("cpu"))
    for part, wanted in zip(logits.split(sizes), labels.split(sizes), strict=True):
        tally.add(cross_entropy(part, wanted), part, wanted)
    return tally


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(2, 12), st.integers(0, 99))
def test_the_figures_are_those_of_torchmetrics_however_it_is_batched(sizes, classes, seed) -> None:
    logits, labels = random_batch(sum(sizes), classes, seed)
    found = means(tallied(logits, labels, sizes).sums, classes)
    expected = {"loss": cross_entropy(logits, labels).item()}
    for top in (1, 5) if classes > 5 else (1,):
        metric = MulticlassAccuracy(classes, top_k=top, average="micro")
        expected[f"top{top}"] = metric(logits, labels).item()
    assert found == pytest.approx(expected, rel=1e-5)
    assert list(found) == list(expected)


def test_a_mean_weighs_images_and_not_batches() -> None:
    right, wrong = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 9.0]])
    logits, labels = torch.cat([right] * 3 + [wrong]), torch.zeros(4, dtype=torch.int64)
    tally = tallied(logits, labels, [3, 1])
    low, high = torch.tensor([-9.0, 9.0]).exp().log1p().tolist()
    assert means(tally.sums, 2) == pytest.approx({"loss": (3 * low + high) / 4, "top1": 0.75})
    assert tally.sums[3] == 4


@pytest.mark.parametrize(
    ("classes", "names"), [(5, ["loss", "top1"]), (6, ["loss", "top1", "top5"])]
)
def test_top5_says_nothing_with_five_classes_or_fewer(classes, names) -> None:
    logits, labels = random_batch(4, classes, 0)
    assert list(means(tallied(logits, labels, [4]).sums, classes)) == names


def test_counting_keeps_no_graph() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    tally = Tally(torch.device("cpu"))
    tally.add(logits.sum(), logits, torch.tensor([0, 1]))
    assert tally.sums.dtype == torch.float64
    assert not tally.sums.requires_grad


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_counting_is_exact_where_the_net_reckons_coarsely(kind) -> None:
    logits, labels = random_batch(2051, 7, 1)
    logits = logits.argsort(1).argsort(1).to(kind)  # no two are as large
    tally = Tally(torch.device("cpu"))
    tally.add(cross_entropy(logits, labels), logits, labels)
    hits = (logits.argmax(1) == labels).sum()
    assert tally.sums[1:].tolist() == [hits, tally.sums[2], 2051]
    assert tally.sums.dtype == torch.float64
    assert means(tally.sums, 7)["top1"] == pytest.approx(hits / 2051)


def test_of_shares_the_largest_is_the_label() -> None:
    logits, labels = random_batch(9, 6, 2)
    shares = 0.7 * one_hot(labels, 6) + 0.3 * one_hot(labels.flip(0), 6)
    mixed, plain = (Tally(torch.device("cpu")) for _ in range(2))
    mixed.add(cross_entropy(logits, shares), logits, shares)
    plain.add(cross_entropy(logits, shares), logits, labels)
    assert torch.equal(mixed.sums, plain.sums)


def test_a_test_counts_by_class_and_starts_anew_each_time() -> None:
    task = Classify(Net(OrderedDict(same=nn.Identity()), "torch"), 4)
    for seed, batch_size in ((1, 5), (2, 7)):
        logits, labels = random_batch(23, 4, seed)
        loader = DataLoader(
            TensorDataset(logits, labels),
            batch_size,
            collate_fn=lambda rows: [default_collate(rows)],
        )
        with noise.quiet():
            engine.build(CPU, logger=False).test(task, loader, verbose=False)
        assert torch.equal(task.confusion, MulticlassConfusionMatrix(4)(logits, labels))
        assert task.images == {"test": 23}
        expected = cross_entropy(logits, labels).item()
        assert task.figures["test"]["loss"] == pytest.approx(expected, rel=1e-6)
        ece = MulticlassCalibrationError(4, n_bins=15)(logits.softmax(1), labels).item()
        assert task.figures["test"]["ece"] == pytest.approx(ece, rel=1e-6)


def test_the_net_is_called_as_it_is() -> None:
    task = Classify(Net(OrderedDict(dense=nn.Linear(2, 3)), "torch"), 3)
    images = torch.ones(4, 2)
    assert torch.equal(task(images), task.net(images))


def test_by_class_gives_recall_precision_and_f1_and_null_for_nothing() -> None:
    confusion = torch.tensor([[3, 1, 0], [1, 1, 0], [0, 0, 0]])
    assert measure.by_class(confusion, ("a", "b", "c")) == [
        {"class": "a", "n": 4, "recall": 0.75, "precision": 0.75, "f1": 0.75},
        {"class": "b", "n": 2, "recall": 0.5, "precision": 0.5, "f1": 0.5},
        {"class": "c", "n": 0, "recall": None, "precision": None, "f1": None},
    ]
