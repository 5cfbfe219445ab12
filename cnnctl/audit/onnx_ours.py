"""ONNX files that cnnctl has exported: they say how large images are, and may resize them."""

from __future__ import annotations

import json
from typing import Any

from cnnctl.manifest import ENTRY, PREPROCESS

NORMALISED = "preprocess.shift"  # what is added last, before the net


def told(model: Any) -> dict[str, Any] | None:
    """What the file says of itself; None of one that is not ours, or that does not say enough."""
    texts = [entry.value for entry in model.metadata_props if entry.key == ENTRY]
    try:
        found = json.loads(texts[0])
        known = all(isinstance(found[key], int) for key in ("channels", "size"))
        return found if known and isinstance(found["include"], list) else None
    except (IndexError, KeyError, TypeError, ValueError):  # somebody else may have made it up
        return None


def without_resizing(graph: Any, ours: dict[str, Any]) -> tuple[str, list[Any]] | None:
    """The name of what the net itself takes, and its nodes; None if that is not to be found."""
    after = [node.output[0] for node in graph.node if NORMALISED in node.input]
    if PREPROCESS not in ours["include"] or len(after) != 1:
        return None
    wanted, kept = {output.name for output in graph.output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output) and after[0] not in node.output:
            kept.append(node)
            wanted.update(node.input)
    return after[0], kept[::-1]
