"""Light of another colour: AlexNet's shift along the principal axes of RGB."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnctl.data.draws import Draws

WHITE = 255
# Of the RGB values of ImageNet's training images in 0..1. The paper prints none; these are
# the ones that everybody uses, from facebook's fb.resnet.torch.
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = (  # columns; rows are R, G, B
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


class PcaColour:
    """The same multiple of each principal component added to every pixel of an image.

    The multiples are N(0, deviation) times the eigenvalue, drawn once for each image and use
    (Krizhevsky et al. 2012, section 4.1: 0.1). Nothing is clipped, as in the paper.
    """

    def __init__(self, deviation: float) -> None:
        axes = torch.tensor(EIGENVECTORS, dtype=torch.float64)
        self.axes = axes * torch.tensor(EIGENVALUES, dtype=torch.float64) * deviation * WHITE

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Float32 (B, 3, H, W) in 0..255 -> the same, in place."""
        return images.add_(self.parameters(draws).to(images.device)[..., None, None])

    def parameters(self, draws: Draws) -> Tensor:
        """What is added to each channel, float32 (B, 3)."""
        multiples = draws.normal("colour", 3)
        return (self.axes * multiples[:, None]).sum(2).float()
