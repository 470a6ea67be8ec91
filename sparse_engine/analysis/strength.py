"""Strength of the inputs of a layer, by which QuickSelection ranks features."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch

from sparse_engine import convert
from sparse_engine.analysis.layers import WeightLike
from sparse_engine.convert.scipy import as_canonical, view_as_scipy
from sparse_engine.nn import SparseWeight


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
    if isinstance(weight, torch.Tensor):
        weight = convert.from_torch(weight)
    if isinstance(weight, SparseWeight):
        csr = view_as_scipy(weight)
    elif scipy.sparse.issparse(weight):
        csr = as_canonical(weight)
    else:
        raise TypeError(
            "expected a SparseWeight, a SciPy or torch sparse matrix, found "
            f"{type(weight).__name__}"
        )
    wrong = np.isnan(csr.data)
    if wrong.any():
        raise ValueError(f"expected values that are numbers, found nan at link {wrong.argmax()}")
    # NumPy counts in integers where there are no links.
    sums = np.bincount(csr.indices, np.abs(csr.data), minlength=csr.shape[1])
    return sums.astype(np.float64, copy=False)
