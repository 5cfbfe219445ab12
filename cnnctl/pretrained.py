"""Weights to start from: those of torchvision or timm, of a file or of an earlier run.

Foreign weights are renamed by name through the key map of the net's twin; what did not match
is listed, and a last layer for another number of classes stays new and is said to be so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cnnctl import nets, runs, weights
from cnnctl.config.images import Data
from cnnctl.config.near import did_you_mean
from cnnctl.errors import CheckpointError
from cnnctl.nets import hub, twins
from cnnctl.nets.spec import Spec

LIBRARIES = ("torchvision", "timm")
COUNTER = "num_batches_tracked"  # of batch normalisation; files of before 2018 have none
OLD_NAMES = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")  # files of 2017: norm.1.weight


class Found(NamedTuple):
    """Tensors under their own names; how images were normalised and the classes, if known."""

    source: str
    tensors: dict[str, Tensor]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Start:
    """Tensors under the net's own names, and what became of the others.

    `new` are the net's tensors that start afresh, `unused` those of the source that the net
    does not have, under the source's names. `mean` and `std` normalised the source's images,
    if that is known.
    """

    source: str
    tensors: dict[str, Tensor]
    new: tuple[str, ...]
    unused: tuple[str, ...]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None

    def expects(self, data: Data) -> list[str]:
        """The overrides that normalise the images of `data` as those of the source were."""
        wanted = {"mean": self.mean, "std": self.std}
        return [
            f"data.{name}={list(value)}"
            for name, value in wanted.items()
            if value is not None and value != getattr(data, name)
        ]

    def document(self, data: Data) -> dict[str, Any]:
        """As plan.json and result.json hold it, for a training on `data`."""
        return {
            "source": self.source,
            "sha256": weights.sha256(self.tensors),
            "tensors": len(self.tensors),
            "new": list(self.new),
            "unused": list(self.unused),
            "expects": self.expects(data),
        }


def find(  # noqa: PLR0913 - what is wanted, and of which net
    reference: str, spec: Spec, *, num_classes: int, shape: tuple[int, int, int], outputs: str,
    classes: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
) -> Start:  # fmt: skip
    """The weights that `reference` names, for the net of `spec` on these classes and images.

    With `layers` only those are taken, and the source may be another net. What knows classes stays
    new if those of the source are known and are not `classes`. The source of a net with a body
    (`Net.body`) may be the classifier that the body is of; its dense layers become convolutions.
    Raises CheckpointError, NetError or RunError if there are no weights, or they do not fit.
    """
    found = _read(reference, spec, outputs)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        net = nets.build(spec, num_classes=num_classes, shape=shape)
    _known(layers or (), net)
    wanted = {n for n in net.state_dict() if layers is None or n.partition(".")[0] in layers}
    if found.classes is not None and classes is not None and found.classes != tuple(classes):
        wanted -= set(_heads(net, spec, shape, num_classes))
    body = set(twins.of_body(net))
    renamed = _renamed(found.tensors, (wanted & body) or wanted, spec)
    musts = {name: not body or layers is not None or name in body for name in wanted}
    heads = cache(partial(_heads, net, spec, shape, num_classes))
    tensors, new, unused = _fit(found.source, net, renamed, musts, heads)
    return Start(found.source, tensors, new, unused, found.mean, found.std)


def load(net: nn.Module, start: Start) -> None:
    """Put the tensors into `net`; those that are `new` stay as they are."""
    net.load_state_dict(start.tensors, strict=False)


def _read(reference: str, spec: Spec, outputs: str) -> Found:
    """The tensors under their own names."""
    library, _, version = reference.partition("/")
    if library in LIBRARIES and not Path(reference).exists():
        return Found(*hub.read(spec, library, version))
    path = Path(reference).expanduser()
    if path.is_file():
        return Found(str(path), _file(path), None, None)
    run = runs.find(reference, outputs)
    saved = weights.read(run / runs.CHECKPOINTS / runs.BEST)
    data = saved.config["data"]
    mean, std = tuple(data["mean"]), tuple(data["std"])
    return Found(str(saved.file), saved.weights, mean, std, saved.classes)


def _heads(
    net: nn.Module, spec: Spec, shape: tuple[int, int, int], num_classes: int
) -> dict[str, torch.Size]:  # fmt: skip
    """The tensors that know classes, with the shapes that they have where there is one more."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        more = nets.build(spec, num_classes=num_classes + 1, shape=shape).state_dict()
    own = net.state_dict()
    return {name: one.shape for name, one in more.items() if one.shape != own[name].shape}


def _file(file: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, a state dict or a safetensors file; no code in it is run."""
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as wrong:
            raise CheckpointError(f"{file} cannot be read: {wrong}", "use another file") from wrong
    content = weights.content(file)
    for inside in ("state_dict", "model", "model_state_dict"):
        content = content.get(inside, content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise CheckpointError(f"{file} holds no state dict: a name and a tensor for each weight")
    found = dict(content)
    for prefix in ("module.", weights.PREFIX):  # of DataParallel, of a task of ours
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _renamed(
    found: dict[str, Tensor], wanted: set[str], spec: Spec
) -> dict[str, tuple[str, Tensor]]:
    """Our name -> (their name, tensor); names that nobody knows stand for themselves."""
    own = {name for name in wanted if not name.endswith(COUNTER)}
    if spec.published is None or own <= set(found):
        return {name: (name, value) for name, value in found.items()}
    names = twins.key_map(spec)
    renamed = {}
    for name, value in found.items():
        today = OLD_NAMES.sub(r"\1\2.", name)
        renamed[names.get(today, today)] = (name, value)
    return renamed


def _known(layers: Sequence[str], net: nn.Module) -> None:
    """Raises CheckpointError if the net has no layer of one of these names."""
    own = [name for name, layer in net.named_children() if [*layer.parameters()]]
    for name in layers:
        if name not in own:
            text = f"pretrained_layers: the net has no layer '{name}' with weights"
            raise CheckpointError(text, did_you_mean(name, own))


def _fit(
    source: str, net: nn.Module, found: Mapping[str, tuple[str, Tensor]],
    wanted: Mapping[str, bool], heads: Callable[[], dict[str, torch.Size]],
) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:  # fmt: skip
    """The tensors that fit, the names of those that stay new, and of those not used.

    `wanted` says whether a tensor must be there; `heads` gives what `_heads` does.
    """
    tensors, new, wrong = {}, [], []
    for name, own in net.state_dict().items():
        if name not in found and name.endswith(COUNTER):
            continue
        if name not in wanted or (name not in found and not wanted[name]):
            new.append(name)
            continue
        if name not in found:
            wrong.append(f"{name} is missing")
            continue
        value = found[name][1]
        if twins.alike(value, own):
            tensors[name] = value.reshape(own.shape)
        elif _differs(value, own, heads().get(name)):
            new.append(name)
        else:
            wrong.append(f"{name} is {weights.size(value)} instead of {weights.size(own)}")
    if wrong or not tensors:
        raise CheckpointError(f"{source} holds another network: {weights.some(wrong)}")
    unused = [theirs for name, (theirs, _) in found.items() if name not in net.state_dict()]
    return tensors, tuple(new), tuple(unused)


def _differs(value: Tensor, own: Tensor, more: torch.Size | None) -> bool:
    """Whether it differs in nothing but the number of classes; `more` as in `_heads`."""
    if more is None or value.ndim != own.ndim:
        return False
    sides = zip(value.shape, own.shape, more, strict=True)
    return all(given == ours or ours != other for given, ours, other in sides)
