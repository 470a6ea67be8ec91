"""Sequences of different lengths: what is read of them, and what is refused.

That they equal the equations is in test_equations.py, and segments of them in test_sequences.py.
"""

import pytest
import torch
from contract.networks import PACKABLE, make, outcome, run
from testing import leaves_of
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from sparse_engine.errors import InputError

EVERY = pytest.mark.parametrize("form", PACKABLE)


@EVERY
@pytest.mark.parametrize("batch_first", [False, True])
def test_what_follows_a_sequence_is_neither_read_nor_written(form, batch_first):
    network = make(form, torch.float32, batch_first=batch_first)
    lengths = torch.tensor([2, 5, 3], dtype=torch.int32)
    (x,) = leaves_of(network, 7, 3, initial=False)
    over = torch.arange(7)[:, None] >= lengths
    over = over.T if batch_first else over
    x[over] = torch.nan
    found = outcome(network, [x], lengths=lengths)
    y, dx = found["result 0"], found["argument 0"]
    assert (y[over] == 0).all() and (y[~over] != 0).any(-1).all()
    assert (dx[over] == 0).all()
    assert all(each.isfinite().all() for each in found.values())


@EVERY
def test_full_lengths_change_nothing(form):
    network = make(form, torch.float32, num_layers=2, bidirectional=True)
    for lengths in ([5] * 20, []):
        leaves = leaves_of(network, 5, len(lengths))
        found = run(network, *leaves, lengths=lengths)
        assert all(map(torch.equal, found, run(network, *leaves)))


@pytest.mark.parametrize("form", [form for form in PACKABLE if "," not in form])
def test_lengths_that_do_not_fit(form):
    network, x = make(form, torch.float32), torch.randn(4, 3, 6)
    for lengths, message in [
        ([4, 5, 2], r"expected lengths in \[1, 4\], found 5 at position 1"),
        ([4, 1, 0], r"expected lengths in \[1, 4\], found 0 at position 2"),
        ([4, -1, 0], r"expected lengths in \[1, 4\], found -1 at position 1"),
        ([4, 1], r"expected lengths of shape \[3\], found \[2\]"),
        (4, r"expected lengths of shape \[3\], found \[\]"),
        ([4.0, 1.0, 1.0], "expected lengths of an integer dtype, found torch.float32"),
        (torch.ones(3, dtype=torch.bool), "expected lengths of an integer dtype, found torch.bool"),
        (torch.ones(3, device="meta"), "expected lengths on the CPU, found them on meta"),
    ]:
        with pytest.raises(InputError, match=message):
            network(x, lengths=lengths)
    with pytest.raises(InputError, match="expected no lengths for a single sequence"):
        network(x[:, 0], lengths=[4])


@pytest.mark.parametrize("form", [form for form in PACKABLE if "," not in form])
def test_packed_sequences_that_do_not_fit(form):
    network = make(form, torch.float32)
    packed = pack_sequence([torch.randn(3, 6), torch.randn(2, 6)])
    with pytest.raises(ValueError, match="expected no lengths beside a PackedSequence"):
        network(packed, lengths=[3, 2])
    with pytest.raises(ValueError, match=r"input of shape \[rows, 6\], found \[5, 7\]"):
        network(pack_sequence([torch.randn(3, 7), torch.randn(2, 7)]))
    with pytest.raises(ValueError, match="dtype float32, found float64"):
        network(packed.double())
    for sizes, message in [
        ([1, 2], "batch_sizes of at least 1 that never grow, found 2 at position 1"),
        ([2, 0], "batch_sizes of at least 1 that never grow, found 0 at position 1"),
        ([2, 2], "expected x of 4 rows, as batch_sizes add up to, found 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            network(PackedSequence(torch.randn(3, 6), torch.tensor(sizes)))
    size = network.size_of("h0")
    message = rf"h0 of shape \[1, 2, {size}\], found \[1, 3, {size}\]"
    with pytest.raises(ValueError, match=message):
        run(network, packed, *leaves_of(network, 1, 3)[1:])
