"""What evaluate, predict, export and bench are about: a run, a checkpoint, weights or an export.

A mistake on the command line is told before torch is imported wherever the target is a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnctl import manifest, runs
from cnnctl.commands.asked import OF_WEIGHTS, Asked, asked, keys
from cnnctl.commands.settle import settle
from cnnctl.config import companions, compose, preflight, replay, schema
from cnnctl.config.overrides import key_of
from cnnctl.errors import CheckpointError, ConfigError, Problem, UsageError
from cnnctl.manifest import Manifest

if TYPE_CHECKING:
    from cnnctl.data.source import Source
    from cnnctl.devices import Device
    from cnnctl.nets.net import Net
    from cnnctl.nets.spec import Spec
    from cnnctl.scoring.scorer import Scorer
    from cnnctl.weights import Checkpoint

__all__ = [
    "Asked",
    "Trained",
    "asked",
    "classes",
    "device",
    "find",
    "keys",
    "net",
    "ready",
    "scorer",
]

FIXED = ("channels", "size", "mean", "std")  # of data: what belongs to the net, not to a set
RESIZED = "resize"  # likewise, of images with masks
SAFETENSORS = ".safetensors"


@dataclass(frozen=True)
class Trained:
    """A net with its weights, as found on disk.

    `folder` is its run, if it was named so. One of `saved` (a checkpoint of ours), `manifest` (an
    exported file; of safetensors: weights with their configuration) and neither (weights of
    somebody else, whose net the command line names) says what `file` is.
    """

    target: str
    folder: Path | None
    file: Path
    config: dict[str, Any]
    train: schema.Train
    spec: Spec
    saved: Checkpoint | None = None
    manifest: Manifest | None = None

    @property
    def name(self) -> str:
        """The run, or the file."""
        return str(self.folder or self.file)


def find(target: str, checkpoint: str, ask: Asked) -> Trained:
    """What `target` names. Call inside `compose.opened`.

    Raises RunError, CheckpointError, ConfigError or UsageError.
    """
    path = Path(target).expanduser()
    if not path.is_file():
        if manifest.kind(path) or path.suffix in (".ckpt", ".pt", ".pth"):
            raise CheckpointError(f"no file {target}")
        folder = runs.find(target, ask.outputs)
        file = _checkpoint(folder, checkpoint)
        return _settled(target, folder, file, runs.read_config(folder / runs.CONFIG), ask)
    given = [text for text in ask.own if key_of(text) == "checkpoint"]
    if given:
        text = f"'{given[0]}' has no effect: {target} is a file"
        raise ConfigError([Problem(text, "leave it out", "checkpoint")])
    if manifest.kind(path):
        return _export(target, path, ask)
    return _torch_file(target, path, ask)


def ready(one: Trained) -> Source:
    """The images of its configuration, where they are read from."""
    from cnnctl.commands import job

    return job.ready(one.train)


def device(one: Trained, verb: str) -> Device:
    """Where it runs. Raises UsageError for several devices."""
    from cnnctl import devices

    found = devices.settle(one.train.hardware)
    if found.world > 1:
        text = f"{verb} uses one device, got {found.world}"
        raise UsageError(text, "hardware.devices=1")
    return found


def classes(one: Trained, source: Source | None = None) -> tuple[str, ...]:
    """What the outputs mean; of weights of somebody else, what the images of `source` are."""
    known = one.saved or one.manifest
    if known is not None:
        return known.classes
    assert source is not None
    return source.classes


def net(one: Trained, names: Sequence[str]) -> Net:
    """The net with its weights, in torch. Raises CheckpointError for a file without them."""
    from cnnctl import nets, pretrained, weights

    data = one.train.data
    shape = (data.channels, data.size, data.size)
    if one.manifest is not None and one.manifest.format != "safetensors":
        text = f"{one.file} is a program, not weights"
        raise CheckpointError(text, "give the run or the checkpoint that it is from")
    made = nets.build(one.spec, num_classes=len(names), shape=shape)
    if one.saved is not None:
        weights.load(made, one.saved)
        return made
    start = pretrained.find(
        str(one.file), one.spec, num_classes=len(names), shape=shape, outputs=one.train.outputs
    )
    if start.new:
        text = f"{one.file} does not have {', '.join(start.new)} for {len(names)} classes"
        raise CheckpointError(text, "data with the classes that it was trained on")
    pretrained.load(made, start)
    return made


def scorer(one: Trained, names: Sequence[str], where: Device) -> Scorer:
    """What can be asked about images."""
    from cnnctl import devices
    from cnnctl.scoring import exported
    from cnnctl.scoring.scorer import Eager

    devices.switch(where)
    if one.manifest is not None and one.manifest.format != "safetensors":
        return exported.load(one.file, one.manifest, one.train, where)
    return Eager(net(one, names), one.train, names, where)


def _settled(  # noqa: PLR0913 - what is known of it
    target: str, folder: Path | None, file: Path, config: dict[str, Any], ask: Asked,
    saved: Checkpoint | None = None, found: Manifest | None = None,
) -> Trained:  # fmt: skip
    base, problems = replay.replay(_on_one_device(config), ask.of_run)
    base = _as_the_net_knows_them(base, config, ask)
    train, spec = settle(base, ask.of_run, [*problems, *ask.unknown, *ask.doubled])
    if saved is None and found is None:  # a run: a typo was told before torch is imported
        from cnnctl import weights

        saved = weights.read(file)
    return Trained(target, folder, file, base, train, spec, saved, found)


def _as_the_net_knows_them(
    base: dict[str, Any], saved: dict[str, Any], ask: Asked
) -> dict[str, Any]:
    """With images as large and normalised as the net has learned them, whichever set is chosen."""
    typed, data = {key_of(text) for text in ask.of_run}, base.get("data")
    if not isinstance(data, dict):
        return base
    fixed = (*FIXED, RESIZED) if RESIZED in saved["data"] and RESIZED in data else FIXED
    own = {name: saved["data"][name] for name in fixed if f"data.{name}" not in typed}
    return {**base, "data": {**data, **own}}


def _export(target: str, file: Path, ask: Asked) -> Trained:
    found = manifest.read(file)
    if found is None and file.suffix == SAFETENSORS:
        return _foreign(target, file, ask)
    if found is None:
        text = f"{target} was not exported by cnnctl: it does not say what it takes and gives"
        raise CheckpointError(text, "cnnctl audit and cnnctl bench take any ONNX file")
    one = _settled(target, None, file, found.config, ask, found=found)
    wrong = [
        Problem(
            f"data.{name} cannot be changed: {target} has its own", "leave it out", f"data.{name}"
        )
        for name in FIXED
        if getattr(one.train.data, name) != getattr(found, name)
    ]
    for text in ask.of_run:
        if key_of(text) == "hardware.precision" and found.format != "safetensors":
            told = f"'{text}' has no effect: {target} has its own number format"
            wrong.append(Problem(told, "leave it out", "hardware.precision"))
    preflight.require(wrong)
    return one


def _torch_file(target: str, file: Path, ask: Asked) -> Trained:
    """A checkpoint of ours, or weights of anybody."""
    from cnnctl import weights

    if weights.is_ours(weights.content(file)):
        saved = weights.read(file)
        return _settled(target, None, file, saved.config, ask, saved=saved)
    return _foreign(target, file, ask)


def _foreign(target: str, file: Path, ask: Asked) -> Trained:
    """Weights that do not say which net they are of, nor on which images it was trained."""
    given = [*ask.of_weights, *ask.of_run]
    if not set(OF_WEIGHTS) <= {key_of(text) for text in given}:
        text = f"{target} holds weights alone: it does not say of which net and which classes"
        raise UsageError(text, f"cnnctl … {target} model=resnet18 data=imagenet")
    config, problems = compose.compose(
        "train", ["hardware.devices=1", *companions.completed(given)]
    )
    train, spec = settle(config, given, [*problems, *ask.unknown])
    return Trained(target, None, file, config, train, spec)


def _checkpoint(folder: Path, name: str) -> Path:
    """The names best and last mean files in the run; anything else is a file."""
    if name in ("best", "last"):
        return folder / runs.CHECKPOINTS / f"{name}.ckpt"
    return Path(name).expanduser()


def _on_one_device(config: dict[str, Any]) -> dict[str, Any]:
    """The saved configuration for one device: however many trained the net, one is asked."""
    hardware = {**config.get("hardware", {}), "devices": 1, "num_nodes": 1, "strategy": "auto"}
    hardware |= {"sync_batchnorm": False}
    return {**config, "hardware": hardware}
