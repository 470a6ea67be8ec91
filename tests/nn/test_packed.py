"""Sequences of different lengths: PackedSequence and lengths=, against torch.nn."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.testing import assert_close

from sparse_engine import nn as sparse
from sparse_engine.nn import SparseRNN, SparseWeight

NETWORKS = {name: entry.network for name, entry in sparse.CELLS.items() if entry.packed}
CELLS = pytest.mark.parametrize("cell", NETWORKS)
IN_TORCH = pytest.mark.parametrize("cell", [name for name in NETWORKS if sparse.CELLS[name].dense])
VARIANTS = {
    "plain": {},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "no bias": {"bias": False},
    "sparse input both ways": {"input_density": 0.5, "bidirectional": True},
}
# In order and not, equal lengths, and batches of one and of several panels.
LENGTHS = {
    "sorted": [9, 9, 4, 1],
    "unsorted": [2, 7, 7, 1, 5],
    "all of one": [3, 3],
    "one": [4],
    "many": [1 + 7 * n % 11 for n in range(150)],
    "one step": [1] * 20,
}


class Packed(nn.Module):
    """A network on packed sequences that takes and returns padded tensors."""

    def __init__(self, network, lengths):
        super().__init__()
        self.network, self.lengths = network, lengths

    def forward(self, x, *state):
        batch_first = self.network.batch_first
        packed = pack_padded_sequence(x, self.lengths, batch_first, enforce_sorted=False)
        y, last = self.network(packed, *(state if len(state) < 2 else (state,)))
        assert isinstance(y, PackedSequence)
        steps = x.shape[1 if batch_first else 0]
        padded, _ = pad_packed_sequence(y, batch_first, total_length=steps)
        return padded, *(last if isinstance(last, tuple) else (last,))


class WithLengths(Packed):
    """The same by ``lengths=``."""

    def forward(self, x, *state):
        state = state if len(state) < 2 else (state,)
        y, last = self.network(x, *state, lengths=self.lengths)
        return y, *(last if isinstance(last, tuple) else (last,))


def make(cell, dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(4)
    options = {"density": 0.3, "dtype": dtype, "generator": generator} | options
    return NETWORKS[cell](6, 21, **options)


def leaves_of(network, lengths, *, initial, after=2):
    """An input with ``after`` steps that no sequence reaches, and initial states."""
    dtype = network.weight_hh_l0.dtype
    shape = (max(lengths) + after, len(lengths))
    x = torch.randn(*(shape[::-1] if network.batch_first else shape), 6, dtype=dtype)
    layers = network.num_layers * (2 if network.bidirectional else 1)
    count = len(network.states) if initial else 0
    return [x, *(torch.randn(layers, len(lengths), 21, dtype=dtype) for _ in range(count))]


@IN_TORCH
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("initial", [False, True])
def test_equals_the_dense_network(cell, variant, lengths, initial, check_like_dense):
    network = make(cell, **VARIANTS[variant])
    leaves = leaves_of(network, lengths, initial=initial)
    dense = Packed(network.to_dense(), lengths)
    for wrapped in (Packed(network, lengths), WithLengths(network, lengths)):
        network.zero_grad()
        dense.zero_grad()
        check_like_dense(wrapped.network, dense.network, leaves, 1e-10, run=(wrapped, dense))


@CELLS
@pytest.mark.parametrize("batch_first", [False, True])
def test_what_follows_a_sequence_is_neither_read_nor_written(cell, batch_first):
    network = make(cell, torch.float32, batch_first=batch_first)
    lengths = torch.tensor([2, 5, 3], dtype=torch.int32)
    (x,) = leaves_of(network, [2, 5, 3], initial=False)
    over = torch.arange(7)[:, None] >= lengths
    over = over.T if batch_first else over
    x[over] = torch.nan
    y, _ = network(x.requires_grad_(), lengths=lengths)
    assert (y[over] == 0).all() and (y[~over] != 0).all()
    y.sum().backward()
    assert (x.grad[over] == 0).all() and x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@CELLS
def test_full_lengths_change_nothing(cell):
    network = make(cell, torch.float32, num_layers=2, bidirectional=True)
    x = torch.randn(5, 20, 6)
    assert_close(network(x, lengths=[5] * 20), network(x), rtol=0, atol=0)
    empty = torch.randn(5, 0, 6)
    assert_close(network(empty, lengths=[]), network(empty))


@CELLS
@pytest.mark.parametrize("every", [1, 3])
def test_segments(cell, every):
    whole, cut = (make(cell, bidirectional=True, checkpoint_every=n) for n in (None, every))
    lengths = LENGTHS["unsorted"]
    x, *state = leaves_of(whole, lengths, initial=True)
    for network in (whole, cut):
        for result in WithLengths(network, lengths)(x, *state):
            result.square().sum().backward(retain_graph=True)
    for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
        assert_close(one.grad, other.grad, rtol=1e-12, atol=1e-12)
    for one, other in zip(
        WithLengths(whole, lengths)(x, *state), WithLengths(cut, lengths)(x, *state), strict=True
    ):
        assert_close(one, other, rtol=1e-14, atol=1e-14)


@CELLS
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_sequence_is_as_if_it_were_alone(cell, variant):
    network = make(cell, **VARIANTS[variant])
    lengths = LENGTHS["unsorted"]
    x, *state = leaves_of(network, lengths, initial=True)
    together = WithLengths(network, lengths)(x, *state)
    sum(result.sin().sum() for result in together).backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    network.zero_grad()
    for at, length in enumerate(lengths):
        own = [each[:, at : at + 1] for each in (x[:length], *state)]
        y, *last = WithLengths(network, [length])(*own)
        sum(result.sin().sum() for result in (y, *last)).backward()
        assert_close(together[0][:length, at : at + 1], y)
        for one, other in zip(together[1:], last, strict=True):
            assert_close(one[:, at : at + 1], other)
    for one, parameter in zip(gradients, network.parameters(), strict=True):
        assert_close(one, parameter.grad)


@CELLS
def test_factors_make_the_gradients_of_the_links(cell):
    network = make(cell, bidirectional=True)
    weights = [network.weight_hh_l0, network.weight_hh_l0_reverse]
    for weight in weights:
        weight.factors = [[]]
    leaves = leaves_of(network, LENGTHS["unsorted"], initial=True)
    results = WithLengths(network, LENGTHS["unsorted"])(*leaves)
    sum(result.sin().sum() for result in results).backward()
    for weight in weights:
        (pairs,) = weight.factors
        dense = sum(dy.T @ x for dy, x in pairs)
        assert_close(dense[weight.rows(), weight.col_indices.long()], weight.values.grad)


@IN_TORCH
@pytest.mark.parametrize("input_density", [1.0, 0.5])
def test_factors_are_those_of_the_dense_gradient(cell, input_density):
    network = make(cell, num_layers=2, bidirectional=True, input_density=input_density)
    dense = network.to_dense()
    for module in network.modules():
        if isinstance(module, SparseWeight):
            module.factors = [[]]
    leaves = leaves_of(network, LENGTHS["unsorted"], initial=True)
    for model in (network, dense):
        results = Packed(model, LENGTHS["unsorted"])(*leaves)
        sum(result.square().sum() for result in results).backward()
    for name, parameter in dense.named_parameters():
        weight = getattr(network, name)
        if isinstance(weight, SparseWeight):
            (pairs,) = weight.factors
            assert_close(sum(dy.T @ x for dy, x in pairs), parameter.grad)


@CELLS
@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([4, 5, 2], r"expected lengths in \[1, 4\], found 5 at position 1"),
        ([4, 1, 0], r"expected lengths in \[1, 4\], found 0 at position 2"),
        ([4, -1, 0], r"expected lengths in \[1, 4\], found -1 at position 1"),
        ([4, 1], r"expected lengths of shape \[3\], found \[2\]"),
        (4, r"expected lengths of shape \[3\], found \[\]"),
        ([4.0, 1.0, 1.0], "expected lengths of an integer dtype, found torch.float32"),
        (torch.ones(3, dtype=torch.bool), "expected lengths of an integer dtype, found torch.bool"),
        (torch.ones(3, device="meta"), "expected lengths on the CPU, found them on meta"),
    ],
)
def test_wrong_lengths(cell, lengths, message):
    with pytest.raises(ValueError, match=message):
        make(cell, torch.float32)(torch.randn(4, 3, 6), lengths=lengths)


@CELLS
def test_lengths_in_the_wrong_place(cell):
    network = make(cell, torch.float32)
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 6), torch.randn(2, 6)])
    with pytest.raises(ValueError, match="expected no lengths beside a PackedSequence"):
        network(packed, lengths=[3, 2])
    with pytest.raises(ValueError, match="expected no lengths for a single sequence"):
        network(torch.randn(4, 6), lengths=[4])


@CELLS
def test_wrong_packed_sequences(cell):
    network = make(cell, torch.float32)
    with pytest.raises(ValueError, match=r"input of shape \[rows, 6\], found \[5, 7\]"):
        network(nn.utils.rnn.pack_sequence([torch.randn(3, 7), torch.randn(2, 7)]))
    with pytest.raises(ValueError, match="dtype float32, found float64"):
        network(nn.utils.rnn.pack_sequence([torch.randn(3, 6).double()]))
    for sizes, message in [
        ([1, 2], "batch_sizes of at least 1 that never grow, found 2 at position 1"),
        ([2, 0], "batch_sizes of at least 1 that never grow, found 0 at position 1"),
        ([2, 2], "expected x of 4 rows, as batch_sizes add up to, found 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            network(PackedSequence(torch.randn(3, 6), torch.tensor(sizes)))
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 6), torch.randn(2, 6)])
    h0 = torch.randn(1, 3, 21)
    with pytest.raises(ValueError, match=r"h0 of shape \[1, 2, 21\], found \[1, 3, 21\]"):
        network(packed, (h0, h0) if cell == "lstm" else h0)


def test_a_network_that_does_not_take_them():
    class Padded(SparseRNN):
        packable = False

    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 6), torch.randn(2, 6)])
    with pytest.raises(TypeError, match="found a PackedSequence; unpack it"):
        Padded(6, 21, density=0.3)(packed)
