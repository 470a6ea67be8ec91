"""Annealing: swaps of links that bring the balance of a graph to a target, at equal degrees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csc_array, csr_array
from tqdm.auto import tqdm
from typing_extensions import override

from sparse_engine.analysis._anneal import Annealer
from sparse_engine.analysis.balance import BALANCE_CLASSES, of_types
from sparse_engine.analysis.graph import GraphLike, as_csr, link_states, native, threads
from sparse_engine.analysis.motifs import class_of, types


@dataclass(frozen=True)
class ClassMean:
    """Balance ``structural_balance(w).class_mean``: the mean over groups of semicycles.

    The classes 030T, 120D, 120U and 300 are a group each; groups without semicycles do not count.
    Your own groups are a subclass with one method, ``table``.

    Example:
        >>> balanced = anneal(signed_network(40, 0.1), target=0.8, objective=ClassMean())
    """

    def table(self) -> np.ndarray:
        """Return the numbers of balanced and of all semicycles of each group, by triad code.

        Returns:
            int64 ``[CODES, groups, 2]``, see :mod:`sparse_engine.analysis.motifs`; 0 for codes
            of triads that are not closed.
        """
        inside = class_of()[:, None] == np.array(BALANCE_CLASSES)
        return (inside[:, :, None] * of_types()[:, None, :])[types().of_code]

    def balance(self, sums: np.ndarray) -> np.ndarray:
        """Return the balance of graphs, nan where there are no semicycles.

        Args:
            sums: ``[..., groups, 2]``, sums of :meth:`table` over the triads of each graph.

        Returns:
            float64 ``[...]``.
        """
        balanced, total = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore"):
            shares = np.where(total > 0, balanced / total, 0)
            return shares.sum(-1) / (total > 0).sum(-1)


@dataclass(frozen=True)
class Pooled(ClassMean):
    """Balance ``structural_balance(w).pooled``: all four classes are one group.

    Example:
        >>> balanced = anneal(signed_network(40, 0.1), target=0.8, objective=Pooled())
    """

    @override
    def table(self) -> np.ndarray:
        return super().table().sum(1, keepdims=True)


# Proposals between two checks for Ctrl-C: so many that the checks cost nothing, and so few that
# they take tenths of a second even where nodes have very many links.
AT_ONCE = 1 << 13


@dataclass(frozen=True)
class Cooling:
    """Cooling schedule: temperatures that fall by a factor, with as many proposals at each.

    A temperature is a number of semicycles: a swap that takes the balance away from the target by
    one semicycle is accepted with probability ``exp(-1 / temperature)``.

    Attributes:
        hot: the first temperature.
        cold: lower bound of the last temperature.
        factor: factor from each temperature to the next, in (0, 1).
        proposals: number of swaps that are proposed at each temperature.

    Raises:
        ValueError: one of them out of range.

    Example:
        >>> balanced = anneal(signed_network(40, 0.1), target=0.8, cooling=Cooling(factor=0.9))
    """

    hot: float = 100.0
    cold: float = 0.1
    factor: float = 0.98
    proposals: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.cold <= self.hot < np.inf:
            raise ValueError(f"expected hot >= cold > 0, found {self.hot} and {self.cold}")
        if not 0 < self.factor < 1:
            raise ValueError(f"expected factor in (0, 1), found {self.factor}")
        if self.proposals < 1:
            raise ValueError(f"expected proposals of at least 1, found {self.proposals}")

    def temperatures(self) -> np.ndarray:
        """Return all temperatures, float64, from hot to cold."""
        steps = np.log(self.cold / self.hot) / np.log(self.factor)
        return self.hot * self.factor ** np.arange(np.floor(steps + 1e-9) + 1)


@dataclass(frozen=True)
class Annealed:
    """Result of an annealing.

    Attributes:
        graph: the network; rows are targets.
        target: the wanted balance.
        balance: float64 ``[temperatures + 1]``, the balance of the first graph and after each
            temperature; nan where there were no semicycles.
        temperatures: float64 ``[temperatures]``.
        accepted: float64 ``[temperatures]``, fraction of the proposals that were accepted.
    """

    graph: csr_array
    target: float
    balance: np.ndarray
    temperatures: np.ndarray
    accepted: np.ndarray


def anneal(
    w: GraphLike,
    *,
    target: float,
    seed: int = 0,
    cooling: Cooling | None = None,
    objective: ClassMean | None = None,
    self_loops: bool = False,
) -> Annealed:
    """Swap links until the balance is near a target, by simulated annealing.

    A proposal replaces two random links a -> b and c -> d by a -> d and c -> b, unless one of these
    exists. Values stay with their sources. So every node keeps its numbers of links in and out and
    the values of its outgoing links; only the targets change. The energy is the distance of the
    balance from the target times the number of semicycles of the first graph; a graph without
    semicycles has distance 1. The method follows Zhang et al., "Universal structural patterns in
    sparse recurrent neural networks", 2023, where the energy is estimated from the two links alone.

    The result does not depend on the number of threads. Ctrl-C raises KeyboardInterrupt.

    Args:
        w: a graph, see :func:`~sparse_engine.analysis.graph.as_csr`.
        target: the wanted balance, in [0, 1].
        seed: seed of the random numbers, in [0, 2^64).
        cooling: the cooling schedule; by default that of Zhang et al., with 3,420 proposals.
        objective: the measure of balance; :class:`ClassMean` by default.
        self_loops: whether swaps may make links from a node to itself.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> balanced = anneal(signed_network(150, 0.05), target=0.8)
        >>> write_fanmod(balanced.graph, "BN_n_150_p_0.05.txt")
    """
    if not 0 <= target <= 1:
        raise ValueError(f"expected target in [0, 1], found {target}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"expected seed in [0, 2^64), found {seed}")
    cooling, objective = cooling or Cooling(), objective or ClassMean()
    csr, table = as_csr(w), np.ascontiguousarray(objective.table())
    first = np.tensordot(native(csr).count(threads()), table, 1)
    links = csr.tocsc()
    annealer = Annealer(
        links.indptr.astype(np.int64),
        links.indices.astype(np.int32),
        link_states(links),
        table,
        first,
        balance=target,
        scale=max(1, first[:, 1].sum()),
        self_loops=self_loops,
        seed=seed,
    )
    temperatures = cooling.temperatures()
    sums, accepted = [first], []
    levels = range(len(temperatures))
    for level in tqdm(levels, desc="annealing", leave=False, delay=1, disable=None):
        begin = level * cooling.proposals
        kept = 0
        for at in range(begin, begin + cooling.proposals, AT_ONCE):
            proposals = min(AT_ONCE, begin + cooling.proposals - at)
            kept += annealer.run(temperatures[level], at, proposals)
        sums.append(annealer.sums())
        accepted.append(kept / cooling.proposals)
    ends = links.data, annealer.targets(), links.indptr
    return Annealed(
        graph=csc_array(ends, shape=csr.shape).tocsr(),
        target=target,
        balance=objective.balance(np.array(sums)),
        temperatures=temperatures,
        accepted=np.array(accepted),
    )


def signed_network(
    n: int, density: float, *, positive: float = 0.5, self_loops: bool = False, seed: int = 0
) -> csr_array:
    """Make a random graph with exact numbers of links and of positive links, of +1 and -1.

    Args:
        n: number of nodes, at least 1.
        density: fraction of all positions that hold a link, in (0, 1]; without self-loops, of the
            positions off the diagonal.
        positive: fraction of the links that are positive, in [0, 1].
        self_loops: whether links may lead from a node to itself.
        seed: seed of the random numbers, at least 0.

    Returns:
        float64 ``[n, n]``; rows are targets.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> w = signed_network(100, 0.1, positive=0.8)
        >>> w.nnz, int((w.data > 0).sum())
        (990, 792)
    """
    if n < 1 or seed < 0:
        raise ValueError(f"expected n of at least 1 and seed of at least 0, found {n} and {seed}")
    if not 0 < density <= 1:
        raise ValueError(f"expected density in (0, 1], found {density}")
    if not 0 <= positive <= 1:
        raise ValueError(f"expected positive in [0, 1], found {positive}")
    rng = np.random.Generator(np.random.Philox(seed))
    columns = n if self_loops else n - 1
    links = round(density * n * columns)
    positions = np.sort(rng.choice(n * columns, links, replace=False, shuffle=False))
    rows, cols = divmod(positions, max(1, columns))
    if not self_loops:
        cols += cols >= rows
    signs = rng.permuted(np.where(np.arange(links) < round(positive * links), 1.0, -1.0))
    return coo_array((signs, (rows, cols)), shape=(n, n)).tocsr()
