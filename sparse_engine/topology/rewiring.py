"""One rewiring of one weight: prune, grow, and carry along everything that belongs to links."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern, RandomKey, Rewired, carry, rewire
from sparse_engine.topology.birth import Birth
from sparse_engine.topology.grow import Grow
from sparse_engine.topology.prune import Prune


@torch.no_grad()
def rewire_weight(
    weight: SparseWeight,
    optimizer: Optimizer | None,
    *,
    prune: Prune,
    grow: Grow,
    birth: Birth,
    fraction: float,
    key: RandomKey,
) -> Rewired:
    """Removes links by one rule and grows as many by another, in place.

    The Parameter object, its storage and its length stay. A surviving link keeps its value, its
    gradient and its optimizer state; a new one starts with the value that ``birth`` gives it and
    with state 0.

    Returns:
        The new links with the map from old to new slots.

    Raises:
        ValueError: values that cannot be ordered, or a grow rule that returned an existing link.
    """
    keep = ~prune.drop(weight, fraction)
    nothing = torch.empty(0, dtype=torch.int64, device=keep.device)
    links = weight.pattern.links
    kept = rewire(links, keep, nothing).links
    count = weight.nnz - kept.nnz
    cells = grow.grow(weight, kept, count, key)
    if cells.shape != (count,):
        raise ValueError(f"expected {count} cells from {grow}, found shape {[*cells.shape]}")
    rewired = rewire(links, keep, cells)
    values = carry(weight.values, rewired.slot_map, weight.nnz)
    values[rewired.born.long()] = birth.values(weight, count, key)
    weight.set_pattern(Pattern.of(rewired.links), values)
    for tensor in _link_tensors(weight, optimizer):
        tensor.copy_(carry(tensor.contiguous(), rewired.slot_map, weight.nnz))
    return rewired


def _link_tensors(weight: SparseWeight, optimizer: Optimizer | None) -> list[Tensor]:
    """The gradient and the optimizer's tensors that have one entry per link."""
    found = [] if weight.values.grad is None else [weight.values.grad]
    if optimizer is not None:
        state = optimizer.state.get(weight.values, {})
        found += [
            entry
            for entry in state.values()
            if isinstance(entry, Tensor) and entry.shape == weight.values.shape
        ]
    return found
