"""Spectral radius: the eigenvalue that decides whether activity grows."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigs

from sparse_engine.analysis.graph import GraphLike, as_csr

# Up to this number of nodes the dense matrix is smaller than the memory of ARPACK.
DENSE = 64


def spectral_radius(w: GraphLike) -> float:
    """Return the largest magnitude of an eigenvalue: ``np.abs(np.linalg.eigvals(W)).max()``.

    ARPACK computes it from a fixed initial vector. The radius is 0 where no link is in a cycle.

    Raises:
        TypeError: not a graph.
        ValueError: not square, not a valid matrix or file, or a value that is not finite.
        scipy.sparse.linalg.ArpackNoConvergence: too many eigenvalues are almost as large.
    """
    csr = as_csr(w).astype(np.float64)
    wrong = ~np.isfinite(csr.data)
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(f"expected finite values, found {csr.data[at]} at link {at}")
    n = csr.shape[0]
    components, _ = connected_components(csr, connection="strong")
    if components == n and not csr.diagonal().any():
        return 0.0
    if n <= DENSE:
        return float(np.abs(np.linalg.eigvals(csr.toarray())).max())
    start = np.random.Generator(np.random.Philox(0)).standard_normal(n)
    largest = eigs(csr, k=6, v0=start, ncv=DENSE, return_eigenvectors=False)
    return float(np.abs(largest).max())
