"""Annealing: swaps of links that bring the balance of a graph to a target, at equal degrees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array, csr_array
from tqdm.auto import tqdm

from sparse_engine.analysis._anneal import Annealer
from sparse_engine.analysis.balance_objective import BalanceObjective, ClassMean
from sparse_engine.analysis.graph import GraphLike, as_csr, link_states, native, threads

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
    objective: BalanceObjective | None = None,
    self_loops: bool = False,
    progress: bool = True,
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
        progress: whether to show a progress bar in a terminal.

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
        balance=objective.balance(np.array(sums)),
        temperatures=temperatures,
        accepted=np.array(accepted),
    )
