"""A file in a folder of its own: written, read again, proven, described; or nothing at all."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from torch.nn.functional import cross_entropy

from cnnctl import devices, manifest, nets, pretrained, runs, weights
from cnnctl.config.masks import Masks
from cnnctl.config.rules_export import WHOLE
from cnnctl.config.schema import Train
from cnnctl.config.verbs import Export
from cnnctl.data.source import Source
from cnnctl.devices import Device
from cnnctl.errors import CnnctlError, ExportError
from cnnctl.export import (
    card,
    folder,
    integers,
    masks,
    onnx,
    parity,
    quantize,
    remade,
    safetensors,
    shown,
    torch_export,
    torchscript,
)
from cnnctl.export.parity import Proof, Tell
from cnnctl.export.program import Program
from cnnctl.export.shown import Shown
from cnnctl.export.silence import quiet
from cnnctl.manifest import PREPROCESS, SOFTMAX, Manifest
from cnnctl.nets.net import Net
from cnnctl.nets.segmenter import Segmenter
from cnnctl.nets.spec import Spec
from cnnctl.scoring import exported
from cnnctl.scoring.scorer import Eager, Scorer
from cnnctl.training import provenance

WRITERS: dict[str, Callable[[Program, Manifest, Path], None]] = {
    "onnx": onnx.write, "torch_export": torch_export.write, "torchscript": torchscript.write
}  # fmt: skip
PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "safetensors": ("safetensors",)}
SAME = 1e-5  # two losses are one if they differ by a smaller share


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is exported: a net with its weights, where it is from, and the images that prove it.

    `figures` are those of its run on the test split, if it has any.
    """

    export: Export
    train: Train
    config: dict[str, Any]
    spec: Spec
    net: Net
    classes: tuple[str, ...]
    source: Source
    run: str
    checkpoint: str
    figures: dict[str, Any] | None = None

    @property
    def file(self) -> str:
        """The name of the file."""
        suffixes = {kind: suffix for suffix, kind in manifest.SUFFIXES.items()}
        return folder.safe(self.spec.name) + suffixes[self.export.format]


def processor(train: Train) -> Device:
    """Where a file is made and proven: the CPU, in float32."""
    plain = replace(
        train.hardware, accelerator="cpu", devices=1, num_nodes=1, precision="32-true",
        strategy="auto", sync_batchnorm=False,
    )  # fmt: skip
    return devices.settle(plain)


def make(job: Job, where: Path, tell: Tell) -> dict[str, Any]:
    """Export into the folder `where`; gives the document of the command.

    Raises ExportError if the net cannot be written, or the file does not compute what it does.
    """
    seen = _shown(job)
    eager = Eager(job.net, job.train, job.classes, processor(job.train))
    about = _about(job, own_loss=isinstance(seen, Shown) and _own_loss(eager, seen))
    with folder.made(where) as beside:
        file = beside / job.file
        before = _write(job, about, file)
        proven = _prove(job, about, eager, _again(job, file), seen, tell)
        facts: dict[str, Any] = {
            "file": job.file, "params": sum(one.numel() for one in job.net.parameters()),
            "format": about.format, "bytes": file.stat().st_size,
            "sha256": manifest.sha256(file), "include": list(about.include),
            "dynamic_batch": about.dynamic_batch, "precision": about.precision,
            "quantize": None if before is None else _lost(job, proven, before),
            "parity": proven,
        }  # fmt: skip
        runs.write_json(beside / manifest.BESIDE, about.document() | facts)
        text = card.text(job.spec, job.train, about, facts, job.figures)
        (beside / card.NAME).write_text(text, encoding="utf-8")
        file.chmod((beside / card.NAME).stat().st_mode)  # safetensors makes it for its owner alone
    place = {name: str(where / name) for name in (job.file, manifest.BESIDE, card.NAME)}
    return {
        "run": job.run, "checkpoint": job.checkpoint, "model": about.model,
        **facts, "file": place[job.file],
        "manifest": place[manifest.BESIDE], "card": place[card.NAME],
    }  # fmt: skip


def _shown(job: Job) -> Shown | masks.Shown:
    """The images of the proof."""
    split, data = "test" if "test" in job.source.splits else "val", job.train.data
    if isinstance(data, Masks):
        return masks.choose(job.source, split, job.export.images, data.resize)
    return shown.choose(job.source, split, job.export.images or shown.IMAGES, data.size)


def _about(job: Job, *, own_loss: bool) -> Manifest:
    export, data = job.export, job.train.data
    parts = (PREPROCESS,) if job.net.TASK == "reconstruct" else (PREPROCESS, SOFTMAX)
    usual = parts if export.format in WHOLE else ()
    include = usual if export.include is None else export.include
    versions = {name: metadata.version(name) for name in PACKAGES.get(export.format, ())}
    return Manifest(
        format=export.format, model=job.spec.name,
        include=tuple(part for part in parts if part in include),
        dynamic_batch=export.dynamic_batch, precision=export.precision, quantize=export.quantize,
        classes=job.classes, channels=data.channels, size=data.size,
        mean=tuple(data.mean), std=tuple(data.std), own_loss=own_loss,
        run=job.run, checkpoint=job.checkpoint, weights_sha256=weights.sha256(job.net.state_dict()),
        versions=provenance.versions() | versions, config=job.config, **_sides(job.net),
    )  # fmt: skip


