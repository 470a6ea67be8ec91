"""Rewiring of links, and carrying what belongs to them."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from kernels import plain
from testing import patterns, random_pattern, refusals

from sparse_engine import ops
from sparse_engine.ops import Pattern


@given(
    pattern=patterns(),
    kept=st.sampled_from([0.0, 0.5, 0.98, 1.0]),
    grown=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_rewire(pattern, kept, grown):
    links, (rows, cols) = pattern.links, pattern.shape
    keep = torch.rand(links.nnz) < kept
    present = torch.zeros(rows * cols, dtype=torch.bool)
    present[links.positions()[keep]] = True
    cells = (~present & (torch.rand(rows * cols) < grown)).nonzero().squeeze(1)
    rewired = ops.topology.rewire(links, keep, cells)
    present[cells] = True
    assert torch.equal(rewired.links.positions(), present.nonzero().squeeze(1))
    Pattern.from_csr(rewired.links.crow, rewired.links.col, (rows, cols))
    assert torch.equal(rewired.links.positions()[rewired.born.long()], cells)
    moved = rewired.slot_map[keep].long()
    assert torch.equal(rewired.links.positions()[moved], links.positions()[keep])
    assert (rewired.slot_map[~keep] == -1).all()


LINKS = random_pattern(70, 100, 800).links
ALL = torch.ones(800, dtype=torch.bool)
CELLS = LINKS.positions()


def rewired(keep, cells):
    return lambda: ops.topology.rewire(LINKS, keep, cells)


EXISTING = "absent, found an existing link at row {}, column {}$"
test_rewire_refuses_what_does_not_fit = refusals(
    *(
        (EXISTING.format(*divmod(int(CELLS[at]), 100)), rewired(ALL, CELLS[at : at + 1]))
        for at in (3, 100, 799)
    ),
    (r"increasing in \[0, 7000\), found 7000 at position 0", rewired(ALL, torch.tensor([7000]))),
    ("found -1 at position 0", rewired(ALL, torch.tensor([-1]))),
    ("found 5 at position 1", rewired(ALL, torch.tensor([5, 5]))),
    ("found 5 at position 1", rewired(ALL, torch.tensor([6, 5]))),
    ("cells of dtype int64, found int32", rewired(ALL, torch.tensor([5], dtype=torch.int32))),
    (r"cells of shape \[1\], found \[1, 1\]", rewired(ALL, torch.tensor([[5]]))),
    (r"keep of shape \[800\], found \[3\]", rewired(ALL[:3], CELLS[:0])),
    ("keep of dtype bool, found int32", rewired(ALL.int(), CELLS[:0])),
)


DTYPES = [
    *(torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
]


@given(data=st.data(), dtype=st.sampled_from(DTYPES))
def test_carry(data, dtype):
    nnz = data.draw(st.integers(0, 200))
    keep = torch.rand(nnz) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    size = data.draw(st.sampled_from([nnz, int(keep.sum()), nnz + 7]))
    slot_map = torch.full((nnz,), -1, dtype=torch.int32)
    slot_map[keep] = torch.randperm(size)[: int(keep.sum())].sort().values.int()
    tensor = torch.randint(0, 100, (nnz,)).to(dtype)
    carried = ops.topology.carry(tensor, slot_map, size)
    assert carried.dtype == dtype
    assert torch.equal(carried, plain.carry(tensor, slot_map, size))
    if size == nnz:
        assert ops.topology.carry_(tensor, slot_map) is tensor
        assert torch.equal(tensor, carried)


def test_carry_moves_bits_as_they_are():
    tensor = torch.tensor([torch.nan, -0.0, torch.inf, 1e-44, 5.0])
    slot_map = torch.tensor([1, 2, 4, 5, -1], dtype=torch.int32)
    carried = ops.topology.carry(tensor, slot_map, 6)
    bits = carried.view(torch.int32)
    assert torch.equal(bits[[1, 2, 4, 5]], tensor.view(torch.int32)[:4])
    assert torch.equal(bits[[0, 3]], torch.zeros(2, dtype=torch.int32))


def carried(tensor, last):
    slots = torch.tensor([0, 1, last], dtype=torch.int32)
    return lambda: ops.topology.carry(tensor, slots, 9)


test_carry_refuses_what_does_not_fit = refusals(
    (r"expected slots in \[-1, 9\), found 9", carried(torch.ones(3), 9)),
    (r"expected slots in \[-1, 9\), found -2", carried(torch.ones(3), -2)),
    (r"expected tensor of shape \[3\], found \[4\]", carried(torch.ones(4), 2)),
    (r"expected tensor of shape \[3\], found \[3, 1\]", carried(torch.ones(3, 1), 2)),
    ("of 1, 2, 4 or 8 bytes, found 16", carried(torch.ones(3).to(torch.complex128), 2)),
)
