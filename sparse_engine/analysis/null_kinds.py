"""Kinds of random graphs for null models."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from sparse_engine.analysis._triads import Kind
from sparse_engine.analysis.graph import GraphLike, as_csr, native, threads
from sparse_engine.analysis.motifs import by_type, types

# With fewer moves for each link than this, random graphs are too close to the given one.
LEAST_MOVES = 0.1


class NullKind(ABC):
    """Kind of random graphs made from a given one. Your own is a subclass with one method."""

    @abstractmethod
    def draw(self, w: GraphLike, *, seed: int = 0, sample: int = 0) -> csr_array:
        """Return random graph number ``sample``, which follows from the arguments alone.

        Args:
            w: a graph, see :func:`~sparse_engine.analysis.graph.as_csr`.
            seed: seed of the random numbers, in [0, 2^64).
            sample: number of the random graph, in [0, 2^32).

        Raises:
            TypeError: not a graph.
            ValueError: not square, not a valid matrix or file, or a number out of range.
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
        self._check(edges, changes)
        return counts

    def _check(self, edges: int, changes: int) -> None:
        """Warn about random graphs with too few moves, if this kind makes moves.

        Args:
            edges: number of links or mutual pairs that could move, in all random graphs.
            changes: number of moves.
        """


@dataclass(frozen=True)
class SignShuffle(_Native):
    """Random signs: all links stay, self-loops included, and their values are permuted."""

    def _kind(self) -> Kind:
        return Kind.sign_shuffle()


@dataclass(frozen=True)
class ErdosRenyiNull(_Native):
    """Random positions: as many links with the same values, anywhere. Self-loops stay in place.

    A random wiring for a network to start with is :class:`sparse_engine.topology.ErdosRenyi`.
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
    """

    keep_mutual: bool = False
    keep_signs: bool = True
    proposals: int = 10

    def __post_init__(self) -> None:
        if self.proposals < 1:
            raise ValueError(f"expected proposals of at least 1, found {self.proposals}")

    def _kind(self) -> Kind:
        return Kind.degree_preserving(self.keep_mutual, self.keep_signs, self.proposals)

    def _check(self, edges: int, changes: int) -> None:
        if LEAST_MOVES * edges > changes:
            warnings.warn(
                f"expected random graphs that move away from the given one, found {changes} moves "
                f"of {edges} links or mutual pairs with {self}: few other graphs keep all this, or "
                "few were found. z-scores are nan or say little; keep less, or propose more",
                stacklevel=4,
            )
