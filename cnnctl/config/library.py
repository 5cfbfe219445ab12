"""`model=timm/NAME` and `model=torchvision/NAME`: a source of Hydra that makes their sections.

Every net of the two libraries is an option of the group `model` without a file of its own.
"""

from __future__ import annotations

from typing import Any

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from cnnctl.config.tasks import TORCHVISION

SCHEME = "library"
LIBRARIES = ("torchvision", "timm")
VOC = 21  # classes of Pascal VOC, with the background
INPUT = (3, 224, 224)  # where the library does not say


class LibraryNets(ConfigSource):
    """Answers for `model/timm/…` and `model/torchvision/…`; the net itself is looked up later."""

    @staticmethod
    def scheme() -> str:
        """The word before :// in Hydra's search path."""
        return SCHEME

    def available(self) -> bool:
        """There are no files that could be missing."""
        return True

    def is_group(self, config_path: str) -> bool:
        """The groups of the libraries are not listed: each has hundreds of nets."""
        return False

    def is_config(self, config_path: str) -> bool:
        """Whether the path names a net of a library, known or not."""
        group, _, name = config_path.partition("/")
        library, _, net = name.partition("/")
        return group == "model" and library in LIBRARIES and bool(net)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Nothing, as said at `is_group`."""
        return []

    def load_config(self, config_path: str) -> ConfigResult:
        """The section `model` of a net."""
        reference = config_path.removeprefix("model/")
        config = OmegaConf.create(section(reference))
        return ConfigResult(self.provider, f"{SCHEME}://{config_path}", config, {"package": None})


def section(reference: str) -> dict[str, Any]:
    """The keys of a library's net."""
    library, _, name = reference.partition("/")
    size = _timm_input(name) if library == "timm" else _torchvision_input(name)
    masks = library == "torchvision" and name in TORCHVISION
    return {
        "name": reference,
        "family": "library_masks" if masks else "library",
        "year": None,
        "paper": f"as {library} has it",
        "input": list(size),
        "classes": VOC if masks else 1000,
        "twin": reference,
        "init": "torch",
        "strict": False,
    }


def _torchvision_input(name: str) -> tuple[int, int, int]:
    """The crop for which the newest weights were trained."""
    from torchvision import models

    if name in TORCHVISION:
        shown: Any = models.get_model_weights(name)
        (size,) = shown.DEFAULT.transforms().resize_size
        return 3, size, size
    if name not in models.list_models(module=models):  # refused, with a hint, when it is built
        return INPUT
    weights: Any = models.get_model_weights(name)
    (size,) = weights.DEFAULT.transforms().crop_size
    return 3, size, size


def _timm_input(name: str) -> tuple[int, int, int]:
    try:
        import timm
    except ImportError:  # refused, with a hint, when it is built
        return INPUT
    known = timm.get_pretrained_cfg(name)
    return INPUT if known is None else known.input_size
