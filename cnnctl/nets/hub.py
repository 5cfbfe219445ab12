"""Published weights of a net's twin, through the caches of torch hub and of timm."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor

from cnnctl.config.near import did_you_mean
from cnnctl.errors import CheckpointError
from cnnctl.nets import library
from cnnctl.nets.spec import Spec

# torchvision puts a layer before these, which turns ImageNet's normalisation into this one
TRANSFORMED, HALF = ("googlenet", "inception_v3"), (0.5, 0.5, 0.5)


class Published(NamedTuple):
    """Weights under their library's names, and how its images were normalised per channel."""

    source: str
    tensors: dict[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read(spec: Spec, wanted: str, version: str) -> Published:
    """The weights of the net in the library `wanted` that fit that of `spec`, or its first layers.

    `version` is one of torchvision's names of weights (IMAGENET1K_V1) or a tag of timm's
    (a1_in1k); empty: the library's own choice. Raises CheckpointError if they are neither
    cached nor to be fetched.
    """
    theirs = spec.published
    if theirs is None:
        raise CheckpointError(
            f"{spec.name} has no twin in {wanted}: nobody published weights for these layers",
            "start from a file or a run of your own",
        )
    if not theirs.startswith(f"{wanted}/"):
        given = "/".join(filter(None, (wanted, version)))
        hint = f"pretrained={theirs.partition('/')[0]}"
        raise CheckpointError(f"pretrained={given}: the twin of {spec.name} is {theirs}", hint)
    return (_torchvision if wanted == "torchvision" else _timm)(theirs, version)


def _torchvision(twin: str, version: str) -> Published:
    import torchvision

    name = twin.partition("/")[2]
    known: Any = torchvision.models.get_model_weights(name)
    names = [weights.name for weights in known]
    if version and version not in names:
        text = f"{twin} has no weights '{version}', only {', '.join(names)}"
        raise CheckpointError(text, did_you_mean(version, names))
    weights = known[version] if version else known.DEFAULT
    url = weights.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    source = f"{twin} {weights.name}"
    if not file.is_file():
        _fetch(url, file, source)
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as wrong:  # a damaged pickle can raise anything
        raise CheckpointError(f"{file} cannot be read", "delete it: it is fetched anew") from wrong
    shown = weights.transforms()
    mean, std = (HALF, HALF) if name in TRANSFORMED else (tuple(shown.mean), tuple(shown.std))
    return Published(source, tensors, mean, std)


def _fetch(url: str, file: Path, source: str) -> None:
    """Download into the cache; the first eight digits of the hash stand in the file's name."""
    digits = file.stem.rpartition("-")[2]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), hash_prefix=digits)
    except (URLError, OSError, RuntimeError) as wrong:
        reason = getattr(wrong, "reason", wrong)
        text = f"cannot fetch {source}: {reason}, and it is not in the cache"
        raise CheckpointError(text, f"put {url} into {file.parent}") from wrong


def _timm(twin: str, version: str) -> Published:
    name = twin.partition("/")[2]
    source = ".".join(filter(None, (name, version)))
    net = library.create(f"timm/{source}")  # an unknown net is told before anything is fetched
    import timm.models

    try:
        timm.models.load_pretrained(net)
    except Exception as wrong:  # the hub's client has a tree of its own
        text = f"cannot fetch timm/{source}: {str(wrong).splitlines()[0]}"
        raise CheckpointError(text, "it needs a network, or the cache of Hugging Face") from wrong
    about: Any = net.pretrained_cfg
    return Published(f"timm/{source}", net.state_dict(), tuple(about["mean"]), tuple(about["std"]))
