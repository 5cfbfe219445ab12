"""What people mean by the memory of activations: five ways of counting, each with a name."""

from __future__ import annotations

from math import prod

from cnnctl.audit.geometry import CONV, DENSE, POOL, RESIZE
from cnnctl.audit.trace import Row

MEANING = {
    "rows": "outputs of convolutions, pools and dense layers, and the image, as lectures list them",
    "slides": "rows, and once more the input of every convolution and dense layer",
    "outputs": "every new tensor that a layer or an operation makes",
    "saved": "what the forward pass keeps for the backward pass, the image included",
    "peak": "the most that is alive at one time in a training step",
}
COUNTED = {CONV, DENSE, POOL, RESIZE}


def values(row: Row, convention: str) -> int:
    """The activations of one image that a row adds: rows, slides or outputs."""
    if convention == "outputs":
        return row.values if row.made else 0
    own = row.values if row.kind in COUNTED else 0
    again = prod(row.inputs) if convention == "slides" and row.kind in {CONV, DENSE} else 0
    return own + again
