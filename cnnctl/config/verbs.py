"""What may be configured of the verbs that take a trained net: one frozen dataclass each.

As in `schema`, values stand in conf/ alone.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Literal

from cnnctl.config.fields import key

Split = Literal["train", "val", "test"]
Crops = Literal["center", "ten", "dense"]
Perturbation = Literal["shift", "scale", "rotate", "deform", "hue", "noise", "blur", "occlusion"]
Part = Literal["preprocess", "softmax"]
Engine = Literal["eager", "compiled", "onnxruntime"]


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What `cnnctl evaluate` adds to the configuration of the run."""

    split: Split = key("which images")
    checkpoint: str = key("best, last or a file")
    crops: Crops = key("center; ten: corners, centre, mirrored; dense: the net slides over all")
    scales: tuple[int, ...] | None = key("short sides that images are resized to: 224,256", min=1)
    flip: bool | None = key("also the mirror image; null: as the run's trainer.test_flip")
    tile: int | None = key("masks: parts of so many pixels a side; null: whole images", min=1)
    boundary: float | None = key(
        "masks: how far outlines may be apart, as a share of the diagonal; null: 0.0075",
        above=0, max=0.1,
    )  # fmt: skip
    robustness: tuple[Perturbation, ...] | None = key("accuracy against the strength of a change")
    predictions: Literal["csv", "parquet", "none"] = key("what is kept of every image")
    mistakes: int = key("most confident mistakes, or worst masks, that are shown", min=0, max=100)


@dataclass(frozen=True, kw_only=True)
class Predict:
    """What `cnnctl predict` adds to the configuration of the run."""

    checkpoint: str = key("best, last or a file")
    top: int | None = key("classes named for each image; null: five, of masks all there are", min=1)
    tile: int | None = key("masks: parts of so many pixels a side; null: whole images", min=1)
    output: str | None = key("masks: a new folder for them; null: one under outputs/predict")
    format: Literal["table", "csv"] = key("what is printed")


@dataclass(frozen=True, kw_only=True)
class Export:
    """What `cnnctl export` adds to the configuration of the run."""

    checkpoint: str = key("best, last or a file")
    format: Literal["onnx", "torch_export", "torchscript", "safetensors"] = key("kind of file")
    include: tuple[Part, ...] | None = key(
        "what the file does besides the net; null: all in onnx and torch_export, else nothing"
    )
    dynamic_batch: bool = key("takes any number of images at once, not one alone")
    precision: Literal["fp32", "fp16"] = key("number format of the weights")
    quantize: Literal["int8"] | None = key("weights and arithmetic in integers; onnx only")
    images: int | None = key(
        "images of the test split (or val) on which it is proven; null: 256, of masks 16", min=1
    )
    tolerance: float | None = key(
        "largest error of a logit, or of an intensity, as a share of the largest; null: 1e-4, in"
        " fp16 5e-2",
        above=0,
    )
    raw_tolerance: float | None = key(
        "the same for images that the file resizes itself; null: 1e-2, in fp16 6e-2", above=0
    )
    drop: float = key("most of top-1 that int8 may lose, as a fraction", min=0, max=1)
    output: str | None = key("a new folder for the files; null: one under outputs/export")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What `cnnctl bench` composes or adds to the configuration of the run."""

    checkpoint: str = key("best, last or a file")
    input: str | None = key("channels x height x width: 3x224x224; null: as the net or file says")
    batch: tuple[int, ...] = key("images at once: 1,8,32", min=1)
    engines: tuple[Engine, ...] | None = key("what runs the net; null: all that are here")
    device: Literal["auto", "cpu", "gpu", "mps"] = key("where it runs")
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true"] = key(
        "number format of weights and arithmetic"
    )
    threads: int | None = key("threads of the CPU; null: all", min=1)
    seconds: float = key("at least so long for each figure, after warming up", above=0)


# Of the configuration of a run, what each may change: whole sections and single keys.
OF_RUN: dict[type, tuple[str, ...]] = {
    Evaluate: ("data", "hardware", "outputs"),
    Predict: ("hardware", "outputs", "data.batch_size"),
    Export: ("data", "outputs"),
    Bench: ("outputs",),
}


def choices(cls: type) -> dict[str, tuple[str, ...]]:
    """The keys, each with the words that it can be set to; none for a number or a text.

    Of a list those of its items.
    """
    return {name: tuple(_words(hint)) for name, hint in typing.get_type_hints(cls).items()}


def lists(cls: type) -> set[str]:
    """The keys that take several values: batch=1,8,32."""
    hints = typing.get_type_hints(cls)
    return {
        name
        for name, hint in hints.items()
        if any(typing.get_origin(part) is tuple for part in _parts(hint))
    }


def _words(hint: typing.Any) -> typing.Iterator[str]:
    for part in _parts(hint):
        if part is bool:
            yield from ("true", "false")
        elif part is type(None):
            yield "null"
        elif typing.get_origin(part) is Literal:
            yield from typing.get_args(part)
        elif typing.get_origin(part) is tuple:
            yield from _words(typing.get_args(part)[0])


def _parts(hint: typing.Any) -> tuple[typing.Any, ...]:
    """The alternatives of `A | None`."""
    several = typing.get_origin(hint) in (types.UnionType, typing.Union)
    return typing.get_args(hint) if several else (hint,)
