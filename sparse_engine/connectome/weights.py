"""What is trained of the links of a connectome."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from typing_extensions import override

from sparse_engine.nn import FixedSigns, GroupedWeight, SparseWeight
from sparse_engine.nn.options import check_integer

if TYPE_CHECKING:
    from sparse_engine.connectome.table import Connectome
    from sparse_engine.nn.signs import Signs


class Weights(ABC):
    """What is trained of the links; your own is a subclass with one method.

    Example:
        >>> class Halved(Free):
        ...     def make(self, connectome, dtype):
        ...         weight = super().make(connectome, dtype)
        ...         weight.values.data /= 2
        ...         return weight
    """

    @abstractmethod
    def make(self, connectome: Connectome, dtype: torch.dtype | None) -> SparseWeight:
        """Return the weight of a network, with the signed numbers of synapses as values."""

    def constrain(self, weight: SparseWeight, connectome: Connectome) -> Signs | None:
        """Return the constraint that holds while the weight is trained, or None."""
        return None


@dataclass(frozen=True)
class Fixed(Weights):
    """Nothing is trained: strengths are proportional to numbers of synapses.

    Example:
        >>> network = connectome.network(SparseRateRNN, weights=Fixed())
    """

    @override
    def make(self, connectome: Connectome, dtype: torch.dtype | None) -> SparseWeight:
        weight = connectome.weight(dtype=dtype)
        return weight.requires_grad_(False)


@dataclass(frozen=True)
class Free(Weights):
    """Every synapse is trained, and may change its sign.

    Example:
        >>> network = connectome.network(SparseRateRNN, weights=Free())
    """

    @override
    def make(self, connectome: Connectome, dtype: torch.dtype | None) -> SparseWeight:
        return connectome.weight(dtype=dtype)


@dataclass(frozen=True)
class DaleLaw(Free):
    """Every synapse is trained and keeps its sign: Dale's law, where signs are those of neurons.

    A link of unknown sign is excitatory.

    Example:
        >>> network = connectome.network(SparseRateRNN, weights=DaleLaw())
    """

    @override
    def constrain(self, weight: SparseWeight, connectome: Connectome) -> Signs:
        signs = torch.from_numpy(np.where(connectome.sign < 0, -1, 1).astype(np.int8))
        return FixedSigns(weight, signs)


@dataclass(frozen=True)
class TypePairs(Weights):
    """One positive gain for each pair of cell types is trained (Lappalainen et al., Nature 2024).

    Gain ``g`` is that of the pair in row g of :meth:`pairs`.

    Attributes:
        column: column of the table of neurons with the types.

    Example:
        >>> network = connectome.network(SparseRateRNN, weights=TypePairs("type"))
    """

    column: str = "type"

    def pairs(self, connectome: Connectome) -> pd.DataFrame:
        """Return the pairs that have links, as ``pre, post``, in the order of the gains."""
        return self._groups(connectome)[1]

    @override
    def make(self, connectome: Connectome, dtype: torch.dtype | None) -> SparseWeight:
        base = connectome.weight(dtype=dtype)
        group, pairs = self._groups(connectome)
        gain = base.values.new_ones(len(pairs))
        return GroupedWeight(base.values, connectome.pattern, torch.from_numpy(group), gain=gain)

    @override
    def constrain(self, weight: SparseWeight, connectome: Connectome) -> Signs:
        return FixedSigns(weight)

    def _groups(self, connectome: Connectome) -> tuple[np.ndarray, pd.DataFrame]:
        code, names = pd.factorize(connectome.column(self.column).fillna(""), sort=True)
        pair = code[connectome.pre].astype(np.int64) * len(names) + code[connectome.post]
        found, group = np.unique(pair, return_inverse=True)
        ends = {"pre": names[found // len(names)], "post": names[found % len(names)]}
        return group.astype(np.int32), pd.DataFrame(ends)


class LowRankWeight(SparseWeight):
    """Sparse weight with a matrix of low rank added: ``S + left @ right.T``.

    The matrix is never made; networks with such a weight run step by step.

    Attributes:
        left: Parameter ``[out_features, rank]``, zeros at first.
        right: Parameter ``[in_features, rank]``.
    """

    left: nn.Parameter
    right: nn.Parameter
    by_steps = True

    @override
    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return ``x @ (S + left @ right.T).T + bias``."""
        return super().forward(x, bias) + (x @ self.right) @ self.left.T

    @override
    def to_dense(self) -> Tensor:
        """Return the dense matrix; for tests and small weights only."""
        return super().to_dense() + self.left @ self.right.T


@dataclass(frozen=True)
class LowRank(Weights):
    """The links are fixed, and a dense matrix of low rank beside them is trained.

    Attributes:
        rank: rank of the matrix.
        seed: seed of its first factor; the other starts at 0, and so does the matrix.

    Example:
        >>> network = connectome.network(SparseRateRNN, weights=LowRank(rank=2))
    """

    rank: int
    seed: int = 0

    @override
    def make(self, connectome: Connectome, dtype: torch.dtype | None) -> SparseWeight:
        check_integer("rank", self.rank, least=1)
        links = connectome.weight(dtype=dtype)
        weight = LowRankWeight(links.values.detach(), connectome.pattern)
        weight.values.requires_grad_(False)
        weight.frozen_pattern = True
        size, like = (len(connectome), self.rank), weight.values
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(size, generator=generator, dtype=like.dtype) / len(connectome) ** 0.5
        weight.left, weight.right = nn.Parameter(like.new_zeros(size)), nn.Parameter(drawn)
        return weight
