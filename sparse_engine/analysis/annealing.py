"""Annealing: swaps of links that bring a graph's balance to a target and keep its degrees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array, csr_array
from tqdm.auto import tqdm

from sparse_engine.analysis._anneal import Annealer
from sparse_engine.analysis.graph import GraphLike, as_csr, link_states, native, threads
from sparse_engine.analysis.objective import ClassMean, Objective

# Proposals between two looks at the keyboard: tenths of a second even where nodes have a great many
# links, and so many that the looks cost nothing.
AT_ONCE = 1 << 13


@dataclass(frozen=True)
class Cooling:
    """Temperatures that fall by the same factor, with the same number of proposals at each.

    A temperature is a number of semicycles: one less that is as wanted is accepted with probability
    ``exp(-1 / temperature)``.

    Attributes:
        hot: the first temperature.
        cold: the last one is at least this.
        factor: from one to the next, in (0, 1).
        proposals: swaps that are proposed at each.

    Raises:
        ValueError: one of them out of range.
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
        """float64, falling."""
        steps = np.log(self.cold / self.hot) / np.log(self.factor)
        return self.hot * self.factor ** np.arange(np.floor(steps + 1e-9) + 1)


@dataclass(frozen=True)
class Annealed:
    """What an annealing led to.

    Attributes:
        graph: the network, rows are targets.
        target: the balance that was wanted.
        balance: float64 ``[temperatures + 1]``, of the first graph and after each temperature; nan
            where there were no semicycles.
        temperatures: float64.
        accepted: float64 ``[temperatures]``, the share of the proposals that became swaps.
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
    objective: Objective | None = None,
    self_loops: bool = False,
    progress: bool = True,
) -> Annealed:
    """Swaps links until the balance is near a target, by simulated annealing.

    A proposal takes two links a -> b and c -> d at random and makes a -> d and c -> b of them,
    unless one of these is there. Values stay with their sources. So every node keeps its numbers of
    links in and out and the values of its outgoing links; only where these lead changes. The energy
    is the distance of the balance from the target times the semicycles of the first graph, and a
    graph without semicycles is at distance 1. After Zhang et al., "Universal structural patterns in
    sparse recurrent neural networks", 2023, whose energy was an estimate from the two links alone.

    The result is a function of the arguments, whatever the number of threads. Ctrl-C ends it with
    KeyboardInterrupt.

    Args:
        w: whatever :func:`~sparse_engine.analysis.graph.as_csr` takes.
        target: the balance that is wanted, in [0, 1]: 1 for as much as possible.
        seed: of the random numbers, in [0, 2^64).
        cooling: the temperatures; by default those of Zhang et al., 3,420 proposals.
        objective: the balance that is meant, :class:`ClassMean` by default.
        self_loops: whether swaps may make links from a node to itself.
        progress: whether a terminal shows how far it is.

    Raises:
        TypeError: not a graph.
        ValueError: not square, not a valid matrix or file, or an argument out of range.
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
    shown = None if progress else True
    for level in tqdm(range(len(temperatures)), desc="annealing", delay=1, disable=shown):
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
        balance=objective.of(np.array(sums)),
        temperatures=temperatures,
        accepted=np.array(accepted),
    )
