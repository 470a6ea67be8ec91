"""Feed-forward loops against a literal reading, and networks that they are planted in."""

from importlib import import_module
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array

from sparse_engine.analysis import (
    find_feed_forward_loops,
    planted_network,
    signed_network,
    structural_balance,
)

module = import_module("sparse_engine.analysis.lesion")


@settings(max_examples=60)
@given(
    n=st.integers(1, 9),
    density=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    at_once=st.sampled_from([1, 7, 10_000]),
    seed=st.integers(0, 2**32),
)
def test_every_loop_is_found(n, density, at_once, seed):
    dense = np.random.default_rng(seed).random((n, n)) < density
    w = csr_array(dense.astype(float))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        found = find_feed_forward_loops(w)
    expected = [
        (u, v, w)
        for u, v, w in permutations(range(n), 3)
        if dense[v, u] and dense[w, v] and dense[w, u]
    ]
    expected.sort(key=lambda loop: (loop[2], loop[0], loop[1]))
    assert found.dtype == np.int64 and found.shape == (len(expected), 3)
    assert [*map(tuple, found.tolist())] == expected
    assert len(found) == structural_balance(w).transitive[1]


def test_planted_loops_are_all_that_their_nodes_have():
    network = planted_network(60, 0.1, loops=9, balanced=1 / 3, seed=5)
    graph, loops = network
    assert graph.shape == (60, 60) and loops.shape == (9, 3) and set(graph.data) == {-1.0, 1.0}
    found = {*map(tuple, find_feed_forward_loops(graph).tolist())}
    assert {*map(tuple, loops.tolist())} <= found
    dense = graph.toarray()
    signs = [dense[v, u] * dense[w, v] * dense[w, u] for u, v, w in loops]
    assert sorted(signs) == [-1] * 6 + [1] * 3
    degree = (dense != 0).sum(0) + (dense != 0).sum(1)
    alone = [[node for node in loop if degree[node] == 2] for loop in loops.tolist()]
    assert all(len(pair) >= 2 for pair in alone)
    roles = {loop.index(node) for loop, pair in zip(loops.tolist(), alone, strict=True)
             for node in pair}  # fmt: skip
    assert roles == {0, 1, 2}
    # Elsewhere the network is the one it was made of.
    before = signed_network(60, 0.1, seed=5).toarray()
    others = np.flatnonzero(~np.isin(np.arange(60), [node for pair in alone for node in pair]))
    np.testing.assert_array_equal(dense[np.ix_(others, others)], before[np.ix_(others, others)])


def test_planting_is_a_function_of_the_seed():
    first, again, other = (planted_network(40, 0.1, seed=seed) for seed in (1, 1, 2))
    assert (first.graph != again.graph).nnz == 0 and (first.loops == again.loops).all()
    assert (first.loops != other.loops).any()


TRIANGLE = coo_array((np.ones(3), ([1, 2, 2], [0, 1, 0])), shape=(3, 3)).tocsr()


def test_positions_of_links():
    assert module.links_of_loops(TRIANGLE, np.array([[0, 1, 2]])).tolist() == [[0, 2, 1]]
    assert module.links_of_loops(TRIANGLE, np.empty((0, 3), np.int64)).shape == (0, 3)
