"""Classification nets of torchvision and timm, by their own names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import nn

from cnnctl.config.near import did_you_mean
from cnnctl.config.tasks import TORCHVISION
from cnnctl.errors import NetError, UserError
from cnnctl.nets import spec
from cnnctl.nets.net import Net

RGB = 3
# torchvision's nets with auxiliary classifiers give something else in training than elsewhere
WITHOUT_AUX: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


class Library(Net):
    """(B, C, H, W) -> logits (B, num_classes): the library's module as the only child `net`.

    Raises NetError if the library has no such net.
    """

    Spec = spec.Spec

    def __init__(self, spec: spec.Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        net = create(spec.name, num_classes=num_classes, in_channels=shape[0])
        super().__init__(OrderedDict(net=net), spec.init)
        self.spec = spec

    def check(self, shape: tuple[int, int, int], *, strict: bool = False) -> None:
        """As every net, and NetError for whatever else the library's net says to the size."""
        try:
            super().check(shape, strict=strict)
        except UserError:
            raise
        except Exception as wrong:
            size = "x".join(str(side) for side in shape)
            reason = (str(wrong) or type(wrong).__name__).splitlines()[0]
            text = f"{self.spec.name} does not take {size} images: {reason}"
            raise NetError(text, f"its own size: data.size={self.spec.input[1]}") from wrong


def create(reference: str, *, num_classes: int = 1000, in_channels: int = RGB) -> nn.Module:
    """The net `torchvision/NAME` or `timm/NAME`, randomly initialised, on the default device.

    Raises NetError for a name that the library does not have.
    """
    try:
        return _create(reference, num_classes, in_channels)
    except NotImplementedError:  # some constructors read tensors, which the meta device cannot
        device = torch.get_default_device()
        with torch.device("cpu"):
            return _create(reference, num_classes, in_channels).to(device)


def _create(reference: str, num_classes: int, in_channels: int) -> nn.Module:
    library, _, name = reference.partition("/")
    if library == "timm":
        timm = _timm()
        known = timm.list_models()
        _known(library, name.partition(".")[0], known, near=known)
        return timm.create_model(name, num_classes=num_classes, in_chans=in_channels)
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    _known(library, name, known, near=(*known, *TORCHVISION))
    options = WITHOUT_AUX.get(name, {})
    net = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)
    return net if in_channels == RGB else recoloured(net, in_channels)


def recoloured(net: nn.Module, in_channels: int) -> nn.Module:
    """The net with a new first convolution, for another number of channels."""
    place, first = next(
        (name, layer) for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)
    )
    parent, _, name = place.rpartition(".")
    layer = nn.Conv2d(
        in_channels, first.out_channels, first.kernel_size, first.stride, first.padding,  # pyright: ignore[reportArgumentType] - as the layer itself has them
        bias=first.bias is not None,
    )  # fmt: skip
    setattr(net.get_submodule(parent), name, layer)
    return net


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as missing:
        raise NetError("timm is not installed", "pip install 'cnnctl[timm]'") from missing
    return timm


def _known(library: str, name: str, names: Sequence[str], near: Sequence[str]) -> None:
    if name not in names:
        raise NetError(f"{library} has no classification net '{name}'", did_you_mean(name, near))
