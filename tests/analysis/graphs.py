"""Signed directed graphs, as SciPy's CSR."""

import numpy as np
from hypothesis import strategies as st
from scipy.sparse import coo_array, random_array

from sparse_engine.analysis import DegreePreserving

#: Every kind of null model that keeps degrees.
DEGREE_PRESERVING = [
    DegreePreserving(keep_mutual=mutual, keep_signs=signs)
    for mutual in (False, True)
    for signs in (False, True)
]


@st.composite
def signed_digraphs(draw, *, least=1, most=12):
    """A few nodes with self-loops, mutual links and stored zeros."""
    n = draw(st.integers(least, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.1, 0.3, 0.6, 0.98, 1.0]))
    rows, cols = np.nonzero(rng.random((n, n)) < density)
    values = rng.choice([-1.5, -0.1, 0.0, 0.2, 2.0], len(rows))
    return coo_array((values, (rows, cols)), shape=(n, n)).tocsr()


def graph(n, density, seed=0):
    """Random links, half of them negative."""
    w = random_array((n, n), density=density, format="csr", rng=seed)
    w.data -= 0.5
    return w