def _sides(net: Net) -> dict[str, int]:
    """Which sides a net for masks takes: `least` and so many strides more."""
    if not isinstance(net, Segmenter):
        return {}
    least = net.side(1)
    stride = net.side(least - 2 * net.margin + 1) - least
    return {"least": least, "stride": stride, "margin": net.margin}


def _own_loss(eager: Eager, seen: Shown) -> bool:
    """Whether the net's loss is another than cross-entropy, seen on images."""
    if eager.net.TASK == "reconstruct":
        return True
    images, labels = next(seen.chunks())
    logits = eager(images)
    usual, own = float(cross_entropy(logits, labels)), float(eager.loss(logits, labels))
    return abs(usual - own) > SAME * max(abs(usual), abs(own))


def _write(job: Job, about: Manifest, file: Path) -> int | None:
    """Write the file. Of int8: the bytes of the file in float32."""
    try:
        with quiet():
            if about.format == "safetensors":
                return safetensors.write(job.net, about, file)
            program = Program(copy.deepcopy(job.net), about)
            if about.quantize is None:
                return WRITERS[about.format](program, about, file)
            return _integers(job, program, about, file)
    except (CnnctlError, OSError):
        raise
    except Exception as wrong:  # exporters raise whatever they like
        reason = (str(wrong).strip() or type(wrong).__name__).splitlines()[0]
        others = [name for name in ("onnx", *WRITERS, "safetensors") if name != about.format]
        text = f"{about.model} cannot be written as {about.format}: {reason}"
        raise ExportError(text, f"format={' or '.join(others[1:])}; --debug shows more") from wrong


def _integers(job: Job, program: Program, about: Manifest, file: Path) -> int:
    plain = file.with_name("plain.onnx")
    onnx.write(program, about, plain)
    taught = shown.choose(job.source, "train", quantize.IMAGES, job.train.data.size)
    prepare = Eager(job.net, job.train, job.classes, processor(job.train)).prepare
    quantize.integers(plain, file, about, taught, prepare)
    before = plain.stat().st_size
    plain.unlink()
    return before


def _again(job: Job, file: Path) -> Scorer:
    """The file, read from disk as anybody else would read it."""
    about = manifest.read(file)
    assert about is not None
    where = processor(job.train)
    if about.format != "safetensors":
        return exported.load(file, about, job.train, where)
    shape = (about.channels, about.size, about.size)
    classes = len(about.classes)
    made = nets.build(job.spec, num_classes=classes, shape=shape)
    start = pretrained.find(
        str(file), job.spec, num_classes=classes, shape=shape, outputs=job.train.outputs
    )
    pretrained.load(made, start)
    return Eager(made, job.train, about.classes, where)


def _prove(  # noqa: PLR0913 - what is compared, and how
    job: Job, about: Manifest, eager: Scorer, file: Scorer, seen: Shown | masks.Shown, tell: Tell
) -> dict[str, Any]:
    export, any_error = job.export, about.quantize is not None
    usual, usual_raw = parity.USUAL[about.precision], parity.USUAL_RAW[about.precision]
    kind = (
        functools.partial(remade.Remade, manifest=about) if about.task == "reconstruct" else Proof
    )
    proof = kind(
        softmax=SOFTMAX in about.include,
        tolerance=None if any_error else export.tolerance or usual,
        raw_tolerance=None if any_error else export.raw_tolerance or usual_raw,
    )
    kinds = parity.BATCHES if isinstance(seen, Shown) else masks.BATCHES
    batches = kinds if about.dynamic_batch else kinds[:1]
    try:
        if isinstance(seen, masks.Shown):
            return masks.prove(proof, eager, file, seen, batches, tell)
        found = parity.prove(proof, eager, file, seen, batches, tell)
        whole = PREPROCESS in about.include
        return found | {"raw": parity.prove_raw(proof, eager, file, seen, tell) if whole else None}
    except CnnctlError:
        raise
    except Exception as wrong:  # of layers that torch does not have in half precision, above all
        reason = (str(wrong).strip() or type(wrong).__name__).splitlines()[0]
        text = f"{about.model} as {about.format} cannot be run: {reason}"
        hint = "precision=fp32" if about.precision == "fp16" else "another format; --debug tells"
        raise ExportError(text, f"nothing was kept; {hint}") from wrong


def _lost(job: Job, proven: dict[str, Any], before: int) -> dict[str, Any]:
    """What int8 costs. Raises ExportError if that is more than `drop`."""
    found = integers.lost(proven, job.export.drop)
    integers.require_resized(proven, job.export.drop)
    taught = min(quantize.IMAGES, job.source.sizes["train"])
    return {
        "kind": job.export.quantize, **found, "bytes_before": before, "calibrated_on": taught
    }  # fmt: skip
