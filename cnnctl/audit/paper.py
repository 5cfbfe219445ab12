"""A net beside the figures that its paper prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("published.yaml")
ALIASES = {"vgg11": "vgg_a", "vgg13": "vgg_b", "vgg16": "vgg_d", "vgg19": "vgg_e"}
WORDS = {
    "params": "parameters", "macs": "multiply-adds", "values": "activations",
    "weight_layers": "weight layers", "receptive_field": "receptive field", "jump": "stride",
    "side": "height",
}  # fmt: skip
SUMS = ("params", "macs")  # over the layers of a block; all others are of its last layer


def compare(net: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each published figure of an audited net (see audit.document).

    `deviation` is computed / published − 1, null for a layer that the net does not have.
    """
    published = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    rows = []
    for said in published.get(ALIASES.get(net["name"], net["name"]), ()):
        computed = _computed(net, said.get("layer"), said["figure"])
        rows.append({
            "net": net["name"],
            "layer": said.get("layer"),
            "figure": said["figure"],
            "what": " ".join(filter(None, (said.get("layer"), WORDS[said["figure"]]))),
            "printed": said["printed"],
            "value": said["value"],
            "computed": computed,
            "deviation": None if computed is None else computed / said["value"] - 1,
            "source": said["source"],
        })  # fmt: skip
    return rows


def _computed(net: dict[str, Any], layer: str | None, figure: str) -> int | None:
    """Of the whole net, or of one layer or block of it."""
    if layer is None:
        return net["totals"][figure]
    own = [
        one for one in net["layers"] if one["name"] == layer or one["name"].startswith(f"{layer}.")
    ]
    if not own:
        return None
    if figure in SUMS:
        return sum(one[figure] for one in own)
    return own[-1]["output"][1] if figure == "side" else own[-1][figure]
