"""The operations on patterns for CUDA tensors, of PyTorch's own sorts, scans and searches.

Each computes what the function of :mod:`sparse_engine.ops.topology` of its name says, gives the
same bits as its native kernel on the CPU, and waits for the device where the host has to know a
number. Positions of links are ``row * in_features + column``, increasing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sparse_engine.ops._dispatch.native import native, register_on_cuda

MOST_LINKS = 2**31 - 1
LOW = 2**32 - 1

#: Seed, step and stream.
Key = tuple[int, int, int]


def check_csr(crow: Tensor, col: Tensor, in_features: int) -> None:
    """Check a pattern from outside, on the CPU, where messages are made."""
    native.check_csr(crow.cpu(), col.cpu(), in_features)


def transpose(crow: Tensor, col: Tensor, in_features: int) -> tuple[Tensor, Tensor, Tensor]:
    _check_links(crow, col)
    order = col.argsort(stable=True)
    columns = torch.arange(in_features + 1, dtype=torch.int32, device=col.device)
    t_crow = torch.searchsorted(col[order], columns)
    return t_crow, _row_of(crow, order).int(), order.int()


def sample_absent(
    crow: Tensor, col: Tensor, in_features: int, dropped: Tensor | None, count: int, *key: int
) -> Tensor:
    _check_links(crow, col)
    staying = _positions(crow, col, in_features)
    if dropped is not None:
        _check("dropped", dropped, torch.bool, col)
        staying = staying[~dropped]
    absent = (crow.numel() - 1) * in_features - staying.numel()
    if not 0 <= count <= absent:
        raise ValueError(
            f"expected to sample between 0 and {absent} absent positions, found {count}"
        )
    seed, step, stream = key
    return _without(staying, subset(count, absent, (seed, step, stream), crow.device))


def rewire(
    crow: Tensor, col: Tensor, in_features: int, keep: Tensor, cells: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check_links(crow, col)
    _check("keep", keep, torch.bool, col)
    _check("cells", cells, torch.int64, cells)
    size = (crow.numel() - 1) * in_features
    unordered = (cells < 0) | (cells >= size)
    unordered[1:] |= cells[1:] <= cells[:-1]
    if (at := _first(unordered)) is not None:
        raise ValueError(
            f"expected cells strictly increasing in [0, {size}), found {int(cells[at])} "
            f"at position {at}"
        )
    kept = _positions(crow, col, in_features)[keep]
    total = kept.numel() + cells.numel()
    if total > MOST_LINKS:
        raise ValueError(f"expected fewer than 2^31 links, found {total}")
    born = torch.searchsorted(kept, cells)
    if kept.numel() and bool((clash := kept[born.clamp(max=kept.numel() - 1)] == cells).any()):
        row, column = divmod(int(cells[clash][0]), in_features)
        raise ValueError(
            "expected every new cell to be absent, found an existing link at row "
            f"{row}, column {column}"
        )
    kept_slots = torch.searchsorted(cells, kept) + _count_up(kept)
    born_slots = born + _count_up(cells)
    new_col = col.new_empty(total)
    new_col[kept_slots] = col[keep]
    new_col[born_slots] = (cells % max(1, in_features)).int()
    rows = torch.arange(crow.numel(), device=crow.device) * in_features
    new_crow = torch.searchsorted(kept, rows) + torch.searchsorted(cells, rows)
    slot_map = torch.full_like(col, -1)
    slot_map[keep] = kept_slots.int()
    return new_crow, new_col, slot_map, born_slots.int()


def smallest(scores: Tensor, count: int, above: float | None, negate: bool) -> Tensor:
    _check_numbers("scores", scores)
    if count < 0:
        raise ValueError(f"expected count of at least 0, found {count}")
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    _mark(chosen, -scores if negate else scores, above, lambda eligible: min(count, eligible))
    return chosen


def nearest_zero(values: Tensor, share: float) -> Tensor:
    _check_numbers("values", values)
    if not 0 <= share <= 1:
        raise ValueError(f"expected share in [0, 1], found {share}")
    chosen = values == 0
    for side in (values, -values):
        _mark(chosen, side, 0.0, lambda eligible: int(share * eligible))
    return chosen


def scan_absent(
    block: Tensor, crow: Tensor, col: Tensor, in_features: int, first_row: int, above: float
) -> tuple[Tensor, Tensor]:
    _check_links(crow, col)
    if block.dim() != 2 or block.shape[1] != in_features or not block.is_contiguous():
        raise ValueError(
            f"expected a contiguous block of shape [rows, {in_features}], found {[*block.shape]}"
        )
    last_row = first_row + len(block)
    if not 0 <= first_row <= last_row < crow.numel():
        raise ValueError(
            f"expected rows in [0, {crow.numel() - 1}), found {len(block)} from {first_row} on"
        )
    magnitudes = block.abs().flatten()
    large = ~(magnitudes <= above)
    first, last = crow[[first_row, last_row]].tolist()
    links = torch.arange(first, last, device=crow.device)
    large[(_row_of(crow, links) - first_row) * in_features + col[first:last]] = False
    found = large.nonzero().squeeze(1)
    return magnitudes[found], found + first_row * in_features


def carry(tensor: Tensor, slot_map: Tensor, size: int) -> Tensor:
    _check("slot_map", slot_map, torch.int32, tensor)
    outside = (slot_map < -1) | (slot_map >= size)
    if (at := _first(outside)) is not None:
        raise ValueError(f"expected slots in [-1, {size}), found {int(slot_map[at])}")
    kept = slot_map >= 0
    moved = tensor.new_zeros(size)
    moved[slot_map[kept].long()] = tensor[kept]
    return moved


def carry_(tensor: Tensor, slot_map: Tensor) -> None:
    tensor.copy_(carry(tensor, slot_map, tensor.numel()))


def subset(count: int, size: int, key: Key, device: torch.device) -> Tensor:
    """Return ``count`` distinct numbers below ``size``, drawn uniformly, in increasing order."""
    if count <= size // 2:
        return distinct(count, size, key, device)
    holes = distinct(size - count, size, key, device)
    return _without(holes, torch.arange(count, device=device))


def distinct(count: int, size: int, key: Key, device: torch.device) -> Tensor:
    """Return the first ``count`` distinct numbers of an endless sequence of draws, sorted."""
    found = torch.empty(0, dtype=torch.int64, device=device)
    first = 0
    while (missing := count - found.numel()) > 0:
        more = _draws(first, missing, size, key, device)
        found, first = torch.cat([found, more]).unique(), first + missing
    return found


def _draws(first: int, count: int, size: int, key: Key, device: torch.device) -> Tensor:
    """Return numbers ``first, ...`` of a key's draws: the upper half of 64 random bits * size."""
    number = torch.arange(first, first + count, device=device)
    words = _philox(number >> 1, key)
    odd = (number & 1).bool()
    low, high = torch.where(odd, words[2], words[0]), torch.where(odd, words[3], words[1])
    size_low, size_high = size & LOW, size >> 32
    right, left = low * size_high, high * size_low
    middle = (low * size_low >> 32 & LOW) + (right & LOW) + (left & LOW)
    return high * size_high + (right >> 32) + (left >> 32 & LOW) + (middle >> 32)


