from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, one_hot
from torchmetrics.classification import MulticlassAccuracy

from cnnctl.tasks.gradient import Measured
from cnnctl.tasks.tally import SMALL, TOGETHER, Tally, means


def random_batch(images: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, generator=generator)
    return logits, torch.randint(0, classes, (images,), generator=generator)


def tallied(logits: torch.Tensor, labels: torch.Tensor, sizes: list[int]) -> Tally:
    tally = Tally(torch.device("cpu"))
    for part, wanted in zip(logits.split(sizes), labels.split(sizes), strict=True):
        tally.add(Measured(cross_entropy(part, wanted), part, wanted))
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
    tally.add(Measured(logits.sum(), logits, torch.tensor([0, 1])))
    assert tally.sums.dtype == torch.float64
    assert not tally.sums.requires_grad


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_counting_is_exact_where_the_net_reckons_coarsely(kind) -> None:
    logits, labels = random_batch(2051, 7, 1)
    logits = logits.argsort(1).argsort(1).to(kind)  # no two are as large
    tally = Tally(torch.device("cpu"))
    tally.add(Measured(cross_entropy(logits, labels), logits, labels))
    hits = (logits.argmax(1) == labels).sum()
    assert tally.sums[1:].tolist() == [hits, tally.sums[2], 2051]
    assert tally.sums.dtype == torch.float64
    assert means(tally.sums, 7)["top1"] == pytest.approx(hits / 2051)


def test_of_shares_the_largest_is_the_label() -> None:
    logits, labels = random_batch(9, 6, 2)
    shares = 0.7 * one_hot(labels, 6) + 0.3 * one_hot(labels.flip(0), 6)
    mixed, plain = (Tally(torch.device("cpu")) for _ in range(2))
    mixed.add(Measured(cross_entropy(logits, shares), logits, shares))
    plain.add(Measured(cross_entropy(logits, shares), logits, labels))
    assert torch.equal(mixed.sums, plain.sums)


@pytest.mark.parametrize("between", [1, 5, TOGETHER, TOGETHER + 1])
def test_to_look_at_the_sums_in_between_changes_none_of_their_bits(between) -> None:
    """A checkpoint within an epoch does."""
    logits, labels = random_batch(40 * 3, 7, 3)
    whole, seen = (Tally(torch.device("cpu")) for _ in range(2))
    for number, (part, wanted) in enumerate(zip(logits.split(3), labels.split(3), strict=True)):
        for tally in (whole, seen):
            tally.add(Measured(cross_entropy(part, wanted), part, wanted))
        if number % between == 0:
            seen.sums  # noqa: B018 - counts what waits
    assert torch.equal(seen.sums, whole.sums)


def test_small_batches_wait_for_others_and_large_ones_do_not() -> None:
    tally = Tally(torch.device("cpu"))
    for number in range(1, TOGETHER + 1):
        logits, labels = random_batch(4, 3, number)
        tally.add(Measured(logits.sum(), logits, labels))
        assert len(tally._waiting) == number % TOGETHER
    logits, labels = random_batch(SMALL // 3 + 1, 3, 0)
    tally.add(Measured(logits.sum(), logits, labels))
    assert tally._waiting == []
    assert tally._sums[3] == 4 * TOGETHER + SMALL // 3 + 1
