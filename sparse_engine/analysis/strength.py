"""Strength of the inputs of a layer, by which QuickSelection ranks features."""

from __future__ import annotations

import numpy as np

from sparse_engine.analysis.graph import WeightLike, as_matrix


def input_strength(weight: WeightLike) -> np.ndarray:
    """Return the sum of ``|w|`` over the links out of each input, float64 ``[inputs]``.

    QuickSelection (Atashgahi et al. 2022) takes it as the importance of features, with the first
    weight of a network trained by SET: ``input_strength(w).argsort()[::-1][:k]`` are the k
    strongest inputs.

    Args:
        weight: ``[outputs, inputs]``: a SparseWeight, a SciPy or torch sparse matrix.

    Raises:
        TypeError: another kind of weight.
        ValueError: a matrix that is not valid, or a value that is not a number.
    """
    csr = as_matrix(weight)
    # NumPy counts in integers where there are no links.
    sums = np.bincount(csr.indices, np.abs(csr.data), minlength=csr.shape[1])
    return sums.astype(np.float64, copy=False)