def _philox(counter: Tensor, key: Key) -> list[Tensor]:
    """Return the four 32-bit words of each 64-bit counter: Philox4x32-10 (Salmon et al. 2011).

    Of the int64 tensors only the lower 32 bits count: a product of two such numbers wraps around,
    and its bits are still right.
    """
    seed, step, stream = key
    tail = (torch.full_like(counter, each & LOW) for each in (step, stream))
    words = [counter & LOW, counter >> 32 & LOW, *tail]
    low, high = seed & LOW, seed >> 32 & LOW
    for _ in range(10):
        a, b = 0xD2511F53 * words[0], 0xCD9E8D57 * words[2]
        right, left = (b >> 32 & LOW) ^ words[1] ^ low, (a >> 32 & LOW) ^ words[3] ^ high
        words = [right, b & LOW, left, a & LOW]
        low, high = low + 0x9E3779B9 & LOW, high + 0xBB67AE85 & LOW
    return words


def _without(holes: Tensor, ranks: Tensor) -> Tensor:
    """Return the numbers of given ranks among those that are not in ``holes``, which increase."""
    return ranks + torch.searchsorted(holes - _count_up(holes), ranks, right=True)


def _mark(chosen: Tensor, scores: Tensor, above: float | None, quota: Callable[[int], int]) -> None:
    """Mark as many as ``quota`` says of the entries above a bound, the smallest first."""
    order = (scores + 0.0).argsort(stable=True)  # -0 becomes 0, so that the two are equal
    first = 0
    if above is not None and not math.isnan(above):
        first = int((scores <= above).sum())
    chosen[order[first : first + quota(scores.numel() - first)]] = True


def _positions(crow: Tensor, col: Tensor, in_features: int) -> Tensor:
    return _row_of(crow, _count_up(col)) * in_features + col


def _row_of(crow: Tensor, links: Tensor) -> Tensor:
    return torch.searchsorted(crow, links, right=True) - 1


def _count_up(like: Tensor) -> Tensor:
    return torch.arange(like.numel(), device=like.device)


def _first(marks: Tensor) -> int | None:
    at = int(marks.to(torch.uint8).argmax()) if marks.numel() else 0
    return at if marks.numel() and bool(marks[at]) else None


def _check_numbers(name: str, entries: Tensor) -> None:
    if entries.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"expected {name} of dtype float32 or float64, found {entries.dtype}")
    _check(name, entries, entries.dtype, entries)
    if (at := _first(entries.isnan())) is not None:
        raise ValueError(f"expected {name} that can be ordered, found NaN at link {at}")


def _check_links(crow: Tensor, col: Tensor) -> None:
    if crow.numel() < 1:
        raise ValueError(
            f"expected crow_indices of shape [out_features + 1], found {[*crow.shape]}"
        )
    _check("crow_indices", crow, torch.int64, crow)
    _check("col_indices", col, torch.int32, col)


def _check(name: str, tensor: Tensor, dtype: torch.dtype, like: Tensor) -> None:
    """Check the dtype, and that there is one number for each of ``like``, on the same device."""
    if tensor.dtype != dtype:
        raise ValueError(f"expected {name} of dtype {dtype}, found {tensor.dtype}")
    if tensor.dim() != 1 or tensor.numel() != like.numel():
        raise ValueError(f"expected {name} of shape [{like.numel()}], found {[*tensor.shape]}")
    if not tensor.is_contiguous():
        raise ValueError(f"expected {name} to be contiguous")
    if tensor.device != like.device:
        raise ValueError(f"expected {name} on {like.device}, found it on {tensor.device}")


for _each in (check_csr, transpose, sample_absent, rewire, smallest, nearest_zero, carry, carry_):
    register_on_cuda(_each.__name__, _each)
register_on_cuda("scan_absent", scan_absent)
