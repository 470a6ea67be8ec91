"""Which balance an annealing is after."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from sparse_engine.analysis import semicycles
from sparse_engine.analysis.motifs import class_of, types


@dataclass(frozen=True)
class Objective(ABC):
    """The mean over some groups of semicycles of the share that is balanced.

    Groups without semicycles do not count. A group of your own is a subclass with one method.
    """

    @abstractmethod
    def table(self) -> np.ndarray:
        """Balanced and all semicycles of each group in a triad of each code.

        Returns:
            int64 ``[CODES, groups, 2]``, see :mod:`sparse_engine.analysis.codes`; 0 for codes that
            are no closed triad.
        """

    def of(self, sums: np.ndarray) -> np.ndarray:
        """float64 ``[...]`` of the table's sums over graphs' triads, ``[..., groups, 2]``.

        nan where there are no semicycles.
        """
        balanced, total = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore"):
            shares = np.where(total > 0, balanced / total, 0)
            return shares.sum(-1) / (total > 0).sum(-1)


@dataclass(frozen=True)
class ClassMean(Objective):
    """``structural_balance(w).class_mean``: 030T, 120D, 120U and 300 are a group each."""

    def table(self) -> np.ndarray:
        """See :meth:`Objective.table`."""
        inside = class_of()[:, None] == np.array(semicycles.BALANCE_CLASSES)
        return (inside[:, :, None] * semicycles.of_types()[:, None, :])[types().of_code]


@dataclass(frozen=True)
class Pooled(Objective):
    """``structural_balance(w).pooled``: the semicycles of all four classes together."""

    def table(self) -> np.ndarray:
        """See :meth:`Objective.table`."""
        return ClassMean().table().sum(1, keepdims=True)
