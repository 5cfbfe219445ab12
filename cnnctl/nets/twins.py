"""Our names for the weights of another library's net with the same layers."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnctl import nets
from cnnctl.errors import NetError
from cnnctl.nets import library, library_masks
from cnnctl.nets.net import Net
from cnnctl.nets.spec import Spec
from cnnctl.nets.stages import inside

MATRIX, KERNELS = 2, 4  # axes of the weights of a dense layer, of a convolution


def key_map(spec: Spec) -> dict[str, str]:
    """The library's name -> our name of every tensor of the net, or of the body, that it has.

    Both nets are built on the meta device and stand in the order of their forward pass, so
    the order pairs the names, unless they are the same; later the names alone are used. Raises
    NetError if the two nets differ in a shape, or if the library has nothing like `spec`.
    """
    theirs = spec.published
    if theirs is None:
        raise NetError(f"{spec.name} has no twin in torchvision or timm: no weights are known")
    create = library_masks.create if spec.family == "library_masks" else library.create
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        net = nets.build(spec, num_classes=spec.classes, shape=spec.input)
        known = create(theirs).state_dict()
    own = net.state_dict() if spec.twin else of_body(net)
    if set(known) == set(own):
        known = {name: known[name] for name in own}
    pairs = list(zip(known.items(), own.items(), strict=False))
    unequal = len(known) != len(own) if spec.twin else len(known) < len(own)
    if unequal or not all(alike(one, other) for (_, one), (_, other) in pairs):
        text = f"{spec.name} with these numbers is not {theirs}: its weights do not fit"
        raise NetError(text, "choose the net without changed model.… keys")
    return {name: ours for (name, _), (ours, _) in pairs}


def of_body(net: Net) -> dict[str, Tensor]:
    """The tensors of the layers that a classifier has, too."""
    return {name: value for name, value in net.state_dict().items() if inside(name, net.body)}


def alike(given: Tensor, own: Tensor) -> bool:
    """Whether a tensor fits as it is, or as the convolution that a dense layer becomes."""
    if given.shape == own.shape:
        return True
    dense = given.ndim == MATRIX and own.ndim == KERNELS
    return dense and len(given) == len(own) and given.numel() == own.numel()
