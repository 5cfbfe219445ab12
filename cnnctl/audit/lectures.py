"""What the formulas of claims.yaml may call: above all, readings of the zoo's nets.

Nets are built on the meta device and walked by the audit, each once, when first asked for.
Shapes are height, width, channels, as lectures print them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from math import prod
from typing import Any

from torch import nn

from cnnctl import nets
from cnnctl.audit import arithmetic, conventions, formulas
from cnnctl.audit.forward import Forward, forward
from cnnctl.audit.geometry import CONV
from cnnctl.audit.trace import Row
from cnnctl.config import catalog, paths
from cnnctl.config.preflight import require
from cnnctl.nets import meta
from cnnctl.nets.segmenter import Segmenter

KINDS: dict[str, type[nn.Module]] = {"conv": nn.Conv2d, "dense": nn.Linear}


@dataclass(frozen=True, eq=False)
class Subject:
    """A net of the zoo at its paper's input, without memory; of a net for masks no border."""

    net: nn.Module
    input: tuple[int, ...]

    @cached_property
    def seen(self) -> Forward:
        """The walk, taken when first asked for."""
        return forward(self.net, self.input)

    @property
    def rows(self) -> Sequence[Row]:
        """The calls of its layers in their order."""
        return self.seen.walk.rows


def numbers(name: str) -> dict[str, Any]:
    """The keys of a net's file in the product's own conf/model."""
    files = {file.stem: file for file in (paths.conf_dir() / "model").glob("*.yaml")}
    return catalog.facts(files[name], files)


def net(name: str, **changes: Any) -> Subject:
    """A net by the name of its file, with some of its numbers changed."""
    return built(name, json.dumps(changes, default=float, sort_keys=True))


@cache
def built(name: str, changes: str) -> Subject:
    """The net of `numbers`, with `changes` as JSON. Raises ConfigError or NetError."""
    spec, problems = nets.read_spec(numbers(name) | json.loads(changes))
    require(problems)
    assert spec is not None
    with meta.device():
        made = nets.build(spec, num_classes=spec.classes, shape=spec.input)
    if isinstance(made, Segmenter):
        made.framed = False
    return Subject(made, spec.input)


def shape(of: Subject, layer: str) -> list[int]:
    """Height, width and channels of a layer's output, or its values; `input` is the image."""
    output = of.input if layer == "input" else _rows(of, layer)[-1].output
    return [*output[1:], output[0]]


def values(of: Subject, layer: str) -> int:
    """Values in a layer's output."""
    return prod(shape(of, layer))


def stride(of: Subject, layer: str) -> int | Fraction:
    """Pixels of the image between neighbours of a layer's output."""
    field = _rows(of, layer)[-1].field
    if field is None or not field.axes:
        raise LookupError(f"no place in the image for '{layer}'")
    return formulas.plain(field.axes[0].jump)


def channels_in(of: Subject, layer: str) -> int:
    """Channels that come into a layer."""
    return _rows(of, layer)[0].inputs[0]


def params(of: Subject, layer: str = "", kind: str = "") -> int:
    """Parameters: all, of one layer or block, or of one kind of layer (conv, dense)."""
    return sum(count for _, count in _parameters(of, layer, kind))


def weights(of: Subject, layer: str = "", kind: str = "") -> int:
    """The same without biases."""
    found = _parameters(of, layer, kind)
    return sum(count for name, count in found if name.rpartition(".")[2] != "bias")


def layers(of: Subject, kind: str) -> int:
    """How many layers of a kind (conv, dense) it has."""
    return sum(isinstance(module, KINDS[kind]) for module in of.net.modules())


def depth(of: Subject) -> int:
    """Layers with weights on the longest path, as papers count them."""
    return of.seen.depth


def macs(of: Subject) -> int:
    """Multiply-adds for one image."""
    return sum(of.seen.walk.macs.values())


def activation_values(of: Subject) -> int:
    """The image and the outputs of convolutions, pools and dense layers, once each."""
    return prod(of.input) + sum(conventions.values(row, "rows") for row in of.rows)


def relu_values(of: Subject) -> int:
    """Values that come out of ReLUs."""
    return sum(row.values for row in of.rows if row.type == "ReLU")


def filter_sizes(of: Subject) -> list[int]:
    """The sides of its convolutions' kernels, each once."""
    return sorted({row.form.kernel[0] for row in of.rows if row.kind == CONV and row.form})


def convs_of_size(of: Subject, block: str, side: int) -> int:
    """Convolutions of a block with kernels of `side` x `side`."""
    return sum(row.form.kernel == (side, side) for row in _rows(of, block) if row.form)


def convolutions(of: Subject) -> int:
    """Convolutions; a separable one counts once, those on shortcuts not at all."""
    return sum(
        row.kind == CONV
        and "shortcut" not in row.name.split(".")
        and (row.form is None or row.form.groups == 1 or row.form.groups < row.inputs[0])
        for row in of.rows
    )


def groups(of: Subject, layer: str) -> int:
    """Groups of a convolution."""
    form = _rows(of, layer)[0].form
    return 1 if form is None else form.groups


def _rows(of: Subject, layer: str) -> list[Row]:
    """The rows of a layer or block; conv2_x are those of the blocks conv2_1 and so on."""
    name = re.escape(layer.removesuffix("_x")) + (r"_\d+" if layer.endswith("_x") else "")
    found = [row for row in of.rows if re.fullmatch(rf"{name}(\..*)?", row.name)]
    if not found:
        raise LookupError(f"no layer '{layer}'")
    return found


def _parameters(of: Subject, layer: str, kind: str) -> Iterator[tuple[str, int]]:
    """Names and sizes of the parameters of a layer or block and of a kind."""
    modules = dict(of.net.named_modules())
    if layer not in modules and layer != "input":
        raise LookupError(f"no layer '{layer}'")
    for name, value in of.net.named_parameters():
        inside = not layer or name.startswith(f"{layer}.")
        if inside and (not kind or isinstance(modules[name.rpartition(".")[0]], KINDS[kind])):
            yield name, value.numel()


def torchvision_top1(name: str) -> int | Fraction:
    """Top-1 accuracy in per cent that torchvision states for its first weights of a net."""
    from torchvision.models import get_model_weights

    first: Any = get_model_weights(name)["IMAGENET1K_V1"]
    return formulas.plain(Fraction(str(first.meta["_metrics"]["ImageNet-1K"]["acc@1"])))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        net, shape, values, stride, channels_in, params, weights, layers, depth, macs,
        activation_values, relu_values, filter_sizes, convs_of_size, convolutions, groups,
        torchvision_top1, formulas.correlate, formulas.max_pool, formulas.kernel_sum,
        formulas.largest, formulas.smallest,
        arithmetic.conv_out, arithmetic.conv_params, arithmetic.same_padding,
        arithmetic.receptive_field,
    )
}  # fmt: skip
