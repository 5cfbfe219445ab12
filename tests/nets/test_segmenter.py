from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnctl.config.masks import IGNORE
from cnnctl.nets.segmenter import AUX, Segmenter

CLASSES = 3


class Lossy(Segmenter):
    """A convolution without padding, so that two pixels are lost at each edge."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__(OrderedDict(conv=nn.Conv2d(1, CLASSES, 5)), "torch")
        self.margin, self.stride = 2, stride

    def side(self, length: int) -> int:
        """Two pixels more at each edge, and a multiple of the stride."""
        return -(-(length + 4) // self.stride) * self.stride


class Twofold(Segmenter):
    """Scores, and in training those of an auxiliary classifier."""

    def __init__(self) -> None:
        layers = OrderedDict[str, nn.Module](
            main=nn.Conv2d(1, CLASSES, 1), other=nn.Conv2d(1, CLASSES, 1)
        )
        super().__init__(layers, "torch")
        self.stride = 4

    def maps(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """One or both."""
        main, other = (layer(images) for layer in self.children())
        return (main, other) if self.training else main


def plain() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(OrderedDict(conv=nn.Conv2d(1, CLASSES, 3, padding=1)), "torch")


def example(*, ignored: bool = True) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, CLASSES, 4, 5, generator=generator, dtype=torch.float64)
    masks = torch.randint(0, CLASSES, (2, 1, 4, 5), generator=generator, dtype=torch.uint8)
    if ignored:
        masks[0, 0, :2, 1] = IGNORE
    return logits, masks


def by_loop(logits: Tensor, masks: Tensor, weights: list[float], smooth: float = 0) -> float:
    """Pixel by pixel: −Σ q log p, times the weight of the class, over the sum of these weights."""
    total = counted = 0.0
    for image, mask in zip(logits.numpy(), masks[:, 0].numpy(), strict=True):
        for row, column in np.ndindex(mask.shape):
            wanted = mask[row, column]
            if wanted == IGNORE:
                continue
            scores = image[:, row, column]
            log = scores - np.log(np.exp(scores).sum())
            share = np.full(CLASSES, smooth / CLASSES)
            share[wanted] += 1 - smooth
            total -= (share * np.array(weights) * log).sum()
            counted += weights[wanted]
    return total / counted


@pytest.mark.parametrize("size", [(1, 1), (3, 8), (10, 7)])
@pytest.mark.parametrize("stride", [1, 4])
def test_images_are_completed_by_numpys_mirror_images(size, stride) -> None:
    torch.manual_seed(0)
    net, images = Lossy(stride).eval(), torch.randn(2, 1, *size)
    height, width = size
    whole = [(2, net.side(side) - side - 2) for side in size]
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), *whole), mode="reflect")
    with torch.no_grad():
        wanted = net.maps(torch.from_numpy(padded))[..., :height, :width]
        assert torch.equal(net(images), wanted)


def test_an_unframed_net_is_that_of_the_paper() -> None:
    net, images = Lossy(), torch.randn(1, 1, 9, 12)
    net.framed = False
    assert net(images).shape == (1, CLASSES, 5, 8)
    assert torch.equal(net(images), net.maps(images))


@pytest.mark.parametrize("length", [1, 7, 8, 9])
def test_the_side_is_the_next_multiple_of_the_stride(length) -> None:
    net = plain()
    assert net.side(length) == length
    net.stride = 8
    assert net.side(length) == 8 * -(-length // 8)


@pytest.mark.parametrize("training", [True, False])
def test_all_outputs_of_a_net_are_as_large_as_its_image(training) -> None:
    net = Twofold().train(training)
    outputs = net(torch.randn(2, 1, 6, 7))
    shapes = [one.shape for one in outputs] if training else [outputs.shape]
    assert shapes == [(2, CLASSES, 6, 7)] * len(shapes)
    assert len(shapes) == 1 + training


def test_the_loss_is_the_mean_over_the_pixels_that_count() -> None:
    logits, masks = example()
    found = plain().loss(logits, masks)
    assert float(found) == pytest.approx(by_loop(logits, masks, [1, 1, 1]))


def test_training_weighs_classes_and_smooths_labels_and_measuring_does_not() -> None:
    logits, masks = example()
    net, weights = plain(), [0.5, 2.0, 3.0]
    net.class_weights, net.label_smoothing = torch.tensor(weights).double(), 0.2
    assert float(net.loss(logits, masks)) == pytest.approx(by_loop(logits, masks, weights, 0.2))
    measured = by_loop(logits, masks, [1, 1, 1])
    assert float(net.eval().loss(logits, masks)) == pytest.approx(measured)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 3.0]])
def test_masks_without_a_known_pixel_cost_nothing(weights) -> None:
    net = plain()
    net.class_weights = None if weights is None else torch.tensor(weights)
    masks = torch.full((1, 1, 4, 4), IGNORE, dtype=torch.uint8)
    loss = net.loss(net(torch.randn(1, 1, 4, 4)), masks)
    assert float(loss.detach()) == 0
    loss.backward()
    assert all(not parameter.grad.any() for parameter in net.parameters())


@pytest.mark.parametrize("weights", [None, [0.3, 2.0, 5.0]])
def test_parts_of_a_batch_have_its_mean_with_their_weights(weights) -> None:
    logits, masks = example()
    net = plain()
    net.class_weights = None if weights is None else torch.tensor(weights).double()
    parts = zip(logits.split(1), masks.split(1), strict=True)
    whole = sum(net.loss(one, mask) * net.weight(mask) for one, mask in parts)
    torch.testing.assert_close(whole / net.weight(masks), net.loss(logits, masks))


def test_a_batch_counts_as_its_known_pixels_do() -> None:
    _, masks = example()
    net = plain()
    assert net.weight(masks) == 40 - 2
    net.class_weights = torch.tensor([1.0, 10.0, 100.0])
    counts = np.bincount(masks.numpy().ravel(), minlength=256)[:CLASSES]
    assert float(net.weight(masks)) == counts @ [1, 10, 100]


def test_an_auxiliary_classifier_adds_half_its_loss() -> None:
    logits, masks = example()
    net = plain()
    one, other = net.loss(logits, masks), net.loss(3 * logits, masks)
    torch.testing.assert_close(net.loss((logits, 3 * logits), masks), one + other / 2)
    assert AUX == 0.5


def test_a_criterion_takes_the_place_of_the_loss_of_training() -> None:
    logits, masks = example()
    net = plain()
    net.criterion = lambda given, wanted: given.sum() + wanted.sum()
    assert net.loss(logits, masks) == logits.sum() + masks.sum()
    both = net.loss((logits, 2 * logits), masks)
    torch.testing.assert_close(both, 2 * logits.sum() + 1.5 * masks.sum())
    measured = by_loop(logits, masks, [1, 1, 1])
    assert float(net.eval().loss(logits, masks)) == pytest.approx(measured)


def test_blank_masks_go_with_the_logits() -> None:
    logits, _ = example()
    net = plain()
    blank = net.blank(logits)
    assert (blank.shape, blank.dtype) == ((2, 1, 4, 5), torch.uint8)
    assert net.loss(logits, blank) > 0
