"""A net that slides over whole images of any size."""

from __future__ import annotations

from copy import copy

from torch import Tensor, nn

from cnnctl.errors import SmallImageError, UsageError
from cnnctl.nets.dense import convolutionalize
from cnnctl.nets.sizes import walk
from cnnctl.scoring.scorer import Eager, Scorer


class Averaged(nn.Module):
    """Maps of scores, and their mean."""

    def __init__(self, maps: nn.Sequential) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) of any size -> (B, classes)."""
        return self.maps(images).mean((2, 3))


class Dense:
    """The mean of the class scores over all places: a Scorer of images of any size.

    Simonyan, Zisserman 2015, section 3.2: the class score map is spatially averaged. On images
    of the net's own size the scores are the net's. `shape` (C, H, W) is theirs; `smallest` is the
    shortest side that will be asked about. Raises UsageError for an exported file, NetError for a
    net that cannot slide, SmallImageError, naming the layer, if it leaves nothing of `smallest`.
    """

    def __init__(self, scorer: Scorer, shape: tuple[int, int, int], smallest: int) -> None:
        if not isinstance(scorer, Eager):
            text = f"crops=dense needs the layers of the net; an exported file takes {shape[1]}"
            text += f"x{shape[2]} images alone"
            raise UsageError(text, "give the run or the checkpoint that it is from")
        maps = convolutionalize(scorer.net, shape)
        try:
            walk(maps, (shape[0], smallest, smallest))
        except SmallImageError as wrong:
            raise SmallImageError(wrong.message, "larger scales") from wrong
        self.inner = copy(scorer)
        self.inner.placed = copy(scorer.placed)
        self.inner.placed.run = Averaged(maps).eval()
        self.classes = scorer.classes

    def __call__(self, images: Tensor, /) -> Tensor:
        """As `Scorer` says, on images of any one size."""
        return self.inner(images)

    def loss(self, logits: Tensor, labels: Tensor, /) -> None:
        """No net was trained so."""
