"""The zoo: one YAML file per net, one class per family.

A new net is a new file in conf/model; a new family is a file beside this one and a line
in FAMILIES.
"""

from __future__ import annotations

from typing import Any

from cnnctl.config.kinds import show
from cnnctl.config.near import did_you_mean
from cnnctl.config.read import read
from cnnctl.errors import Problem, SmallImageError
from cnnctl.nets.alexnet import AlexNet
from cnnctl.nets.autoencoder import Autoencoder
from cnnctl.nets.cifar_fast import CifarFast
from cnnctl.nets.densenet import DenseNet
from cnnctl.nets.efficientnet import EfficientNet
from cnnctl.nets.fcn import Fcn
from cnnctl.nets.googlenet import GoogLeNet
from cnnctl.nets.inception import Inception
from cnnctl.nets.lenet import LeNet
from cnnctl.nets.lenet_1998 import LeNet1998
from cnnctl.nets.library import Library
from cnnctl.nets.library_masks import LibraryMasks
from cnnctl.nets.mlp import Mlp
from cnnctl.nets.mobilenet_v1 import MobileNetV1
from cnnctl.nets.mobilenet_v2 import MobileNetV2
from cnnctl.nets.neocognitron import Neocognitron
from cnnctl.nets.net import Net
from cnnctl.nets.nin import NiN
from cnnctl.nets.pattern import Pattern
from cnnctl.nets.perceptron import Perceptron
from cnnctl.nets.resnet import ResNet
from cnnctl.nets.segnet import SegNet
from cnnctl.nets.shufflenet_v1 import ShuffleNetV1
from cnnctl.nets.shufflenet_v2 import ShuffleNetV2
from cnnctl.nets.spec import Spec
from cnnctl.nets.unet import Unet
from cnnctl.nets.vgg import Vgg
from cnnctl.nets.wide_resnet import WideResNet
from cnnctl.nets.xception import Xception

FAMILIES: dict[str, type[Net]] = {
    "alexnet": AlexNet,
    "autoencoder": Autoencoder,
    "cifar_fast": CifarFast,
    "densenet": DenseNet,
    "efficientnet": EfficientNet,
    "fcn": Fcn,
    "googlenet": GoogLeNet,
    "inception": Inception,
    "lenet": LeNet,
    "lenet_1998": LeNet1998,
    "library": Library,
    "library_masks": LibraryMasks,
    "mlp": Mlp,
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "neocognitron": Neocognitron,
    "nin": NiN,
    "pattern": Pattern,
    "perceptron": Perceptron,
    "resnet": ResNet,
    "segnet": SegNet,
    "shufflenet_v1": ShuffleNetV1,
    "shufflenet_v2": ShuffleNetV2,
    "unet": Unet,
    "vgg": Vgg,
    "wide_resnet": WideResNet,
    "xception": Xception,
}


def read_spec(model: dict[str, Any]) -> tuple[Spec | None, list[Problem]]:
    """The section `model` of a configuration as its family's Spec, or every problem in it."""
    given = model.get("family")
    family = FAMILIES.get(given) if isinstance(given, str) else None
    if family is None:
        text = f"model.family must be one of {', '.join(FAMILIES)}, got {show(given)}"
        return None, [Problem(text, did_you_mean(str(given), FAMILIES), "model.family")]
    spec, problems = read(family.Spec, model, "model")
    if spec is not None:
        problems = list(spec.problems())
    return (None, problems) if problems else (spec, [])


def build(spec: Spec, *, num_classes: int, shape: tuple[int, int, int]) -> Net:
    """The net of `spec` for images of `shape` (C, H, W), on the current default device.

    Raises NetError if the images are too small for it, ConfigError if `spec.strict` and a
    stride leaves a remainder.
    """
    try:
        net = FAMILIES[spec.family](spec, num_classes=num_classes, shape=shape)  # pyright: ignore[reportCallIssue] - every family takes these; Net itself takes their layers
        net.check(shape, strict=spec.strict)
    except SmallImageError as error:
        if getattr(spec, "small_input", True):
            raise
        raise SmallImageError(error.message, f"{error.hint}, or model.small_input=true") from error
    return net
