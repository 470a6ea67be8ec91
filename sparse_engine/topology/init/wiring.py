"""Wirings, allocations of links to weights, and the wiring of a whole model by them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn
from typing_extensions import override

from sparse_engine.nn import SparseWeight
from sparse_engine.nn._initial import check_density, random_links
from sparse_engine.ops import Links, Pattern, RandomKey, Use
from sparse_engine.topology.apportion import apportion_logs
from sparse_engine.topology.init.signs import SignInit, signed

Shapes = Sequence[tuple[int, int]]


class Wiring(ABC):
    """Wiring of a fresh weight: where its links are. Your own wiring is a subclass with one method.

    Example:
        >>> class Diagonal(Wiring):
        ...     def links(self, out_features, in_features, key):
        ...         unit = torch.arange(min(out_features, in_features))
        ...         return links_at(unit * in_features + unit, out_features, in_features)
    """

    @abstractmethod
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        """Return the links of an ``out_features x in_features`` weight.

        Args:
            out_features: rows, the target units.
            in_features: columns, the source units.
            key: a stream of random numbers; equal keys give equal links.

        Raises:
            ValueError: a weight of this shape cannot be wired so.
        """


class Allocation(ABC):
    """Allocation of links to weights. An allocation of your own is a subclass with one method."""

    @abstractmethod
    def counts(self, shapes: Shapes) -> list[int]:
        """Return the number of links of each weight.

        Args:
            shapes: ``(out_features, in_features)`` of each weight.
        """


@dataclass(frozen=True)
class _OfTotal(Allocation):
    """Shares of ``round(density * all positions)`` links, in proportion to a size of each weight.

    Attributes:
        density: density of all weights together, in (0, 1].

    Raises:
        ValueError: density out of range.
    """

    density: float

    def __post_init__(self) -> None:
        check_density(self.density)

    @abstractmethod
    def _size(self, out_features: int, in_features: int) -> int: ...

    @override
    def counts(self, shapes: Shapes) -> list[int]:
        positions = np.array([out * inputs for out, inputs in shapes])
        sizes = np.array([max(1, self._size(*shape)) for shape in shapes], np.float64)
        total = round(self.density * int(positions.sum()))
        return apportion_logs(total, np.log(sizes), positions).tolist()


class ERKDensity(_OfTotal):
    """Erdos-Renyi-kernel density (Evci et al., ICML 2020; for matrices as in Mocanu et al. 2018).

    A weight has ``epsilon * (out + in)`` links, so that small weights are denser. Weights that
    would have more links than positions are dense, and the others share the rest by the same rule.
    The total is exactly ``round(density * all positions)``, and epsilon follows from the total.

    Attributes:
        density: density of all weights together, in (0, 1].

    Raises:
        ValueError: density out of range.
    """

    @override
    def _size(self, out_features: int, in_features: int) -> int:
        return out_features + in_features


class EqualDensity(_OfTotal):
    """Equal densities, rounded to links; in total ``round(density * all positions)`` links.

    Attributes:
        density: density of each weight, in (0, 1].

    Raises:
        ValueError: density out of range.
    """

    @override
    def _size(self, out_features: int, in_features: int) -> int:
        return out_features * in_features


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
    counts: Sequence[int] = ()
    if isinstance(wiring, Allocation):
        counts = wiring.counts([weight.shape for _, weight in places])
    wired = []
    for i, (at, weight) in enumerate(places):
        key = RandomKey(seed, 0, at)
        if isinstance(wiring, Allocation):
            links = random_links(*weight.shape, counts[i], key)
        else:
            links = wiring.links(*weight.shape, key)
        pattern = Pattern.of(links)
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
