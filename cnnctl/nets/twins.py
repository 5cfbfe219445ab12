"""Our names for the weights of another library's net with the same layers."""

from __future__ import annotations

import torch

from cnnctl import nets
from cnnctl.errors import NetError
from cnnctl.nets import library
from cnnctl.nets.spec import Spec


def key_map(spec: Spec) -> dict[str, str]:
    """The library's name -> our name of every tensor of the state dict of `spec.twin`.

    Both nets are built on the meta device and stand in the order of their forward pass, so
    the order pairs the names; later the names alone are used. Raises NetError if the two nets
    differ in a shape, or if `spec` has no twin.
    """
    if spec.twin is None:
        raise NetError(f"{spec.name} has no twin in torchvision or timm: no weights are known")
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        ours = nets.build(spec, num_classes=spec.classes, shape=spec.input).state_dict()
        theirs = library.create(spec.twin).state_dict()
    shapes = [[tuple(tensor.shape) for tensor in state.values()] for state in (ours, theirs)]
    if shapes[0] != shapes[1]:
        text = f"{spec.name} with these numbers is not {spec.twin}: its weights do not fit"
        raise NetError(text, "choose the net without changed model.… keys")
    return dict(zip(theirs, ours, strict=True))
