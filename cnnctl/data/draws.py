"""Random numbers that are a pure function of the seed, the epoch and the image.

What is drawn for an image does not depend on the batch it is in, on the process that loads
it or on what was drawn before: the same for any number of workers, and after any resume.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

Words = np.ndarray  # uint64
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, the step of SplitMix64
WHOLE = 2.0**-53  # a float64 has 53 bits in its mantissa


@dataclass(frozen=True)
class Draws:
    """The random numbers of one batch; `samples` are the images' numbers in their split (B,).

    Every draw names its purpose, so that one change of an image knows nothing of another.
    Bits are mixed by SplitMix64 (Steele, Lea, Flood 2014, figure 16).
    """

    seed: int
    epoch: int
    samples: np.ndarray

    def words(self, purpose: str) -> Words:
        """One word for each image (B,): the seed of another generator."""
        return _mix(_key(self.seed, self.epoch, purpose) + self.samples.astype(np.uint64) * GOLDEN)

    def uniform(self, purpose: str, count: int = 1) -> Tensor:
        """Float64 (B, count) in [0, 1), on the CPU."""
        steps = np.arange(1, count + 1, dtype=np.uint64) * GOLDEN
        words = self.words(purpose)[:, None] + steps
        return torch.from_numpy((_mix(words) >> np.uint64(11)).astype(np.float64) * WHOLE)

    def normal(self, purpose: str, count: int = 1) -> Tensor:
        """Float64 (B, count) with mean 0 and variance 1 (Box, Muller 1958)."""
        radius, angle = self.uniform(purpose, 2 * count).unflatten(1, (2, count)).unbind(1)
        return (-2 * (1 - radius).log()).sqrt() * (2 * torch.pi * angle).cos()

    def batch(self, purpose: str) -> np.random.Generator:
        """For what a batch shares: keyed by its first image."""
        first = self.samples[:1].astype(np.uint64) * GOLDEN
        return np.random.default_rng(_mix(_key(self.seed, self.epoch, purpose) + first))


@lru_cache(64)  # every batch of an epoch asks for the same few
def _key(seed: int, epoch: int, purpose: str) -> Words:
    """One word for all three; as an array, because those wrap in silence."""
    key = np.zeros(1, np.uint64)
    for word in (seed, epoch, zlib.crc32(purpose.encode())):
        key = _mix(key + np.array([word], np.uint64) * GOLDEN + GOLDEN)
    return key


def _mix(words: Words) -> Words:
    """Every bit of the result depends on every bit of a word."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
