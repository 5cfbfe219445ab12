from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from asked import CLASSES, images, settings
from learners import CPU
from slides import SIZE, Vgg, gap, measured, pixels, stored, vgg
from torch import Tensor, nn
from torchvision.transforms.v2 import functional

from cnnctl.errors import NetError, SmallImageError
from cnnctl.nets.net import Net
from cnnctl.scoring.scorer import Eager
from cnnctl.scoring.ways import Way


def slid(scorer: Eager, image: Tensor, sides: tuple[int, ...], *, flip: bool) -> Tensor:
    """Dense evaluation by hand: every window of the classifier, one after the other."""
    net: Any = scorer.net
    answers = []
    for side in sides:
        whole = functional.resize(image, [side], antialias=True)
        for turned in (whole, whole.flip(-1)) if flip else (whole,):
            maps = net[:6](scorer.prepare.plain(turned[None]))  # to pool2
            windows = [
                net[6:](maps[:, :, top : top + 2, left : left + 2])
                for top in range(maps.shape[2] - 1)
                for left in range(maps.shape[3] - 1)
            ]
            answers.append(torch.cat(windows).mean(0).softmax(0))
    return torch.stack(answers).mean(0)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("sides", [(), (8, 14), (13, 9, 20)])
@torch.no_grad()
def test_a_net_slides_over_whole_images_at_each_scale(
    sides: tuple[int, ...], *, flip: bool
) -> None:
    scorer, pictures = vgg(), [images(1, 24)[0, :, :tall] for tall in (24, 15, 20, 15)]
    way = Way("dense", sides, flip=flip)
    found = way(way.prepare(scorer, settings().data), [way.look(one, SIZE) for one in pictures])
    for image, logits in zip(pictures, found, strict=True):
        wanted = slid(scorer, image, sides or (SIZE,), flip=flip)
        torch.testing.assert_close(logits.exp(), wanted)


@pytest.mark.parametrize("make", [vgg, gap])
def test_at_its_own_size_a_sliding_net_says_what_it_says_of_the_centre(make: Any) -> None:
    source, scorer = stored(), make()
    dense, plain = (measured(scorer, Way(crops), source) for crops in ("dense", "center"))
    torch.testing.assert_close(dense.probabilities, plain.probabilities)
    assert dense.loss == pytest.approx(plain.loss, rel=1e-4)


def test_a_net_with_a_global_pool_sees_the_larger_image_as_a_whole() -> None:
    source, scorer = stored(size=11), gap()
    found = measured(scorer, Way("dense", (11,)), source)
    torch.testing.assert_close(found.probabilities, scorer(pixels(source)).softmax(1))


def test_the_net_itself_stays_as_it_was() -> None:
    scorer, source = vgg(), stored()
    before = scorer(pixels(source))
    measured(scorer, Way("dense", (14,)), source)
    assert isinstance(scorer.net, Vgg)
    assert torch.equal(scorer(pixels(source)), before)


def test_scales_that_leave_nothing_for_the_classifier_are_refused() -> None:
    text = r"a 7x7 image is too small for layer 'fc3': \(1 − 2\)/1 \+ 1 = 0 \(larger scales\)"
    with pytest.raises(SmallImageError, match=text):
        measured(vgg(), Way("dense", (14, 7)), stored())


def test_a_net_that_cannot_slide_is_refused_before_an_image_is_read() -> None:
    net = Net(OrderedDict(flatten=nn.Flatten(), output=nn.Linear(192, 3)), "torch")
    with pytest.raises(NetError, match="this net cannot slide over larger images"):
        measured(Eager(net, settings(), CLASSES, CPU), Way("dense"), stored())
