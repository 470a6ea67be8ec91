"""Null models: kinds of random graphs, and balance and motifs in them to compare a graph with."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from tqdm.auto import tqdm

from sparse_engine.analysis._triads import Kind
from sparse_engine.analysis.balance import RATIOS, balance_counts, ratios
from sparse_engine.analysis.graph import GraphLike, as_csr, native, threads
from sparse_engine.analysis.motifs import CLASSES, CONNECTED, by_type, class_of, types

# With fewer moves for each link than this, random graphs are too close to the given one.
LEAST_MOVES = 0.1


class NullKind(ABC):
    """Kind of random graphs made from a given one. Your own is a subclass with one method.

    Example:
        >>> class Transposed(NullKind):
        ...     def draw(self, w, *, seed=0, sample=0):
        ...         return w.T.tocsr()
    """

    @abstractmethod
    def draw(self, w: GraphLike, *, seed: int = 0, sample: int = 0) -> csr_array:
        """Return random graph number ``sample``, which follows from the arguments alone.

        Args:
            w: a graph, see :func:`~sparse_engine.analysis.graph.as_csr`.
            seed: seed of the random numbers, in [0, 2^64).
            sample: number of the random graph, in [0, 2^32).

        Raises:
            ValueError: a number out of range.
        """

    def count(self, w: GraphLike, *, seed: int, samples: range) -> np.ndarray:
        """Count the triads of each type in random graphs, int64 ``[samples, types]``."""
        drawn = (as_csr(self.draw(w, seed=seed, sample=sample)) for sample in samples)
        return np.stack([by_type(native(csr).count(threads())) for csr in drawn])


class _Native(NullKind):
    """Kind that native code implements; it draws samples in parallel."""

    @abstractmethod
    def _kind(self) -> Kind: ...

    def draw(self, w: GraphLike, *, seed: int = 0, sample: int = 0) -> csr_array:
        if not (0 <= seed < 2**64 and 0 <= sample < 2**32):
            raise ValueError(
                f"expected seed in [0, 2^64) and sample in [0, 2^32), found {seed} and {sample}"
            )
        csr = as_csr(w)
        sources, targets, links = native(csr).draw(self._kind(), seed, sample)
        return csr_array((csr.data[links], (targets, sources)), shape=csr.shape)

    def count(self, w: GraphLike, *, seed: int, samples: range) -> np.ndarray:
        names, of_code = types()
        graph, kind = native(as_csr(w)), self._kind()
        counts, edges, changes = graph.count_drawn(
            kind, seed, samples, of_code, len(names), threads()
        )
        # Kinds that do not move links have no edges.
        if LEAST_MOVES * edges > changes:
            warnings.warn(
                f"expected random graphs that move away from the given one, found {changes} moves "
                f"of {edges} links or mutual pairs with {self}: few other graphs keep all this, or "
                "few were found. z-scores are nan or say little; keep less, or propose more",
                stacklevel=3,
            )
        return counts


@dataclass(frozen=True)
class SignShuffle(_Native):
    """Random signs: all links stay, self-loops included, and their values are permuted.

    Example:
        >>> shuffled = SignShuffle().draw(signed_network(40, 0.1), seed=0, sample=3)
    """

    def _kind(self) -> Kind:
        return Kind.sign_shuffle()


@dataclass(frozen=True)
class ErdosRenyiNull(_Native):
    """Random positions: as many links with the same values, anywhere. Self-loops stay in place.

    A random wiring for a network to start with is :class:`sparse_engine.topology.ErdosRenyi`.

    Example:
        >>> null = null_model(signed_network(40, 0.1), kind=ErdosRenyiNull(), n=100)
    """

    def _kind(self) -> Kind:
        return Kind.erdos_renyi()


@dataclass(frozen=True)
class DegreePreserving(_Native):
    """Random graphs in which every node keeps its numbers of links in and out.

    All of these graphs that the moves below reach are equally likely.

    Two moves change a graph, unless the result would have a new self-loop or a link twice. a->b and
    c->d become a->d and c->b (Maslov and Sneppen, "Specificity and stability in topology of protein
    networks", 2002). a->b->c->a becomes a->c->b->a (Roberts and Coolen, "Unbiased degree-preserving
    randomization of directed binary networks", 2012). The values of a node's outgoing links are
    permuted among these links. Self-loops stay in place.

    Without ``keep_mutual`` and ``keep_signs``, the two moves reach every graph. With them they may
    not; graphs of up to 32 nodes are therefore also changed by random walks through graphs of other
    degrees and back, which reach every small graph. Larger graphs of a density near 1 may have
    parts that are not reached.

    Attributes:
        keep_mutual: whether every node keeps its number of mutual pairs, too. Mutual pairs then
            move among themselves, and no move makes a new one.
        keep_signs: whether every node keeps its numbers of links in and out of each sign; otherwise
            only those of links out. Moves then take links of one sign, or mutual pairs of the same
            two signs.
        proposals: number of proposed swaps for each link or mutual pair, at least 1. Where there
            were fewer than a tenth as many moves as links, :func:`null_model` warns.

    Example:
        >>> kind = DegreePreserving(keep_mutual=True)
        >>> null = null_model(signed_network(40, 0.1), kind=kind, n=100)
    """

    keep_mutual: bool = False
    keep_signs: bool = True
    proposals: int = 10

    def __post_init__(self) -> None:
        if self.proposals < 1:
            raise ValueError(f"expected proposals of at least 1, found {self.proposals}")

    def _kind(self) -> Kind:
        return Kind.degree_preserving(self.keep_mutual, self.keep_signs, self.proposals)


# Links of all graphs between two steps of the progress bar, where Ctrl-C can interrupt.
LINKS_AT_ONCE = 10**7
#: Quantiles between which the middle 95 % are.
MIDDLE = (0.025, 0.975)


@dataclass(frozen=True)
class NullModel:
    """Statistics of a graph, and of random graphs to compare it with.

    The statistics are "class_mean", "pooled", "triad_level" and the ratios of the classes, "030T
    balance" to "300 balance", as in :func:`~sparse_engine.analysis.structural_balance`; the number
    of triads of each class in which every node has a link, such as "030T"; and the number of triads
    of each of their types that occurs, such as "030T:++-", as in
    :func:`~sparse_engine.analysis.signed_triad_census`.

    Attributes:
        observed: value of each statistic in the graph.
        samples: values of each statistic in the random graphs, float64 ``[n]``; nan for ratios of
            0 to 0, which z-scores and p-values leave out.
    """

    observed: dict[str, float]
    samples: dict[str, np.ndarray]

    @property
    def z_scores(self) -> dict[str, float]:
        """The z-scores ``(observed - samples.mean()) / samples.std(ddof=1)``, or nan."""
        return {name: _z_score(self.observed[name], x) for name, x in self._defined().items()}

    @property
    def p_values(self) -> dict[str, float]:
        """The one-sided p-values ``(1 + (samples >= observed).sum()) / (1 + n)``."""
        return {name: _p_value(self.observed[name], x) for name, x in self._defined().items()}

    def to_dict(self) -> dict[str, dict[str, float | None]]:
        """Return observed value, mean, z-score and p-value of each statistic; None for nan."""
        z, p = self.z_scores, self.p_values
        return {
            name: _without_nan(
                observed=self.observed[name],
                mean=x.mean() if len(x) else np.nan,
                z=z[name],
                p=p[name],
            )
            for name, x in self._defined().items()
        }

    def bands(self) -> dict[str, dict[str, float | None]]:
        """Return what balance is by chance, for JSON.

        Returns:
            For each of "class_mean", "pooled" and "triad_level": ``mean`` and ``sd`` (standard
            deviation) of the samples, ``low`` and ``high`` (between them are the middle 95 % of the
            samples), and the ``z`` of the graph; None for nan.
        """
        defined, z = self._defined(), self.z_scores
        rows = {}
        for name in RATIOS:
            x = defined[name] if len(defined[name]) > 1 else np.full(2, np.nan)
            low, high = np.quantile(x, MIDDLE)
            rows[name] = _without_nan(
                mean=x.mean(), sd=x.std(ddof=1), low=low, high=high, z=z[name]
            )
        return rows

    def _defined(self) -> dict[str, np.ndarray]:
        return {name: x[~np.isnan(x)] for name, x in self.samples.items()}


def null_model(
    w: GraphLike, *, kind: NullKind | None = None, n: int = 500, seed: int = 0
) -> NullModel:
    """Compute balance and motifs of a graph and of ``n`` random graphs.

    Sample k follows from the graph, ``kind``, ``seed`` and k alone, whatever the numbers of threads
    and samples.

    Args:
        w: a graph, see :func:`~sparse_engine.analysis.graph.as_csr`.
        kind: kind of random graphs, by default :class:`~sparse_engine.analysis.SignShuffle`.
        n: number of random graphs, at least 2.
        seed: seed of the random graphs, in [0, 2^64).

    Raises:
        TypeError: ``kind`` is no :class:`NullKind`.
        ValueError: ``n`` or ``seed`` out of range.

    Example:
        >>> null = null_model(signed_network(40, 0.1), kind=SignShuffle(), n=100)
    """
    if n < 2 or not 0 <= seed < 2**64:
        raise ValueError(f"expected n of at least 2 and seed in [0, 2^64), found {n} and {seed}")
    csr, kind = as_csr(w), SignShuffle() if kind is None else kind
    if not isinstance(kind, NullKind):
        raise TypeError(f"expected a NullKind of sparse_engine.analysis, found {type(kind)}")
    counts = [by_type(native(csr).count(threads()))[None]]
    at_once = max(threads(), LINKS_AT_ONCE // max(1, csr.nnz))
    with tqdm(total=n, unit="graph", leave=False, delay=1, disable=None) as bar:
        for first in range(0, n, at_once):
            samples = range(first, min(first + at_once, n))
            counts.append(kind.count(csr, seed=seed, samples=samples))
            bar.update(len(samples))
    values = _statistics(np.concatenate(counts))
    return NullModel(
        {name: float(x[0]) for name, x in values.items()},
        {name: x[1:] for name, x in values.items()},
    )


def _statistics(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return the statistics, float64 ``[n]`` each, for counts by type, int64 ``[n, types]``."""
    names, classes = np.array(types().names), class_of()
    balance = ratios(balance_counts(counts))
    connected = np.isin(classes, CONNECTED)
    occurring = np.flatnonzero(connected & counts.any(0))
    return {
        **{f"{name} balance" if name in CLASSES else name: x for name, x in balance.items()},
        **{name: counts[:, classes == name].sum(1).astype(float) for name in CONNECTED},
        **dict(zip(names[occurring].tolist(), counts.T[occurring].astype(float), strict=True)),
    }


def _without_nan(**numbers: float) -> dict[str, float | None]:
    return {name: None if np.isnan(x) else float(x) for name, x in numbers.items()}


def _z_score(observed: float, samples: np.ndarray) -> float:
    # The deviation of equal numbers need not be exactly 0.
    if not len(samples) or np.ptp(samples) == 0:
        return np.nan
    return float((observed - samples.mean()) / samples.std(ddof=1))


def _p_value(observed: float, samples: np.ndarray) -> float:
    if np.isnan(observed) or not len(samples):
        return np.nan
    return float((1 + (samples >= observed).sum()) / (1 + len(samples)))
