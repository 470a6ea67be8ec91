"""SparseLSTM with a projection, and with a clip of its cells."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseLSTM, SparseWeight

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

VARIANTS = {
    "plain": {},
    "two layers both ways": {"num_layers": 2, "bidirectional": True},
    "no bias": {"bias": False},
    "sparse input both ways": {"input_density": 0.5, "bidirectional": True},
    "one feature": {"proj_size": 1, "num_layers": 2},
    "almost no links": {"density": 0.02},
    "all links": {"density": 1.0},
}
LENGTHS = [2, 7, 7, 1, 5]


class Flat(nn.Module):
    """A network that takes and returns its states one by one."""

    def __init__(self, network, **options):
        super().__init__()
        self.network, self.options = network, options

    def forward(self, x, *state):
        y, last = self.network(x, *([state] if state else []), **self.options)
        return y, *last


def make(dtype=torch.float64, **options):
    generator = torch.Generator().manual_seed(4)
    options = {"density": 0.3, "proj_size": 9, "dtype": dtype, "generator": generator} | options
    return SparseLSTM(6, 21, **options)


def leaves_of(network, steps, batch, *, initial=True):
    dtype = network.weight_hh_l0.dtype
    x = torch.randn(steps, batch, 6, dtype=dtype)
    if not initial:
        return [x]
    layers = network.num_layers * (2 if network.bidirectional else 1)
    sizes = (network.proj_size or 21, 21)
    return [x, *(torch.randn(layers, batch, size, dtype=dtype) for size in sizes)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("batch", [1, 5, 70])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_the_dense_network(variant, initial, batch, dtype, check_like_dense):
    network = make(dtype, **VARIANTS[variant])
    leaves = leaves_of(network, 7, batch, initial=initial)
    bound = 1e-10 if dtype == torch.float64 else 1e-5
    check_like_dense(Flat(network), Flat(network.to_dense()), leaves, bound)


@pytest.mark.parametrize("initial", [False, True])
def test_sequences_of_different_lengths(initial, check_like_dense):
    network = make(num_layers=2, bidirectional=True)
    leaves = leaves_of(network, 7, len(LENGTHS), initial=initial)
    dense = network.to_dense()

    def packed(x, *state):
        rows = nn.utils.rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
        y, last = dense(rows, *([state] if state else []))
        return nn.utils.rnn.pad_packed_sequence(y)[0], *last

    run = (Flat(network, lengths=LENGTHS), packed)
    check_like_dense(network, dense, leaves, 1e-10, run=run)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("input_density", [1.0, 0.5])
def test_factors_are_those_of_the_dense_gradient(lengths, input_density):
    network = make(num_layers=2, bidirectional=True, input_density=input_density)
    dense = SparseLSTM.from_dense(network.to_dense(), density=1.0)
    for module in network.modules():
        if isinstance(module, SparseWeight):
            module.captured = [[]]
    leaves = leaves_of(network, 7, len(LENGTHS))
    for model in (network, dense):
        results = Flat(model, lengths=lengths)(*leaves)
        sum(result.square().sum() for result in results).backward()
    for name, weight in network.named_modules():
        if isinstance(weight, SparseWeight):
            (pairs,) = weight.captured
            other = getattr(dense, name)
            is_dense = isinstance(other, nn.Parameter)
            full = other.grad if is_dense else other.pattern.dense(other.values.grad)
            assert_close(sum(dy.T @ x for dy, x in pairs), full)


def test_conversion_keeps_everything():
    dense = nn.LSTM(6, 21, num_layers=2, proj_size=9, bidirectional=True, dtype=torch.float64)
    network = SparseLSTM.from_dense(dense)
    x = torch.randn(5, 3, 6, dtype=torch.float64)
    assert_close(network(x), dense(x), rtol=1e-12, atol=1e-12)
    names = [name.removesuffix(".values") for name, _ in network.named_parameters()]
    assert sorted(names) == sorted(name for name, _ in dense.named_parameters())
    fewer = SparseLSTM.from_dense(dense, density=0.5)
    assert fewer.weight_hr_l0.nnz == round(0.5 * 9 * 21)


def test_one_thread_and_many_give_the_same_bits(assert_same_bits):
    network = SparseLSTM(8, 300, proj_size=120, density=0.4)
    leaves = [torch.randn(5, 19, 8), torch.randn(1, 19, 120), torch.randn(1, 19, 300)]

    def gradients():
        network.zero_grad()
        results = Flat(network)(*leaves)
        sum(result.square().sum() for result in results).backward()
        return [*results, *(parameter.grad for parameter in network.parameters())]

    assert_same_bits(gradients)


def test_compiles_without_a_graph_break():
    network = make(torch.float32, num_layers=2, cell_clip=0.5)
    x = torch.randn(4, 3, 6)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), network(x))


@pytest.mark.parametrize(
    ("size", "found"), [(-1, "-1"), (21, "21"), (30, "30")], ids=["negative", "same", "more"]
)
def test_wrong_sizes(size, found):
    message = f"expected proj_size of at least 0.* found {found}"
    with pytest.raises(ValueError, match=message):
        make(proj_size=size)


def test_shapes_of_the_initial_state():
    network = make()
    x, h0, c0 = leaves_of(network, 4, 3)
    with pytest.raises(ValueError, match=r"h0 of shape \[1, 3, 9\], found \[1, 3, 21\]"):
        network(x, (c0, c0))
    with pytest.raises(ValueError, match=r"c0 of shape \[1, 3, 21\], found \[1, 3, 9\]"):
        network(x, (h0, h0))


class ClippedByHand(nn.Module):
    """One layer, in plain torch."""

    def __init__(self, network):
        super().__init__()
        self.network, self.dense = network, make(proj_size=0)
        self.dense.load_state_dict(network.state_dict())
        self.dense = self.dense.to_dense()

    def forward(self, x, h, c):
        dense, most = self.dense, self.network.cell_clip
        h, c = h[0], c[0]
        states = []
        for step in x:
            z = step @ dense.weight_ih_l0.T + dense.bias_ih_l0 + h @ dense.weight_hh_l0.T
            i, f, g, o = (z + dense.bias_hh_l0).chunk(4, -1)
            c = (f.sigmoid() * c + i.sigmoid() * g.tanh()).clamp(-most, most)
            h = o.sigmoid() * c.tanh()
            states.append(h)
        return torch.stack(states), h[None], c[None]


@pytest.mark.parametrize("clip", [0.05, 0.3, 100.0])
@pytest.mark.parametrize("batch", [1, 3, 40])
def test_clipped_cells(clip, batch, check_like_dense):
    network = make(proj_size=0, cell_clip=clip)
    by_hand = ClippedByHand(network)
    leaves = leaves_of(network, 9, batch)
    check_like_dense(network, by_hand.dense, leaves, 1e-10, run=(Flat(network), by_hand))
    _, (_, c_n) = network(leaves[0])
    assert c_n.abs().max() == clip if clip < 0.1 else c_n.abs().max() <= clip


@pytest.mark.parametrize("clip", [0, -1.0, float("nan")])
def test_wrong_clips(clip):
    with pytest.raises(ValueError, match=f"expected cell_clip > 0, found {clip}"):
        make(cell_clip=clip)


def test_a_clip_has_no_dense_counterpart():
    with pytest.raises(ValueError, match=r"expected no cell_clip to convert, found 0\.5"):
        make(cell_clip=0.5).to_dense()


def test_normed_cells_are_clipped_but_not_projected():
    network = make(proj_size=0, cell_clip=0.05, layer_norm=True)
    _, (_, c_n) = network(leaves_of(network, 9, 3, initial=False)[0])
    assert c_n.abs().max() == 0.05
    with pytest.raises(ValueError, match="expected no proj_size beside layer_norm, found 9"):
        make(layer_norm=True)
