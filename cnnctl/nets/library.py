"""Classification nets of torchvision and timm, by their own names."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import nn

from cnnctl.config.near import did_you_mean
from cnnctl.errors import NetError

# torchvision's nets with auxiliary classifiers give something else in training than elsewhere
WITHOUT_AUX: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def create(reference: str, **options: Any) -> nn.Module:
    """The net `torchvision/NAME` or `timm/NAME`, randomly initialised.

    `options` go to the library. Raises NetError for a name that the library does not have.
    """
    library, _, name = reference.partition("/")
    if library == "timm":
        timm = _timm()
        _known(reference, timm.list_models())
        return timm.create_model(name, **options)
    import torchvision

    _known(reference, torchvision.models.list_models(module=torchvision.models))
    return torchvision.models.get_model(name, weights=None, **WITHOUT_AUX.get(name, {}), **options)


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as missing:
        text = "timm is not installed"
        raise NetError(text, "pip install 'cnnctl[timm]'") from missing
    return timm


def _known(reference: str, names: list[str]) -> None:
    library, _, name = reference.partition("/")
    if name not in names:
        raise NetError(f"{library} has no classification net '{name}'", did_you_mean(name, names))
