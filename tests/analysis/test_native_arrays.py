"""Native code takes the arrays that it was written for, and no others."""

import numpy as np
import pytest
from sparse_engine.analysis._triads import CODES, Graph

PTR, IDX, STATES = (
    np.array([0, 2, 3, 4]), np.array([1, 2, 2, 0], np.int32), np.array([1, 2, 1, 1], np.uint8)
)  # fmt: skip


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ((PTR, IDX.astype(np.int64), STATES), r"int32 with 1 dimensions, found int64 \(4,\)"),
        ((PTR.astype(np.int32), IDX, STATES), r"int64 with 1 dimensions, found int32 \(4,\)"),
        ((PTR[None], IDX, STATES), r"int64 with 1 dimensions, found int64 \(1, 4\)"),
        ((PTR, np.repeat(IDX, 2)[::2], STATES), "contiguous"),
        ((PTR, IDX, [1, 2, 1, 1]), "uint8 with 1 dimensions, found list"),
    ],
)
def test_another_array_is_an_error(arrays, found):
    with pytest.raises(ValueError, match=found):
        Graph(*arrays)


def test_a_graph_keeps_its_arrays():
    """The arrays that a graph reads live as long as it does."""
    graph = Graph(PTR.copy(), IDX.copy(), STATES.copy())
    first = graph.count(1)
    trash = [np.full(4, 7, np.int32) for _ in range(1000)]
    np.testing.assert_array_equal(graph.count(1), first)
    assert first.shape == (CODES,) and first.sum() == 1 and len(trash) == 1000
