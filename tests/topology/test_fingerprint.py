"""The topology hash: fixed bytes, and a change if and only if the links change."""

import hashlib
import struct

import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from sparse_engine.nn import SparseWeight
from sparse_engine.testing import awkward_patterns, patterns
from sparse_engine.topology import SET, topology_hash


def literal_hash(weight):
    """The same from Python's own integers."""
    crow, col = weight.crow_indices.tolist(), weight.col_indices.tolist()
    packed = struct.pack(f"<{2 + len(crow)}q{len(col)}i", *weight.shape, *crow, *col)
    return hashlib.blake2b(packed, digest_size=16).hexdigest()


def test_is_the_same_on_every_machine():
    weight = SparseWeight.from_dense(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]]))
    assert topology_hash(weight) == "c0df70d99a4ef8e6724b1e7c8ea1949d"


def test_literally():
    for pattern in awkward_patterns().values():
        weight = SparseWeight(torch.zeros(pattern.nnz), pattern)
        assert topology_hash(weight) == literal_hash(weight)


@given(first=patterns(), second=patterns())
def test_differs_where_the_links_do(first, second):
    one, two = (SparseWeight(torch.randn(p.nnz), p) for p in (first, second))
    same = first.shape == second.shape and torch.equal(first.links.cells(), second.links.cells())
    assert (topology_hash(one) == topology_hash(two)) == same


@given(pattern=patterns(), data=st.data())
def test_one_link_elsewhere_is_enough(pattern, data):
    rows, cols = pattern.shape
    assume(0 < pattern.nnz < rows * cols)
    weight = SparseWeight(torch.randn(pattern.nnz), pattern)
    mask = weight.pattern.dense(torch.ones(pattern.nnz)).bool().flatten()
    mask[data.draw(st.sampled_from(mask.nonzero().flatten().tolist()))] = False
    mask[data.draw(st.sampled_from((~mask).nonzero().flatten().tolist()))] = True
    moved = SparseWeight.from_dense(mask.view(rows, cols).float())
    same = torch.equal(moved.pattern.links.cells(), pattern.links.cells())
    assert (topology_hash(moved) == topology_hash(weight)) == same


def test_shape_counts_and_values_do_not(weight_of):
    weight = weight_of(torch.randn(20), 10, 10)
    before = topology_hash(weight)
    wide = SparseWeight.from_csr(
        weight.crow_indices, weight.col_indices, weight.values.detach(), (10, 11)
    )
    assert topology_hash(wide) != before
    with torch.no_grad():
        weight.values.normal_()
    assert topology_hash(weight) == before
    SET(weight, None, fraction=0.0, every=1).step()
    assert weight.topology_version == 1 and topology_hash(weight) == before
