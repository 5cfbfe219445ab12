"""Which parts of an image a net is shown, and how what it says of them becomes one answer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from cnnctl.config.verbs import Crops
from cnnctl.data.reading import View, Whole
from cnnctl.scoring.scorer import Scorer


@dataclass(frozen=True)
class Way:
    """How a net looks at an image.

    The centre alone, and with `flip` also its mirror image: the mean of the logits, as
    `trainer.test_flip` takes it.
    """

    crops: Crops = "center"
    scales: tuple[int, ...] = ()
    flip: bool = False

    @property
    def plain(self) -> bool:
        """Whether the net's own loss is that of its answer."""
        return self.crops == "center"

    def view(self, size: int) -> View:
        """What is read of an image for a net of `size` pixels."""
        return Whole(size)

    def __call__(self, scorer: Scorer, images: Tensor) -> Tensor:
        """Uint8 images as `view` gives them -> logits, float32 (B, classes)."""
        if self.flip:
            return (scorer(images) + scorer(images.flip(-1))) / 2
        return scorer(images)
