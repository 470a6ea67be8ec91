"""Wiring of a whole model."""

from __future__ import annotations

from torch import nn

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern, RandomKey, Use
from sparse_engine.topology.init.allocation import Allocation
from sparse_engine.topology.init.base import Wiring
from sparse_engine.topology.init.random import ErdosRenyi
from sparse_engine.topology.init.signs import SignInit, signed


def wire(
    model: nn.Module,
    wiring: Wiring | Allocation,
    *,
    seed: int = 0,
    gain: float = 1.0,
    signs: SignInit | None = None,
) -> None:
    """Give every sparse weight of a model that takes gradients new links and new values.

    Each ``values`` stays the same Parameter object, without its gradient. Call this before an
    optimizer has state. All randomness follows from the seed and a weight's place in the model.

    Args:
        model: the model whose :class:`SparseWeight` modules are wired. A weight that takes no
            gradients, or whose pattern is frozen, stays as it is.
        wiring: the wiring of each weight; or an allocation, which gives each weight a number of
            links at uniformly random positions.
        seed: seed of the random numbers, any 63-bit integer.
        gain: values are U(-b, b) with ``b = gain / sqrt(links into the row)``.
        signs: signs of the values; by default those that values are drawn with.

    Raises:
        ValueError: no such weight in the model, or one that cannot be wired so; the model is then
            as before.
        TypeError: a wiring or signs of another kind.

    Example:
        >>> rnn = SparseRNN(64, 1024, num_layers=2, density=0.05)
        >>> wire(rnn, WattsStrogatz(50, rewiring=0.1), seed=1, signs=Dale(excitatory=0.8))
        >>> wire(rnn, ERKDensity(0.05))
    """
    if not isinstance(wiring, Wiring | Allocation):
        raise TypeError(f"expected a Wiring or an Allocation, found {type(wiring)}")
    if not isinstance(signs, SignInit | None):
        raise TypeError(f"expected a SignInit, found {type(signs)}")
    found = [module for module in model.modules() if isinstance(module, SparseWeight)]
    places = [
        (at, weight)
        for at, weight in enumerate(found)
        if not weight.frozen_pattern and weight.values.requires_grad
    ]
    if not places:
        raise ValueError(
            "expected a model with sparse weights that take gradients and whose pattern is not "
            f"frozen, found none among {len(found)} sparse weights"
        )
    wirings: list[Wiring]
    if isinstance(wiring, Allocation):
        counts = wiring.counts([weight.shape for _, weight in places])
        wirings = [ErdosRenyi(nnz=count) for count in counts]
    else:
        wirings = [wiring] * len(places)
    wired = []
    for own, (at, weight) in zip(wirings, places, strict=True):
        key = RandomKey(seed, 0, at)
        pattern = Pattern.of(own.links(*weight.shape, key))
        generator = key.torch_generator(Use.WIRED_VALUES)
        entries = weight.fresh(pattern, gain=gain, generator=generator, dtype=weight.dtype)
        if signs is not None:
            entries["values"] = signed(entries["values"], pattern.links, signs, key)
        weight.check_pattern(pattern, **entries)
        wired.append((weight, pattern, entries))
    for weight, pattern, entries in wired:
        weight.set_pattern(pattern, **entries)
        weight.first_gain = gain
        for name in weight.link_parameters:
            getattr(weight, name).grad = None
