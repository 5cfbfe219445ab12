"""Against numpy, pixel by pixel, and against gradients of a form that is written out."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cnnctl.config.masks import IGNORE, Dice, Focal, Loss, OfPixels
from cnnctl.nets.segmenter import Segmenter
from cnnctl.tasks import losses

CLASSES = 4
WEIGHTS = (0.5, 2.0, 0.0, 3.0)
PIXELS = OfPixels(name="cross_entropy", weights=None, border=(10, 5))
DICE = Dice(name="dice", weights=None, border=None, cross_entropy=0)
BOTH = Dice(name="dice", weights=None, border=(10, 5), cross_entropy=0.7)
FOCAL = Focal(name="focal", weights=None, border=None, gamma=2)
EDGES = Focal(name="focal", weights=None, border=(4, 5), gamma=1.5)
SHALLOW = Focal(name="focal", weights=None, border=None, gamma=0.5)
ALL = {
    "cross_entropy": PIXELS, "dice": DICE, "dice and cross_entropy": BOTH, "focal": FOCAL,
    "focal with borders": EDGES, "focal of a small gamma": SHALLOW,
}  # fmt: skip
every = pytest.mark.parametrize("loss", ALL.values(), ids=ALL)


def net(weights: tuple[float, ...] | None = None, smoothing: float = 0.0) -> Segmenter:
    made = Segmenter(OrderedDict(one=nn.Conv2d(1, CLASSES, 1)), "torch")
    made.class_weights = None if weights is None else torch.tensor(weights)
    made.label_smoothing = smoothing
    return made


def batch(seed: int = 0, *, ignored: float = 0.2) -> tuple[Tensor, Tensor]:
    """Logits float64 (3, CLASSES, 5, 6) and masks of two planes; class 3 is not in them."""
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.normal(0, 2, (3, CLASSES, 5, 6)))
    masks = random.integers(0, CLASSES - 1, (3, 1, 5, 6))
    masks[random.random(masks.shape) < ignored] = IGNORE
    border = random.integers(0, 256, masks.shape)
    planes = np.concatenate([masks, border], 1).astype(np.uint8)
    return logits.requires_grad_(), torch.from_numpy(planes)


def chances(logits: Tensor) -> np.ndarray:
    raised = np.exp(logits.detach().numpy())
    return raised / raised.sum(1, keepdims=True)


def built(loss: Loss, one: Segmenter | None = None) -> losses.Criterion:
    made = losses.build(loss, one or net())
    assert made is not None
    return made


def test_what_the_net_has_itself_is_not_made_again() -> None:
    assert losses.build(Loss(name="own"), net()) is None
    plain = OfPixels(name="cross_entropy", weights=(1, 2, 3, 4), border=None)
    assert losses.build(plain, net()) is None


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_cross_entropy_counts_pixels_at_borders_more(weights, smoothing: float) -> None:
    logits, masks = batch()
    share, total, weighed = chances(logits), 0.0, 0.0
    by_class = weights or (1.0,) * CLASSES
    for image, y, x in np.ndindex(3, 5, 6):
        wanted = int(masks[image, 0, y, x])
        if wanted == IGNORE:
            continue
        losses_of = -np.log(share[image, :, y, x])
        smooth = np.full(CLASSES, smoothing / CLASSES)
        smooth[wanted] += 1 - smoothing
        extra = 10 * int(masks[image, 1, y, x]) / 255
        total += (smooth * losses_of * by_class).sum() + extra * (smooth * losses_of).sum()
        weighed += by_class[wanted]
    found = built(PIXELS, net(weights, smoothing))(logits, masks)
    assert float(found.detach()) == pytest.approx(total / weighed, rel=1e-6)


def test_without_borders_it_is_torchs_weighted_mean() -> None:
    logits, masks = batch()
    masks[:, 1] = 0
    found = built(PIXELS, net(WEIGHTS, 0.2))(logits, masks)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    wanted = cross_entropy(
        logits, masks[:, 0].long(), weights, ignore_index=IGNORE, label_smoothing=0.2
    )
    torch.testing.assert_close(found, wanted)


def dice(logits: Tensor, masks: Tensor) -> float:
    share, labels = chances(logits), masks[:, 0].numpy()
    lost = []
    for number in range(CLASSES):
        p = share[:, number][labels != IGNORE]
        g = (labels[labels != IGNORE] == number).astype(float)
        if g.any():
            lost.append(1 - 2 * (p @ g) / (p @ p + g @ g))
    return float(np.mean(lost))


def test_dice_is_the_mean_over_the_classes_of_the_masks() -> None:
    logits, masks = batch()
    assert float(built(DICE)(logits, masks).detach()) == pytest.approx(dice(logits, masks))
    shared = float(built(BOTH)(logits, masks).detach())
    pixels = float(built(PIXELS)(logits, masks).detach())
    assert shared == pytest.approx(dice(logits, masks) + 0.7 * pixels)


def test_dice_has_its_ends() -> None:
    masks = torch.tensor([[[[0, 1, 2, 3, IGNORE]]]], dtype=torch.uint8)
    right = torch.eye(CLASSES)[[0, 1, 2, 3, 0]].T.view(1, CLASSES, 1, 5) * 1e3
    assert float(built(DICE)(right, masks)) == pytest.approx(0)
    assert float(built(DICE)(right.roll(1, 1), masks)) == pytest.approx(1)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("loss", [FOCAL, EDGES, SHALLOW])
def test_focal_is_cross_entropy_with_a_factor(loss: Focal, weights) -> None:
    logits, masks = batch()
    share, total, weighed = chances(logits), 0.0, 0.0
    by_class = weights or (1.0,) * CLASSES
    for image, y, x in np.ndindex(3, 5, 6):
        wanted = int(masks[image, 0, y, x])
        if wanted == IGNORE:
            continue
        p = share[image, wanted, y, x]
        extra = 0.0 if loss.border is None else loss.border[0] * int(masks[image, 1, y, x]) / 255
        total += (by_class[wanted] + extra) * (1 - p) ** loss.gamma * -np.log(p)
        weighed += by_class[wanted]
    found = built(loss, net(weights))(logits, masks)
    assert float(found.detach()) == pytest.approx(total / weighed, rel=1e-6)


def test_focal_with_gamma_0_is_cross_entropy() -> None:
    logits, masks = batch()
    plain = Focal(name="focal", weights=None, border=(10, 5), gamma=0)
    torch.testing.assert_close(built(plain)(logits, masks), built(PIXELS)(logits, masks))


@every
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_gradients_are_those_of_small_steps(loss: Loss, weights) -> None:
    logits, masks = batch()
    criterion = built(loss, net(weights))
    assert torch.autograd.gradcheck(lambda value: criterion(value, masks), logits)


def test_a_gradient_is_that_of_the_form_written_out() -> None:
    """Border weights, by torch's own autograd of sums over single pixels."""
    logits, masks = batch()
    built(PIXELS, net(WEIGHTS))(logits, masks).backward()
    again = logits.detach().clone().requires_grad_()
    logs, total, weighed = again.log_softmax(1), torch.zeros((), dtype=torch.float64), 0.0
    for image, y, x in np.ndindex(3, 5, 6):
        wanted = int(masks[image, 0, y, x])
        if wanted != IGNORE:
            counts = WEIGHTS[wanted] + 10 * int(masks[image, 1, y, x]) / 255
            total = total - counts * logs[image, wanted, y, x]
            weighed += WEIGHTS[wanted]
    (total / weighed).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, again.grad)


