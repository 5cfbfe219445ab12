from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import build, count, on_meta, outputs, spec

from cnnctl.audit.forward import Cost, cost
from cnnctl.nets.perceptron import Perceptron

PHOTOCELLS = (1, 20, 20)
CORNERS = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]).reshape(4, 1, 1, 2)


def learn(net: Perceptron, images: torch.Tensor, labels: torch.Tensor, lr: float) -> None:
    """One step of plain SGD on each image alone."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    for image, label in zip(images, labels, strict=True):
        optimizer.zero_grad()
        net.loss(net(image.unsqueeze(0)), label.unsqueeze(0)).backward()
        optimizer.step()


def perceptron(shape: tuple[int, int, int], classes: int) -> Perceptron:
    torch.manual_seed(0)
    net = build("perceptron", shape, classes)
    assert isinstance(net, Perceptron)
    return net


def test_400_photocells_reach_one_unit_per_class() -> None:
    net = on_meta("perceptron")
    assert outputs(net, PHOTOCELLS) == {"flatten": (400,), "output": (10,)}
    assert count(net) == 4010


@pytest.mark.parametrize(("shape", "classes"), [(PHOTOCELLS, 10), ((3, 7, 5), 26)])
def test_the_cost_is_one_weight_per_cell_and_unit(shape, classes) -> None:
    weights = np.prod(shape) * classes
    assert cost(spec("perceptron"), num_classes=classes, shape=shape) == Cost(
        weights + classes, weights
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_unit_fires_above_0(dtype) -> None:
    fired = Perceptron.fire(torch.tensor([-2, 0, 1e-9, 3], dtype=dtype))
    assert fired.dtype == dtype
    assert fired.tolist() == [0, 0, 1, 1]


def test_a_step_of_sgd_is_rosenblatts_rule_to_the_last_bit() -> None:
    net, a = perceptron(PHOTOCELLS, 10), 0.5
    images, labels = torch.randn(30, *PHOTOCELLS), torch.randint(0, 10, (30,))
    weight, bias = (value.detach().numpy().copy() for value in net.parameters())
    for image, label in zip(images.flatten(1).numpy(), labels.tolist(), strict=True):
        answer = (weight @ image + bias > 0).astype(np.float32)
        wanted = np.eye(10, dtype=np.float32)[label]
        weight += a * (wanted - answer)[:, None] * image
        bias += a * (wanted - answer)
    learn(net, images, labels, lr=a)
    assert np.array_equal(net.output.weight.detach().numpy(), weight)
    assert np.array_equal(net.output.bias.detach().numpy(), bias)


def test_a_right_answer_changes_nothing() -> None:
    net = perceptron(PHOTOCELLS, 3)
    torch.nn.init.zeros_(net.output.weight)
    net.output.bias.data = torch.tensor([-1.0, 2.0, 0.0])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    image = torch.randn(1, *PHOTOCELLS)
    assert net.loss(net(image), torch.tensor([1])).item() == 0
    learn(net, image, torch.tensor([1]), lr=1)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_silent_unit_at_0_learns_too() -> None:
    sums = torch.zeros(1, 3, requires_grad=True)
    loss = perceptron(PHOTOCELLS, 3).loss(sums, torch.tensor([2]))
    loss.backward()
    assert loss.item() == 0
    assert sums.grad is not None
    assert sums.grad.tolist() == [[0, 0, -1]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(2, 6))
def test_the_loss_is_the_perceptron_criterion_and_its_slope_the_mistakes(seed, batch, classes):
    generator = torch.Generator().manual_seed(seed)
    sums = torch.randn(batch, classes, generator=generator, requires_grad=True)
    labels = torch.randint(0, classes, (batch,), generator=generator)
    wanted = torch.eye(classes)[labels]
    loss = perceptron((1, 2, 2), classes).loss(sums, labels)
    loss.backward()
    criterion = (-(2 * wanted - 1) * sums).clamp(min=0).sum(1).mean()
    torch.testing.assert_close(loss, criterion)
    torch.testing.assert_close(sums.grad, -(wanted - Perceptron.fire(sums)) / batch)


@pytest.mark.parametrize(
    ("name", "labels", "learnt"),
    [("and", [0, 0, 0, 1], True), ("or", [0, 1, 1, 1], True), ("xor", [0, 1, 1, 0], False)],
)
def test_it_learns_what_a_line_can_separate(name, labels, learnt) -> None:
    net, wanted = perceptron((1, 1, 2), 2), torch.tensor(labels)
    for _ in range(50):
        learn(net, CORNERS, wanted, lr=1)
    right = Perceptron.fire(net(CORNERS)).equal(torch.eye(2)[wanted])
    assert right == learnt
