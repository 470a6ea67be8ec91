"""Keys of random numbers: what is drawn follows from the key alone, on any machine."""

from __future__ import annotations

from enum import IntEnum, unique
from typing import NamedTuple

import numpy as np
import torch


@unique
class Use(IntEnum):
    """Tell apart what the numbers of one key are drawn for; 100 and more are free for users.

    Example:
        >>> Use.WIRING < 100
        True
    """

    WIRING = 0
    WIRED_SIGNS = 1
    WIRED_VALUES = 2
    NEW_LINKS = 3
    NEWBORN = 4
    PRUNE = 5
    NOISE = 6
    SIGNS_OF_POSITIONS = 7
    GATES = 8


class RandomKey(NamedTuple):
    """Name of one independent stream of random numbers; equal keys give equal numbers anywhere.

    Attributes:
        seed: number of the experiment, in [-2^63, 2^63).
        step: number of the training step, in [0, 2^32).
        stream: which weight of the model, in [0, 2^32).

    Example:
        >>> RandomKey(0, step=3) == RandomKey(0, step=3, stream=1)
        False
    """

    seed: int
    step: int = 0
    stream: int = 0

    def generator(self, use: int) -> np.random.Generator:
        """Return a counter-based generator (Philox) of this key.

        Args:
            use: tells independent uses of one key apart, in [0, 2^32); see :class:`Use`.
        """
        low, high = self.seed % 2**32, self.seed % 2**64 >> 32
        # Four words of 32 bits whatever the numbers are: with fewer, two keys could be written
        # the same way.
        seed = np.random.SeedSequence((low, self.step, self.stream, high), spawn_key=(use,))
        return np.random.Generator(np.random.Philox(seed))

    def torch_generator(self, use: int) -> torch.Generator:
        """Return torch's generator on the CPU, seeded from :meth:`generator`.

        For functions that take no other: torch's generator uses 32 bits of its seed only.
        """
        seed = int(self.generator(use).integers(2**32))
        return torch.Generator().manual_seed(seed)
