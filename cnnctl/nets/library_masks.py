"""Segmentation nets of torchvision, by their own names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import interpolate

from cnnctl.config.near import did_you_mean
from cnnctl.config.tasks import TORCHVISION
from cnnctl.errors import NetError, Problem
from cnnctl.nets import library, spec
from cnnctl.nets.segmenter import Segmenter

OWNER = "torchvision/"


@dataclass(frozen=True, kw_only=True)
class Spec(spec.Spec):
    """The twin is the net itself."""

    def problems(self) -> Iterator[Problem]:
        """A twin that is no segmentation net of torchvision's."""
        name = (self.twin or "").removeprefix(OWNER)
        if self.twin != f"{OWNER}{name}" or name not in TORCHVISION:
            text = f"model.twin must be a segmentation net of torchvision's, got {self.twin}"
            hint = did_you_mean(name, TORCHVISION) or f"{OWNER}{TORCHVISION[0]}"
            yield Problem(text, hint, "model.twin")


class LibraryMasks(Segmenter):
    """(B, in_channels, H, W) -> logits (B, num_classes, H, W), of any height and width.

    The layers are torchvision's: backbone, aux_classifier, if the net has one, and classifier, all
    tensors under torchvision's names. The auxiliary classifier works in training alone, which
    then gives (logits, its logits). Raises NetError if torchvision has no such net.
    """

    Spec = Spec

    def __init__(self, spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> None:
        net = create(str(spec.twin), num_classes=num_classes, in_channels=shape[0])
        named = dict(net.named_children())
        order = [name for name in ("backbone", "aux_classifier", "classifier") if name in named]
        super().__init__(OrderedDict((name, named[name]) for name in order), spec.init)
        self.stride = 16  # of the coarsest maps that any of them makes

    def side(self, length: int) -> int:
        """Maps are resized to what the image was."""
        return length

    def maps(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The scores, interpolated to the size of the images."""
        size = images.shape[-2:]
        layers = dict(self.named_children())
        features = layers["backbone"](images)
        scores = [layers["classifier"](features.get("out", features))]
        if self.training and "aux_classifier" in layers:
            scores.append(layers["aux_classifier"](features["aux"]))
        main, *others = (
            interpolate(one, size, mode="bilinear", align_corners=False) for one in scores
        )
        return (main, *others) if others else main


def create(reference: str, *, num_classes: int = 21, in_channels: int = library.RGB) -> nn.Module:
    """The net `torchvision/NAME`, randomly initialised, on the default device.

    With its auxiliary classifier, as torchvision's weights have it. Raises NetError for a name
    that torchvision does not have.
    """
    import torchvision

    name = reference.removeprefix(OWNER)
    if name not in TORCHVISION:
        text = f"torchvision has no segmentation net '{name}'"
        raise NetError(text, did_you_mean(name, TORCHVISION))
    options = {} if name.startswith("lraspp") else {"aux_loss": True}
    net = torchvision.models.get_model(
        name, weights=None, weights_backbone=None, num_classes=num_classes, **options
    )
    return net if in_channels == library.RGB else library.recoloured(net, in_channels)
