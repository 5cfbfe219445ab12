"""Classifiers that slide over larger images: dense layers become convolutions.

Simonyan, Zisserman 2015, section 3.2; Long, Shelhamer, Darrell 2015, Fully convolutional networks
for semantic segmentation, section 3.1.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from cnnctl.errors import NetError
from cnnctl.nets.blocks import ACTIVATIONS, Layers
from cnnctl.nets.cifar_fast import Scale
from cnnctl.nets.net import Net
from cnnctl.nets.sizes import walk
from cnnctl.nets.taps import Tap

LINEAR = (nn.Linear, nn.Dropout, nn.Identity, Scale)  # the mean goes through them unchanged
POINTWISE = (*LINEAR, *ACTIVATIONS.values())  # a place of the map knows nothing of the others


def convolutionalize(net: Net, shape: tuple[int, int, int]) -> nn.Sequential:
    """The same net on images of any size: (B, C, H, W) -> a map of scores (B, classes, h, w).

    `shape` (C, H, W) is that of the images that `net` was built for. There the mean over the map
    is what the net gives. Its first dense layer becomes a convolution with a kernel as large as
    the maps that reach it, the others become 1x1; global average pooling and auxiliary classifiers
    are left out. Layers keep their names, the weights are shared with `net`, on any device.

    Raises NetError, saying why, for a net whose classifier cannot slide.
    """
    layers = {name: layer for name, layer in net.named_children() if not isinstance(layer, Tap)}
    flat = next((name for name, layer in layers.items() if isinstance(layer, nn.Flatten)), None)
    if flat is None:
        raise _refused("its layers do not stand in a row")
    names = list(layers)
    place = names.index(flat)
    features: Layers = OrderedDict((name, layers[name]) for name in names[:place])
    if not any(
        isinstance(one, nn.Conv2d) for layer in features.values() for one in layer.modules()
    ):
        raise _refused("it has no convolution, each of its weights belongs to one pixel")
    pooled = isinstance(layers[names[place - 1]], nn.AdaptiveAvgPool2d)
    if pooled:
        features.pop(names[place - 1])
    kernel = (1, 1) if pooled else walk(nn.Sequential(features), shape)[1:]
    for name in names[place + 1 :]:
        layer = layers[name]
        if not isinstance(layer, LINEAR if pooled else POINTWISE):
            raise _refused(f"its layer '{name}' ({type(layer).__name__}) is no dense layer")
        if isinstance(layer, nn.Linear):
            layer, kernel = _sliding(layer, (int(kernel[0]), int(kernel[1]))), (1, 1)
        features[name] = layer
    return nn.Sequential(features)


def _sliding(dense: nn.Linear, kernel: tuple[int, int]) -> nn.Conv2d:
    """The convolution with the weights of `dense`, whose inputs are maps of the size `kernel`."""
    maps = dense.in_features // (kernel[0] * kernel[1])
    with torch.device("meta"):  # its own weights are not wanted
        made = nn.Conv2d(maps, dense.out_features, kernel)
    weight = dense.weight.detach().view(-1, maps, *kernel)
    made.weight = nn.Parameter(weight, requires_grad=dense.weight.requires_grad)
    made.bias = dense.bias
    return made.train(dense.training)


def _refused(why: str) -> NetError:
    return NetError(f"this net cannot slide over larger images: {why}", "crops=center or crops=ten")
