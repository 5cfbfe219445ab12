"""Documents of audits: of nets of the zoo, each made once, and small ones written by hand."""

from __future__ import annotations

from functools import cache
from typing import Any

import zoo

from cnnctl.audit import conventions, document, step
from cnnctl.config import learning

ADAM = learning.Adam(
    name="adam", lr=1e-3, weight_decay=0.0, scaling="none", reference_batch=256,
    decay_norms=True, layer_decay=None,
    betas=(0.9, 0.999), eps=1e-8,
)  # fmt: skip


@cache
def of(name: str, memory: str = "rows") -> dict[str, Any]:
    """The audit of a net of the zoo, for a step of 32 images; not to be changed."""
    spec = zoo.spec(name)
    subject = document.Subject(name, zoo.on_meta(name), spec.input, spec.paper)
    return document.audit(subject, step.Setting(32, ADAM), memory)


def layer(name: str, kind: str = "conv", **changes: Any) -> dict[str, Any]:
    """A layer of two 4x4 maps; a convolution has 3x3 windows."""
    made: dict[str, Any] = {
        "name": name, "type": {"conv": "Conv2d", "join": "add"}.get(kind, kind.capitalize()),
        "kind": kind, "call": 0, "output": [2, 4, 4], "values": 32, "activations": 32,
        "bytes": 128, "kept_bytes": 256, "params": 0, "weights": 0, "macs": 0,
        "receptive_field": 1, "jump": 1, "sees_all": False, "sees_enough": False,
    }  # fmt: skip
    if kind == "conv":
        window = {"kernel": 3, "stride": 1, "padding": 1, "dilation": 1}
        made |= {key: [value, value] for key, value in window.items()}
        made |= {"groups": 1, "transposed": False, "params": 38, "weights": 36, "macs": 576}
    return made | changes


def net(*layers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A document of these layers behind a 1x4x4 image, with a step of 2 images."""
    image = layer("input", "input", output=[1, 4, 4], values=16, activations=16, bytes=64)
    rows = [image, *layers]
    total = {key: sum(row[key] or 0 for row in rows) for key in ("params", "weights", "macs")}
    return {
        "name": "tiny", "about": "a paper", "input": [1, 4, 4],
        "output": rows[-1]["output"], "convention": "rows", "layers": rows, "training_layers": [],
        "memory": dict(MEMORY),
        "totals": total | {
            "trainable": total["params"], "frozen": 0, "buffers": 0,
            "unused": {"params": 0, "names": []}, "weight_layers": 2, "flops": 2 * total["macs"],
            "training_macs": {"forward": total["macs"], "backward": 2 * total["macs"]},
            "activations": 48, "bytes": 192, "inference_peak_bytes": 4096,
            "conventions": {
                name: {"values": values, "bytes": size, "batch_size": images, "meaning": meaning}
                for (name, meaning), values, size, images in zip(
                    conventions.MEANING.items(), (48, 80, 64, None, None),
                    (192, 320, 256, 3_000, 12_500_000), (1, 1, 1, 2, 2), strict=True,
                )
            },
        },
    } | changes  # fmt: skip


MEMORY: dict[str, Any] = {
    "batch_size": 2, "precision": "32-true", "optimizer": "adam", "accelerator": "cpu",
    "channels_last": False, "accumulate": 1, "weights": 2_000_000, "gradients": 2_000_000,
    "optimizer_state": 4_000_000, "batch": 500_000, "activations": 4_000_000, "skips": 0,
    "peak": 12_500_000,
    "at_peak": {
        "weights": 2_000_000, "gradients": 2_000_000, "optimizer_state": 4_000_000,
        "batch": 500_000, "activations": 4_000_000,
    },
    "where": {"phase": "backward", "layer": "conv1", "op": "convolution_backward"},
    "reason": None,
}  # fmt: skip
UNTRAINED = {
    **MEMORY, **dict.fromkeys(("weights", "gradients", "optimizer_state", "batch")),
    **dict.fromkeys(("activations", "skips", "peak", "at_peak", "where")), "reason": "a reason",
}  # fmt: skip


def residual(name: str, seen: int, channels: int = 2) -> list[dict[str, Any]]:
    """A block of two convolutions and a shortcut, behind a layer that sees `seen` pixels."""
    output = [channels, 4, 4]
    return [
        layer(f"{name}.branch.conv1", output=output, receptive_field=seen + 2),
        layer(f"{name}.branch.conv1_act", "silent", output=output, receptive_field=seen + 2),
        layer(f"{name}.branch.conv2", output=output, receptive_field=seen + 4),
        layer(f"{name}.add", "join", output=output, receptive_field=seen + 4),
    ]
