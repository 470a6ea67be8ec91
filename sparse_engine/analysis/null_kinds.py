"""The random graphs that a graph is compared with."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from sparse_engine.analysis._triads import Kind
from sparse_engine.analysis.graph import GraphLike, as_csr, native, threads
from sparse_engine.analysis.motifs import by_type, types

# Moves for each link below which random graphs are thought to be those that were there.
LEAST_MOVES = 0.1


class NullKind(ABC):
    """What random graphs keep of a given one. One of your own is a subclass with :meth:`draw`."""

    @abstractmethod
    def draw(self, w: GraphLike, *, seed: int = 0, sample: int = 0) -> csr_array:
        """Random graph number ``sample``: a function of the arguments alone.

        Args:
            w: whatever :func:`~sparse_engine.analysis.graph.as_csr` takes.
            seed: of the random numbers, in [0, 2^64).
            sample: in [0, 2^32).

        Raises:
            TypeError: not a graph.
            ValueError: not square, not a valid matrix or file, or a number out of range.
        """

    def count(self, w: GraphLike, *, seed: int, samples: range) -> np.ndarray:
        """How many triads of each type the random graphs have, int64 ``[samples, types]``."""
        drawn = (as_csr(self.draw(w, seed=seed, sample=sample)) for sample in samples)
        return np.stack([by_type(native(csr).count(threads())) for csr in drawn])


class _Native(NullKind):
    """A kind that the native code knows; it draws samples in parallel."""

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
        """Warns where random graphs are made by moves, of which there were too few.

        Args:
            edges: links or mutual pairs that could move, of all random graphs.
            changes: moves that were made.
        """


@dataclass(frozen=True)
class SignShuffle(_Native):
    """The same links, self-loops included, among which the values are permuted."""

    def _kind(self) -> Kind:
        return Kind.sign_shuffle()


@dataclass(frozen=True)
class ErdosRenyiNull(_Native):
    """The same values on as many links, anywhere but at self-loops, which stay where they are.

    The wiring that a network starts from is :class:`sparse_engine.topology.ErdosRenyi`.
    """

    def _kind(self) -> Kind:
        return Kind.erdos_renyi()


@dataclass(frozen=True)
class DegreePreserving(_Native):
    """Every node keeps its links in and out, in number; all such graphs are as likely.

    Two moves make the graphs, where that makes no self-loop and no link that is there already:
    a->b and c->d become a->d and c->b (after Maslov and Sneppen, "Specificity and stability in
    topology of protein networks", 2002), and a->b->c->a becomes a->c->b->a (Roberts and Coolen,
    "Unbiased degree-preserving randomization of directed binary networks", 2012). A value stays
    with its source; on which of its links is drawn. Self-loops stay.

    Without ``keep_mutual`` and ``keep_signs`` the two moves reach every graph. With them they do
    not always; so graphs of up to 32 nodes are changed by random walks through graphs of other
    degrees and back, too, to which nothing small is out of reach. Larger graphs of a density near 1
    may have parts that are not reached.

    Attributes:
        keep_mutual: every node keeps its number of mutual pairs, too: these are moved among
            themselves, and no move makes one.
        keep_signs: only links of the same sign (mutual pairs of the same two) are moved, so that
            every node keeps its links in and out of each sign; otherwise only those out.
        proposals: of swaps, for each link or mutual pair, at least 1. Where fewer than a tenth as
            many moves as links were possible, :func:`null_model` warns.
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