@every
def test_ignored_pixels_have_no_gradient(loss: Loss) -> None:
    logits, masks = batch()
    built(loss)(logits, masks).backward()
    assert logits.grad is not None
    gone = (masks[:, 0] == IGNORE)[:, None].expand_as(logits)
    assert not logits.grad[gone].any()
    assert logits.grad[~gone].any()


@every
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_a_batch_without_pixels_that_count_teaches_nothing(loss: Loss, weights, kind) -> None:
    logits, masks = batch(ignored=1)
    given = logits.detach().to(kind).requires_grad_()
    found = built(loss, net(weights))(given, masks)
    found.backward()
    assert float(found.detach()) == 0
    assert given.grad is not None
    assert not given.grad.any()


@every
def test_classes_that_all_count_nothing_leave_it_finite(loss: Loss) -> None:
    logits, masks = batch()
    found = built(loss, net((0.0,) * CLASSES))(logits, masks)
    found.backward()
    assert found.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@every
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_mixed_precision_is_computed_in_float32(loss: Loss, kind: torch.dtype) -> None:
    """Of 2 x 200 x 200 pixels float16 could hold no sum."""
    generator = torch.Generator().manual_seed(0)
    logits = (20 * torch.randn(2, CLASSES, 200, 200, generator=generator)).to(kind)
    masks = torch.randint(0, CLASSES, (2, 2, 200, 200), generator=generator).to(torch.uint8)
    criterion = built(loss)
    wanted = criterion(logits.double(), masks)
    given = logits.requires_grad_()
    with torch.autocast("cpu", kind):
        found = criterion(given, masks)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)
    found.backward()
    assert given.grad is not None
    assert given.grad.isfinite().all()


@every
@pytest.mark.parametrize("sure", [1e4, -1e4])
def test_a_net_that_is_quite_sure_has_a_finite_loss(loss: Loss, sure: float) -> None:
    masks = torch.zeros(1, 2, 3, 3, dtype=torch.uint8)
    logits = torch.zeros(1, CLASSES, 3, 3)
    logits[:, 0] = sure
    logits.requires_grad_()
    found = built(loss)(logits, masks)
    found.backward()
    assert found.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_net_asks_it_in_training_alone() -> None:
    logits, masks = batch()
    made = net()
    made.criterion = built(PIXELS, made)
    plain = cross_entropy(logits, masks[:, 0].long(), ignore_index=IGNORE)
    torch.testing.assert_close(made.eval().loss(logits, masks), plain)
    assert float(made.train().loss(logits, masks).detach()) > 1.5 * float(plain.detach())
