"""Wirings, allocations of links to weights, first signs, and a whole model wired by them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from sparse_engine.convert import from_networkx, from_scipy, read_edge_list
from sparse_engine.nn import SparseWeight
from sparse_engine.nn._initial import check_density, random_links
from sparse_engine.nn.options import check_fraction
from sparse_engine.ops import Links, Pattern, RandomKey, Use
from sparse_engine.topology.apportion import apportion_logs
from sparse_engine.topology.links import sample_groups

if TYPE_CHECKING:
    import networkx as nx
    import scipy.sparse

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


@dataclass(frozen=True, eq=False)
class FromGraph(Wiring):
    """Links of a given graph, all of them and whatever the key.

    Only where the links are is taken. The functions of ``sparse_engine.convert`` make weights
    that have the graph's values too.

    Attributes:
        graph: a SciPy sparse matrix (rows are targets), a ``networkx.DiGraph`` (units in the
            graph's own order of nodes), the path of an edge-list file, or another weight.

    Raises:
        TypeError: something else; raised by :meth:`links`.
        ValueError: a graph of another shape, or what its reader in ``sparse_engine.convert``
            raises; raised by :meth:`links`.

    Example:
        >>> wire(model, FromGraph(weight))
    """

    graph: scipy.sparse.sparray | scipy.sparse.spmatrix | nx.DiGraph | str | Path | SparseWeight

    @override
    def links(self, out_features: int, in_features: int, key: RandomKey) -> Links:
        weight = self._weight((out_features, in_features))
        if weight.shape != (out_features, in_features):
            raise ValueError(
                f"expected a graph of shape {(out_features, in_features)}, found {weight.shape}"
            )
        crow, col, _ = weight.pattern.links
        return Links(crow.clone(), col.clone(), in_features)

    def _weight(self, shape: tuple[int, int]) -> SparseWeight:
        if isinstance(self.graph, SparseWeight):
            return self.graph
        if isinstance(self.graph, (str, Path)):
            return read_edge_list(self.graph, shape=shape)
        if hasattr(self.graph, "is_directed"):  # a graph of networkx, which may not be installed
            return from_networkx(self.graph)
        return from_scipy(self.graph)


class Allocation(ABC):
    """Allocation of links to weights. An allocation of your own is a subclass with one method.

    Example:
        >>> class OnePerRow(Allocation):
        ...     def counts(self, shapes):
        ...         return [rows for rows, _ in shapes]
    """

    @abstractmethod
    def counts(self, shapes: Shapes) -> list[int]:
        """Return the number of links of each weight.

        Args:
            shapes: ``(out_features, in_features)`` of each weight.
        """


@dataclass(frozen=True)
class _OfTotal(Allocation):
    """Shares of ``round(density * all positions)`` links, in proportion to weights' sizes."""

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

    Example:
        >>> ERKDensity(0.05).counts([(64, 64), (1024, 1024)])
        [3096, 49538]
    """

    @override
    def _size(self, out_features: int, in_features: int) -> int:
        return out_features + in_features


class EqualDensity(_OfTotal):
    """Equal densities, rounded to links; in total ``round(density * all positions)`` links.

    Attributes:
        density: density of each weight, in (0, 1].

    Example:
        >>> wire(model, EqualDensity(0.25)); model.weight.nnz
        9
    """

    @override
    def _size(self, out_features: int, in_features: int) -> int:
        return out_features * in_features


class SignInit(ABC):
    """First signs of links. Your own kind of signs is a subclass with one method.

    A :class:`sparse_engine.nn.signs.Signs` keeps signs while a network is trained.

    Example:
        >>> class Positive(SignInit):
        ...     def signs(self, links, key):
        ...         return torch.ones(links.nnz, dtype=torch.int8)
    """

    @abstractmethod
    def signs(self, links: Links, key: RandomKey) -> Tensor:
        """Return ``[nnz]`` of +1 and -1, int8, in row-major order of the links."""


@dataclass(frozen=True)
class RandomSigns(SignInit):
    """Random signs: exactly ``round(positive * nnz)`` uniformly random links are positive.

    Attributes:
        positive: fraction of positive links, in [0, 1].

    Example:
        >>> wire(model, ErdosRenyi(density=0.5), signs=RandomSigns(positive=0.3))
    """

    positive: float = 0.5

    def __post_init__(self) -> None:
        check_fraction("positive", self.positive)

    @override
    def signs(self, links: Links, key: RandomKey) -> Tensor:
        return _random_signs(self.positive, links.nnz, key)


@dataclass(frozen=True)
class Dale(SignInit):
    """Dale's law: all links out of a unit, a column, have one sign.

    Exactly ``round(excitatory * in_features)`` uniformly random columns are positive. They follow
    from the number of columns and from the key's seed and step, not from its stream: a unit that
    feeds two weights of a model has one sign in both.

    Attributes:
        excitatory: the fraction of positive columns, in [0, 1].

    Example:
        >>> wire(model, ErdosRenyi(density=0.5), signs=Dale(excitatory=0.8))
    """

    excitatory: float = 0.8

    def __post_init__(self) -> None:
        check_fraction("excitatory", self.excitatory)

    @override
    def signs(self, links: Links, key: RandomKey) -> Tensor:
        unit = _random_signs(self.excitatory, links.in_features, key._replace(stream=0))
        return unit.to(links.col.device)[links.col.long()]


def signed(values: Tensor, links: Links, signs: SignInit, key: RandomKey) -> Tensor:
    """Return the values of links with other signs, ``signs * |values|``."""
    drawn = signs.signs(links, key)
    if drawn.shape != values.shape:
        raise ValueError(f"expected {links.nnz} signs from {signs}, found shape {[*drawn.shape]}")
    return values.abs() * drawn.to(values)


def _random_signs(share: float, count: int, key: RandomKey) -> Tensor:
    """Return ``[count]`` signs of which exactly ``round(share * count)`` are +1."""
    signs = np.full(count, -1, np.int8)
    positive = sample_groups([round(share * count)], [count], key.generator(Use.WIRED_SIGNS))[1]
    signs[positive] = 1
    return torch.from_numpy(signs)


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
