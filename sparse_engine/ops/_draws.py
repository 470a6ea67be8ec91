"""Random subsets from counter-based random numbers, as tensors: the draws of the native kernels.

Philox4x32-10 (Salmon et al., SC 2011) on int64 tensors, of which only the lower 32 bits count: a
product of two such numbers wraps around, and its bits are still right.
"""

from __future__ import annotations

import torch
from torch import Tensor

LOW = 2**32 - 1
ROUNDS = 10

#: Seed, step and stream.
Key = tuple[int, int, int]


def philox(counter: Tensor, key: Key) -> list[Tensor]:
    """Return the four 32-bit words that belong to each 64-bit counter."""
    seed, step, stream = key
    words = [
        counter & LOW,
        counter >> 32 & LOW,
        torch.full_like(counter, step & LOW),
        torch.full_like(counter, stream & LOW),
    ]
    low, high = seed & LOW, seed >> 32 & LOW
    for _ in range(ROUNDS):
        a, b = 0xD2511F53 * words[0], 0xCD9E8D57 * words[2]
        words = [
            (b >> 32 & LOW) ^ words[1] ^ low,
            b & LOW,
            (a >> 32 & LOW) ^ words[3] ^ high,
            a & LOW,
        ]
        low, high = low + 0x9E3779B9 & LOW, high + 0xBB67AE85 & LOW
    return words


def draws(first: int, count: int, size: int, key: Key, device: torch.device) -> Tensor:
    """Return draws ``first, ..., first + count - 1`` of the key's numbers in ``[0, size)``.

    Each is the upper half of 64 random bits times ``size``.
    """
    number = torch.arange(first, first + count, device=device)
    words = philox(number >> 1, key)
    odd = (number & 1).bool()
    low, high = torch.where(odd, words[2], words[0]), torch.where(odd, words[3], words[1])
    size_low, size_high = size & LOW, size >> 32
    right, left = low * size_high, high * size_low
    middle = (low * size_low >> 32 & LOW) + (right & LOW) + (left & LOW)
    return high * size_high + (right >> 32) + (left >> 32 & LOW) + (middle >> 32)


def subset(count: int, size: int, key: Key, device: torch.device) -> Tensor:
    """Return ``count`` distinct numbers below ``size``, drawn uniformly, in increasing order."""
    if count <= size // 2:
        return distinct(count, size, key, device)
    holes = distinct(size - count, size, key, device)
    number = torch.arange(count, device=device)
    before = holes - torch.arange(holes.numel(), device=device)
    return number + torch.searchsorted(before, number, right=True)


def distinct(count: int, size: int, key: Key, device: torch.device) -> Tensor:
    """Return the first ``count`` distinct numbers of an endless sequence of draws, sorted."""
    found = torch.empty(0, dtype=torch.int64, device=device)
    first = 0
    while (missing := count - found.numel()) > 0:
        more = draws(first, missing, size, key, device)
        found, first = torch.cat([found, more]).unique(), first + missing
    return found
