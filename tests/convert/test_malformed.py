"""Malformed matrices of SciPy are refused before SciPy's compiled code, which trusts them."""

import numpy as np
import pytest
import scipy.sparse
import torch
from pairwise import pairwise

from sparse_engine import analysis, convert
from sparse_engine.analysis import RecurrentLayer
from sparse_engine.ops import RandomKey
from sparse_engine.topology import FromGraph

# Whatever takes a matrix of SciPy.
TAKERS = {
    "from_scipy": convert.from_scipy,
    "triad_census": analysis.triad_census,
    "structural_balance": analysis.structural_balance,
    "summary": analysis.summarize,
    "null_model": lambda w: analysis.null_model(w, n=2),
    "anneal": lambda w: analysis.anneal(w, target=1.0),
    "find_feed_forward_loops": analysis.find_feed_forward_loops,
    "topology_distance": lambda w: analysis.topology_distance([w], [w]),
    "recurrent distance": lambda w: analysis.topology_distance(
        [RecurrentLayer(w, w)], [RecurrentLayer(w, w)]
    ),
    "match_units": lambda w: analysis.distance.match_units(w, w),
    "FromGraph": lambda w: FromGraph(w).links(*w.shape, RandomKey(0)),
}


def sparse(form):
    w = scipy.sparse.random_array((6, 6), density=0.4, format="csr", rng=0)
    return w.tobsr((2, 3)) if form == "bsr" else w.asformat(form)


def put(array, position, value):
    array = array.copy()
    array[position] = value
    return array


MALFORMED = {
    "rises and falls": ("indptr", lambda w: put(w.indptr, 1, 40), "rises from 0, found"),
    "negative pointer": ("indptr", lambda w: put(w.indptr, 1, -7), "found -7 at position 1"),
    "first pointer": ("indptr", lambda w: put(w.indptr, 0, 1), "found 1 at position 0"),
    "last pointer": ("indptr", lambda w: put(w.indptr, -1, 99), "found .* at position|ends with"),
    "few pointers": ("indptr", lambda w: w.indptr[:2], "expected indptr of . entries, found 2"),
    "float pointers": ("indptr", lambda w: w.indptr * 1.0, "integer dtype, found float64"),
    "matrix of pointers": ("indptr", lambda w: w.indptr[None], "indptr of 1 dimensions, found 2"),
    "large index": ("indices", lambda w: put(w.indices, 1, 99), "found 99 at position 1"),
    "negative index": ("indices", lambda w: put(w.indices, 1, -1), "found -1 at position 1"),
    "few indices": ("indices", lambda w: w.indices[:1], "indices and entries"),
    "few values": ("data", lambda w: w.data[:1], "indices and entries"),
}


@pairwise(taker=[*TAKERS], form=["csr", "csc", "bsr"], fault=[*MALFORMED])
def test_compressed(taker, form, fault):
    w = sparse(form)
    part, malformed, message = MALFORMED[fault]
    setattr(w, part, malformed(w))
    with pytest.raises(ValueError, match=message):
        TAKERS[taker](w)


def test_blocks_that_do_not_divide():
    w = sparse("bsr")
    w.data = np.repeat(w.data, 2, axis=2)[:, :, :4]
    with pytest.raises(ValueError, match="expected blocks that divide 6 x 6, found 2 x 4"):
        convert.from_scipy(w)


def test_lists_of_different_lengths():
    w = sparse("lil")
    w.data[0].extend([1.0] * 1000)
    with pytest.raises(ValueError, match="6 rows with a value for each column number"):
        convert.from_scipy(w)


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "lil", "dok", "dia"])
@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_well_formed_is_taken_in_every_format(taker, form):
    w = sparse(form)
    if form == "csr":  # columns in any order
        w.indices, w.data = (
            np.concatenate([each[a:b][::-1] for a, b in zip(w.indptr, w.indptr[1:], strict=False)])
            for each in (w.indices, w.data)
        )
        w.has_sorted_indices = False
    TAKERS[taker](w)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.sparse_coo_tensor([[0]], torch.ones(1, 2), (2, 2)), "may have dense dimensions"),
        (
            torch.sparse_coo_tensor([[0], [-9]], [1.0], (2, 2), check_invariants=False),
            "expected cols in .*, found -9",
        ),
        (
            torch.sparse_csr_tensor([0, 40, 2], [0, 1], [1.0, 1], (2, 2), check_invariants=False),
            "found 40 after 0 at position 1",
        ),
        (
            torch.sparse_csr_tensor([0, 1, 2], [0, 9], [1.0, 1], (2, 2), check_invariants=False),
            "found 9 at position 1",
        ),
    ],
)
def test_tensors(tensor, message):
    for take in (convert.from_torch, analysis.triad_census):
        with pytest.raises(ValueError, match=message):
            take(tensor)
