"""Losses of pixels, besides the plain cross-entropy that every net for masks has."""

from __future__ import annotations

from cnnctl.config.masks import Loss
from cnnctl.nets.segmenter import Criterion, Segmenter


def build(loss: Loss, net: Segmenter) -> Criterion | None:
    """What training makes small; None for what the net has itself."""
    return None
