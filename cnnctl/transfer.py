"""Transfer learning: which layers of a net with weights from elsewhere learn, and how fast.

Layers are frozen from the first on; the last one, which gives the logits, and those that start
anew always learn.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch import nn

from cnnctl import devices
from cnnctl.config import rules_transfer, schema
from cnnctl.config.near import did_you_mean
from cnnctl.data.source import Source
from cnnctl.errors import ConfigError, Problem
from cnnctl.nets.sizes import BATCH_NORM
from cnnctl.nets.stages import has_parameters, inside, learners, rows, starts

# Images a class from which the top, and from which all layers learn: a choice between the lecture's
# three regimes, after few runs of bench/transfer.py (ResNet-20 on small images). The top is nowhere
# far behind there; between the two numbers all layers may already be as good.
TOP, ALL = 20, 100
SAYS = {
    "feature_extract": "the last layer learns",
    "finetune_top": "the last stage learns, too",
    "finetune_all": "every layer learns",
}


@dataclass(frozen=True, kw_only=True)
class Regime:
    """What learns. Layers are named as in the net; those without parameters are left out.

    `why` says in words what decided. `new` are the last layer and those that start anew.
    `frozen` do not learn at first; after every `unfreeze_every` epochs the next of `stages`
    begins to, with all that stand behind it (Howard, Ruder 2018, section 3.3). `learning` is the
    number of parameters that learn at first.
    """

    name: str
    why: str
    new: tuple[str, ...]
    frozen: tuple[str, ...]
    stages: tuple[str, ...]
    unfreeze_every: int | None
    backbone_lr: float
    freeze_norm: bool
    learning: int

    def still(self, epoch: int) -> tuple[str, ...]:
        """The layers that do not learn in this epoch, counted from 0."""
        begun = min(epoch // self.unfreeze_every, len(self.stages)) if self.unfreeze_every else 0
        if begun == 0:
            return self.frozen
        return self.frozen[: self.frozen.index(self.stages[begun - 1])]

    def begins(self, parameter: str) -> int | None:
        """The first epoch, from 0, in which it learns; None if that never comes.

        Parameters of different epochs want groups of their own in the optimizer: torch's fused
        SGD fails where only some of a group have a momentum yet.
        """
        for begun in range(len(self.stages) + 1):
            epoch = begun * (self.unfreeze_every or 0)
            if not inside(parameter, self.still(epoch)):
                return epoch
        return None

    def share(self, parameter: str) -> float:
        """Its learning rate as a share of lr: discriminative rates (Howard, Ruder 2018, 3.1)."""
        return 1 if inside(parameter, self.new) else self.backbone_lr


def settle(
    train: schema.Train, net: nn.Module, source: Source, new: Collection[str]
) -> Regime | None:
    """The regime of a run, `auto` settled by the images of a class; None without one.

    `net` is on the meta device; `new` are the names of its tensors that have no weights to start
    from. Raises ConfigError for a layer that the net does not have, and for stages that would
    not come to learn.
    """
    chosen = train.transfer
    if chosen.name == "none":
        return None
    name, why = _name(chosen, source)
    names = learners(net)
    own = tuple(row for row in names if row == names[-1] or any(inside(one, [row]) for one in new))
    body = [row for row in names if row not in own]
    begin = starts(net, (train.data.channels, train.data.size, train.data.size), body)
    cut = _cut(name, chosen, body, begin, names[-1])
    frozen, later, stages = body[:cut], body[cut:], ()
    if chosen.unfreeze_every is not None:
        frozen, stages = body, tuple(row for row in reversed(later) if row in {*begin, later[0]})
        _reached(train, f"{name} ({why})", len(stages))
    count = {key: value.numel() for key, value in net.named_parameters()}
    return Regime(
        name=name, why=why, new=own, frozen=tuple(frozen), stages=stages,
        unfreeze_every=chosen.unfreeze_every, backbone_lr=chosen.backbone_lr,
        freeze_norm=chosen.freeze_norm,
        learning=sum(size for key, size in count.items() if not inside(key, frozen)),
    )  # fmt: skip


def freeze(net: nn.Module, regime: Regime, epoch: int = 0) -> None:
    """Let the parameters learn that do so in this epoch, and no others.

    The backward pass goes back to the first of them and no further.
    """
    still = regime.still(epoch)
    for name, value in net.named_parameters():
        value.requires_grad_(not inside(name, still))


def fix(net: nn.Module, regime: Regime, epoch: int) -> None:
    """Put layers that do not learn in this epoch into evaluation mode, the others into training.

    Frozen layers give the features that they will give when the net is used: without dropout,
    and batch norms by their own statistics unless `freeze_norm` is false. Dropout that stands
    before a layer that learns is that layer's.
    """
    still, learns = regime.still(epoch), True
    for name, row in reversed(list(rows(net))):
        if has_parameters(row):
            learns = name not in still
        if isinstance(row, nn.Module):
            row.train(learns)
            for layer in row.modules():
                layer.training |= not regime.freeze_norm and isinstance(layer, BATCH_NORM)


def _name(chosen: schema.Transfer, source: Source) -> tuple[str, str]:
    """The regime and what decided for it."""
    if chosen.freeze_until is not None:
        return chosen.name, f"layers before {chosen.freeze_until} do not learn"
    if chosen.name != "auto":
        return chosen.name, SAYS[chosen.name]
    each = source.sizes["train"] // len(source.classes)
    images = f"{each} image{'s' if each != 1 else ''} a class"
    if each < TOP:
        return "feature_extract", f"{images}: fewer than {TOP}"
    if each < ALL:
        return "finetune_top", f"{images}: from {TOP} on, below {ALL}"
    return "finetune_all", f"{images}: from {ALL} on"


def _cut(
    name: str, chosen: schema.Transfer, body: Sequence[str], begin: Sequence[str], last: str
) -> int:
    """How many layers of `body` never learn; `begin` are the first ones of its stages."""
    if chosen.freeze_until is not None:
        return _place(chosen.freeze_until, [*body, last], [*begin, last])
    if name == "finetune_top" and begin:
        return body.index(begin[-1])
    return 0 if name == "finetune_all" else len(body)


def _place(given: str, known: Sequence[str], begin: Sequence[str]) -> int:
    """Where the layer stands that is `given`, or that begins what is `given`."""
    for place, name in enumerate(known):
        if inside(name, [given]):
            return place
    text = f"transfer.freeze_until: the net has no layer '{given}' to learn"
    hint = f"stages begin at {', '.join(begin)}"
    near = did_you_mean(given, known)
    raise ConfigError([Problem(text, f"{near} {hint}" if near else hint, "transfer.freeze_until")])


def _reached(train: schema.Train, regime: str, stages: int) -> None:
    """Raise ConfigError unless all of so many stages begin to learn in this run, one by one."""
    every, epochs, key = train.transfer.unfreeze_every, train.trainer.max_epochs, "unfreeze_every"
    assert every is not None
    problems = list(rules_transfer.alone(devices.settle(train.hardware).world))
    name = f"transfer.{key}"
    if not stages:
        text = f"{name}={every} has no effect with {regime}"
        problems.append(Problem(text, f"set {name}=null", name))
    elif every * stages >= epochs:
        text = (
            f"{name}={every}: the last of {stages} stages would begin after epoch {every * stages}"
        )
        most = (epochs - 1) // stages
        less = f"{name}={most}" if most else f"trainer.max_epochs={stages + 1}"
        problems.append(Problem(text, f"trainer.max_epochs is {epochs}; set {less}", name))
    if problems:
        raise ConfigError(problems)
