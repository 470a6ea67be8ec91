"""Measures of balance that an annealing can bring to a target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from sparse_engine.analysis import semicycles
from sparse_engine.analysis.motifs import class_of, types


@dataclass(frozen=True)
class BalanceObjective(ABC):
    """Measure of balance: the mean, over groups of semicycles, of the balanced fraction.

    Groups without semicycles do not count. Your own groups are a subclass with one method.
    """

    @abstractmethod
    def table(self) -> np.ndarray:
        """Return the numbers of balanced and of all semicycles of each group, by triad code.

        Returns:
            int64 ``[CODES, groups, 2]``, see :mod:`sparse_engine.analysis.triad_codes`; 0 for codes
            of triads that are not closed.
        """

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
class ClassMean(BalanceObjective):
    """Balance ``structural_balance(w).class_mean``: 030T, 120D, 120U and 300 are a group each."""

    @override
    def table(self) -> np.ndarray:
        inside = class_of()[:, None] == np.array(semicycles.BALANCE_CLASSES)
        return (inside[:, :, None] * semicycles.of_types()[:, None, :])[types().of_code]


@dataclass(frozen=True)
class Pooled(BalanceObjective):
    """Balance ``structural_balance(w).pooled``: all four classes are one group."""

    @override
    def table(self) -> np.ndarray:
        return ClassMean().table().sum(1, keepdims=True)
