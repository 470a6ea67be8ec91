"""The structural balance of a weight along training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from sparse_engine import convert
from sparse_engine.analysis import structural_balance, triad_census
from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Rewired
from sparse_engine.topology.measure import Measure, Record


@dataclass(frozen=True)
class Balance(Measure):
    """Measures the balance of square weights: entries as of :meth:`BalanceReport.to_dict`.

    The links that this rewiring grew are left out: they have not been trained, and as long as they
    are 0 every semicycle through one would count as unbalanced. What is left is the "core" of Zhang
    et al., "Universal structural patterns in sparse recurrent neural networks", 2023.

    Attributes:
        every: rewirings of a weight from one measurement to the next, at least 1.
        census: whether to count the triads, too, as ``census``: class to number.

    Example:
        >>> tracker = Tracker(rewiring, log.write, measures=[Balance(every=10)])
    """

    census: bool = False

    def of(self, weight: SparseWeight, rewired: Rewired) -> Record:
        """See :meth:`Measure.of`."""
        rows, cols = weight.shape
        if rows != cols:
            return {}
        links = convert.to_scipy(weight).tocoo()
        core = np.ones(links.nnz, bool)
        core[rewired.born.cpu().numpy()] = False
        graph = coo_array((links.data[core], (links.row[core], links.col[core])), links.shape)
        record = structural_balance(graph).to_dict()
        if self.census:
            record["census"] = triad_census(graph)
        return record
