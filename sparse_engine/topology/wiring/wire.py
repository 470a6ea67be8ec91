"""Wiring a whole model."""

from __future__ import annotations

import torch
from torch import nn

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern, RandomKey
from sparse_engine.topology.rewiring import check_whole
from sparse_engine.topology.wiring.allocation import Allocation
from sparse_engine.topology.wiring.base import Wiring
from sparse_engine.topology.wiring.erdos_renyi import ErdosRenyi
from sparse_engine.topology.wiring.signs import Signs, apply_signs


def wire(
    model: nn.Module,
    rule: Wiring | Allocation,
    *,
    seed: int = 0,
    gain: float = 1.0,
    signs: Signs | None = None,
) -> None:
    """Gives every sparse weight of a model that takes gradients new links and new values.

    In place: each ``values`` stays the same Parameter object, its gradient is dropped. Call it
    before an optimizer has state. All randomness follows from the seed and a weight's place in
    the model.

    Args:
        model: its :class:`SparseWeight` modules are wired; one that is frozen stays as it is.
        rule: a wiring for each weight; or an allocation, which says how many links each has, at
            uniformly random cells.
        seed: of the random numbers, any 63-bit integer.
        gain: values are U(-b, b) with ``b = gain / sqrt(links into the row)``.
        signs: what signs they have; those that they are drawn with by default.

    Raises:
        ValueError: no such weight in the model, or one that cannot be wired so; the model is then
            as before.
        TypeError: a rule or signs of another kind, such as a null model's of the same name.

    Example:
        >>> rnn = SparseRNN(64, 1024, num_layers=2, density=0.05)
        >>> wire(rnn, WattsStrogatz(50, rewiring=0.1), seed=1, signs=Dale(excitatory=0.8))
        >>> wire(rnn, ERKDensity(0.05))
    """
    if not isinstance(rule, Wiring | Allocation):
        raise TypeError(f"expected a Wiring or an Allocation, found {type(rule)}")
    if not isinstance(signs, Signs | None):
        raise TypeError(f"expected Signs of sparse_engine.topology, found {type(signs)}")
    found = [module for module in model.modules() if isinstance(module, SparseWeight)]
    places = [(at, weight) for at, weight in enumerate(found) if weight.values.requires_grad]
    if not places:
        raise ValueError("expected a model with sparse weights that take gradients, found none")
    for _, weight in places:
        check_whole(weight)
    wirings = [rule] * len(places)
    if isinstance(rule, Allocation):
        counts = rule.counts([weight.shape for _, weight in places])
        wirings = [ErdosRenyi(nnz=count) for count in counts]
    patterns = [
        Pattern.of(wiring.links(*weight.shape, RandomKey(seed, 0, at)))
        for wiring, (at, weight) in zip(wirings, places, strict=True)
    ]
    for pattern, (at, weight) in zip(patterns, places, strict=True):
        key = RandomKey(seed, 0, at)
        generator = torch.Generator().manual_seed(hash(key) % 2**63)
        entries = weight.fresh(pattern, gain=gain, generator=generator, dtype=weight.dtype)
        weight.set_pattern(pattern, **entries)
        for name in weight.link_parameters:
            getattr(weight, name).grad = None
        if signs is not None:
            apply_signs(weight, signs, key)
