"""Gradients, networks and training by the kernels of a simulated GPU."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck
from torch.nn.utils.rnn import pack_sequence
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.nn import SparseGRU, SparseLinear, SparseLSTM, SparseRNN
from sparse_engine.ops import _sequence
from sparse_engine.testing import assert_valid, random_pattern
from sparse_engine.topology import GradientGrowth, Magnitude, Rewiring
from sparse_engine.topology.grow import CandidateGradientGrowth

CELLS = {"rnn": (SparseRNN, nn.RNN), "lstm": (SparseLSTM, nn.LSTM), "gru": (SparseGRU, nn.GRU)}


@pytest.fixture(autouse=True, scope="module")
def used(simulated, operations_by):
    """The names of the operations that ran there."""
    names = set()

    def run(name, arguments):
        found = getattr(simulated, name)(*arguments)
        names.add(name)
        return found

    with pytest.MonkeyPatch.context() as patch, operations_by(run):
        patch.setattr(_sequence, "MULTIPLYING", set())
        yield names


def real(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def test_operations_run_there_and_others_as_ever(used):
    pattern = random_pattern(5, 4, 9)
    ops.spmm(torch.randn(9), pattern, torch.randn(4, 3))
    assert "spmm" in used
    ops.ch3_l3(pattern.links, 3)
    assert "ch3_l3" not in used


def test_what_is_wrong_is_named_as_ever():
    with pytest.raises(ValueError, match=r"expected values of shape \[9\], found \[8\]"):
        ops.spmm(torch.randn(8), random_pattern(5, 4, 9), torch.randn(4, 3))


@pytest.mark.parametrize("columns", [1, 3])
def test_derivatives_of_products(columns):
    pattern = random_pattern(5, 4, 9)
    values, x, y, bias = real(9), real(4, columns), real(5, columns), real(5)
    assert gradcheck(lambda *a: ops.spmm(a[0], pattern, *a[1:]), (values, x, bias))
    assert gradcheck(lambda v, y: ops.spmm_t(v, pattern, y), (values, y))
    assert gradcheck(lambda a, b: ops.sddmm(pattern, a, b), (y, x))


SIZES = {"padded": None, "packed": torch.tensor([2, 2, 1])}
PACKED = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)


def inputs(sizes, features):
    return real(3, 2, features) if sizes is None else real(5, features)


@PACKED
def test_derivatives_of_the_recurrence(sizes):
    pattern = random_pattern(4, 4, 9)
    arguments = inputs(sizes, 3), real(2, 4), real(4), real(9), real(4, 3)

    def run(x, h0, bias, values, w_input):
        return ops.rnn(x, h0, bias, values, pattern, w_input=w_input, batch_sizes=sizes)

    assert gradcheck(run, arguments)


@PACKED
def test_derivatives_of_a_projected_and_clipped_lstm(sizes):
    pattern, projected = random_pattern(16, 3, 20), random_pattern(3, 4, 7)
    arguments = inputs(sizes, 16), real(2, 3), real(2, 4), real(16), real(20), real(7)

    def run(x, h0, c0, bias, values, p_values):
        projection = p_values, projected
        options = {"batch_sizes": sizes, "projection": projection, "cell_clip": 0.4}
        return ops.lstm(x, h0, c0, bias, values, pattern, **options)

    assert gradcheck(run, arguments)


@PACKED
def test_derivatives_of_the_gru(sizes):
    pattern = random_pattern(12, 4, 20)
    arguments = inputs(sizes, 12), real(2, 4), real(12), real(20)

    def run(x, h0, bias, values):
        return ops.gru(x, h0, bias, values, pattern, batch_sizes=sizes)

    assert gradcheck(run, arguments)


@pytest.mark.parametrize("cell", CELLS)
def test_networks_on_packed_sequences_equal_dense_ones(cell):
    options = {"num_layers": 2, "bidirectional": True, "dtype": torch.float64}
    options |= {"proj_size": 3} if cell == "lstm" else {}
    network = CELLS[cell][0](6, 9, density=0.4, **options)
    dense = network.to_dense()
    packed = pack_sequence([torch.randn(n, 6).double() for n in (5, 4, 1)])
    found, wanted = network(packed), dense(packed)
    assert_close(found[0].data, wanted[0].data)
    assert_close(found[1], wanted[1])


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_layer_normalisation_runs_the_whole_sequence_there(cell, used):
    used.clear()
    network = CELLS[cell][0](6, 9, density=0.4, layer_norm=True)
    network(torch.randn(4, 3, 6))[0].sum().backward()
    assert {f"normed_{cell}_forward", f"normed_{cell}_backward"} <= used


def test_a_linear_layer_visits_its_links_once_for_both_gradients(used):
    used.clear()
    layer = SparseLinear(30, 20, density=0.3)
    layer(torch.randn(128, 30, requires_grad=True)).sum().backward()
    assert "linear_backward" in used and not used & {"spmm_t", "sddmm"}


@pytest.mark.parametrize("grow", [GradientGrowth(), CandidateGradientGrowth(2.0)])
def test_training_with_growth_by_gradient(grow, used):
    used.clear()
    model = SparseRNN(5, 12, density=0.3)
    optimizer = torch.optim.Adam(model.parameters())
    rule = Rewiring(model, optimizer, prune=Magnitude(), grow=grow, fraction=0.4, every=2)
    for _ in range(4):
        model(torch.randn(4, 3, 5))[0].square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        rule.step()
    assert_valid(*rule.weights)
    assert "rnn_backward" in used


def test_autocast_keeps_activations_in_bfloat16(used):
    used.clear()
    network, x = SparseRNN(6, 20, density=0.3), torch.randn(4, 3, 6)
    wanted = network(x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = network(x)[0]
    assert y.dtype == torch.bfloat16 and "rnn_forward" in used
    assert (y - wanted).norm() < 2**-6 * wanted.norm()
