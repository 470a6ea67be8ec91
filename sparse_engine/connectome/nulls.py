"""Nulls of a connectome's wiring: random connectomes that share some of its properties."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from typing_extensions import override

from sparse_engine.analysis import DegreePreserving, ErdosRenyiNull
from sparse_engine.analysis.null_model import NullKind
from sparse_engine.connectome.stream import Synapses
from sparse_engine.connectome.table import Connectome


class Null(ABC):
    """Kind of random connectome; your own is a subclass with one method.

    Neurons, numbers of synapses and signs are those of the connectome; only which link has which
    ends, or which numbers, is random.

    Example:
        >>> class Itself(Null):
        ...     def draw(self, connectome, seed):
        ...         return connectome
    """

    @abstractmethod
    def draw(self, connectome: Connectome, seed: int) -> Connectome:
        """Return a random connectome, which follows from the arguments alone."""


@dataclass(frozen=True)
class _Moved(Null):
    """Synapses moved by a kind of random graph of :mod:`sparse_engine.analysis`."""

    kind: NullKind = field(init=False, repr=False)

    def draw(self, connectome: Connectome, seed: int) -> Connectome:
        # The number of each link goes through as its value, with the sign.
        csr = connectome.csr()
        csr.data = np.sign(csr.data) * np.arange(1, connectome.nnz + 1)
        drawn = self.kind.draw(csr, seed=seed).tocsr()
        return _with_links(connectome, drawn, np.abs(drawn.data).astype(np.int64) - 1)


@dataclass(frozen=True)
class SameDensity(_Moved):
    """As many links with the same numbers of synapses, anywhere; self-links stay.

    Example:
        >>> random = SameDensity().draw(connectome, seed=0)
    """

    kind: NullKind = field(default=ErdosRenyiNull(), init=False, repr=False)


@dataclass(frozen=True)
class SameDegrees(_Moved):
    """Every neuron keeps its numbers of links in and out, and the sign of those out.

    Example:
        >>> random = SameDegrees().draw(connectome, seed=0)
    """

    kind: NullKind = field(default=DegreePreserving(keep_signs=False), init=False, repr=False)


@dataclass(frozen=True)
class SameDegreesAndSigns(_Moved):
    """Every neuron keeps its numbers of links in and out of each sign.

    Example:
        >>> random = SameDegreesAndSigns().draw(connectome, seed=0)
    """

    kind: NullKind = field(default=DegreePreserving(keep_signs=True), init=False, repr=False)


@dataclass(frozen=True)
class SameDegreesAndTypes(Null):
    """Every neuron keeps its numbers of links from and to each type of neurons, and their signs.

    Attributes:
        column: column of the table of neurons with the types.

    Example:
        >>> random = SameDegreesAndTypes(column="type").draw(connectome, seed=0)
    """

    column: str = "type"

    @override
    def draw(self, connectome: Connectome, seed: int) -> Connectome:
        codes, names = pd.factorize(connectome.column(self.column).fillna(""))
        post, pre = connectome.post, connectome.pre
        pair = codes[post].astype(np.int64) * len(names) + codes[pre]
        order = np.argsort(pair, kind="stable")
        starts = np.flatnonzero(np.diff(pair[order], prepend=-1))
        signs = np.where(connectome.sign < 0, -1, 1)
        kind, moved = DegreePreserving(), (np.empty_like(order), np.empty_like(order))
        for sample, links in enumerate(np.split(order, starts[1:]) if len(order) else ()):
            ends, local = np.unique(np.concatenate([post[links], pre[links]]), return_inverse=True)
            rows, cols = local[: len(links)], local[len(links) :]
            value = signs[links] * (1.0 + np.arange(len(links)))
            block = csr_array((value, (rows, cols)), shape=(len(ends),) * 2)
            drawn = kind.draw(block, seed=seed, sample=sample).tocoo()
            slot = links[np.abs(drawn.data).astype(np.int64) - 1]
            moved[0][slot], moved[1][slot] = ends[drawn.row], ends[drawn.col]
        values = np.arange(len(order))
        drawn = csr_array((values, moved), shape=connectome.pattern.shape).tocsr()
        return _with_links(connectome, drawn, drawn.data)


@dataclass(frozen=True)
class ShuffledWeights(Null):
    """All links stay with their signs; numbers of synapses are permuted among links of a sign.

    Example:
        >>> random = ShuffledWeights().draw(connectome, seed=0)
    """

    @override
    def draw(self, connectome: Connectome, seed: int) -> Connectome:
        random, count = np.random.default_rng(seed), connectome.count.copy()
        for sign in (-1, 0, 1):
            links = np.flatnonzero(connectome.sign == sign)
            count[links] = count[random.permutation(links)]
        crow, col = connectome.pattern.crow.numpy(), connectome.pre
        return Connectome(connectome.neurons, Synapses(crow, col, count, connectome.sign))


#: The nulls that need no column, from the one that keeps least.
NULLS = (SameDensity(), SameDegrees(), SameDegreesAndSigns(), ShuffledWeights())


def _with_links(connectome: Connectome, drawn: csr_array, slot: np.ndarray) -> Connectome:
    """Return a connectome with the links of a matrix; ``slot`` is which of its own each was."""
    crow, col = drawn.indptr.astype(np.int64), drawn.indices.astype(np.int32)
    links = Synapses(crow, col, connectome.count[slot], connectome.sign[slot])
    return Connectome(connectome.neurons, links)
