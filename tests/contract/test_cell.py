"""A cell of one's own has what a built-in has, and the registry knows them all."""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from sparse_engine import nn as sparse
from sparse_engine import ops
from sparse_engine.nn import CELLS, Cell, Recurrent, option
from sparse_engine.ops._dispatch.native import native


def check_scale(name, value):
    if value <= 0:
        raise ValueError(f"expected {name} > 0, found {value}")


@dataclass(frozen=True, kw_only=True)
class Counting(Cell):
    """``h_t = h_{t-1} + scale * dt_t * mask * (x_t W^T + b)``, and a count of steps."""

    states = ("h0", "n0")
    timed = True
    dt = 0.5
    unfolds = 1

    scale: float = option(check_scale, 1.0)

    def draw(self, sequence, hidden_size):
        ones = sequence.x.new_ones(sequence.batch, hidden_size)
        return {"mask": nn.functional.dropout(ones, 0.5)}

    def step(self, v, product, state, *, dt, mask=1.0):
        h, n = state
        return h + self.scale * dt * mask * (v + 0 * product(h)), n + 1


class Network(Recurrent):
    cell_type = Counting


def make(**options):
    torch.manual_seed(0)
    return Network(2, 3, density=0.5, dtype=torch.float64, **options)


def test_steps_are_counted_and_timespans_cut_and_reversed():
    network = make(bidirectional=True, checkpoint_every=3).eval()
    x, held = torch.randn(7, 4, 2, dtype=torch.float64), torch.rand(7, 4, dtype=torch.float64)
    y, (h_n, n) = network(x, timespans=held)
    assert torch.equal(n, torch.full((2, 4, 3), 7.0, dtype=torch.float64))
    for way, suffix in enumerate(("", "_reverse")):
        weight, bias = (getattr(network, f"{kind}_l0{suffix}") for kind in ("weight_ih", "bias_ih"))
        moves = held[..., None] * (x @ weight.T + bias)
        torch.testing.assert_close(h_n[way], moves.sum(0))
        ahead = moves.cumsum(0) if not way else moves.flip(0).cumsum(0).flip(0)
        torch.testing.assert_close(y[..., 3 * way : 3 * way + 3], ahead)


def test_segments_draw_one_mask_and_have_the_same_gradients():
    def found(every):
        network = make(bidirectional=True, checkpoint_every=every)
        torch.manual_seed(1)
        x = torch.randn(7, 4, 2, dtype=torch.float64, requires_grad=True)
        held = torch.rand(7, 4, dtype=torch.float64, requires_grad=True)
        y, _ = network(x, timespans=held)
        of_input = [network.weight_ih_l0, network.bias_ih_l0_reverse]
        return y, *torch.autograd.grad(y.square().sum(), [x, held, *of_input])

    for own, other in zip(found(3), found(None), strict=True):
        torch.testing.assert_close(own, other)


class UGRNN(Cell):
    gates = 2

    def step(self, v, product, state):
        gate, candidate = (v + product(state[0])).chunk(2, -1)
        return (torch.lerp(candidate.tanh(), state[0], gate.sigmoid()),)


class SparseUGRNN(Recurrent):
    cell_type = UGRNN


@pytest.mark.parametrize("lengths", [[4, 1, 6], torch.tensor([4, 1, 6])])
def test_lengths_are_those_of_each_sequence_by_itself(lengths):
    torch.manual_seed(0)
    network = SparseUGRNN(2, 3, 2, density=0.5, bidirectional=True, dtype=torch.float64)
    x = torch.randn(6, 3, 2, dtype=torch.float64)
    y, h_n = network(x, lengths=lengths)
    for i, length in enumerate([4, 1, 6]):
        alone, last = network(x[:length, i])
        torch.testing.assert_close(y[:length, i], alone)
        torch.testing.assert_close(h_n[:, i], last)
        assert not y[length:, i].any()


def test_a_layer_against_its_equations():
    torch.manual_seed(0)
    network = SparseUGRNN(2, 3, density=0.5, dtype=torch.float64)
    x, h = torch.randn(5, 4, 2, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64)
    y, _ = network(x)
    own = {name: each.detach() for name, each in network.named_parameters()}
    dense = network.weight_hh_l0.to_dense()
    for t in range(5):
        u = x[t] @ own["weight_ih_l0"].T + own["bias_ih_l0"] + h @ dense.T + own["bias_hh_l0"]
        gate, candidate = u.chunk(2, -1)
        h = gate.sigmoid() * h + (1 - gate.sigmoid()) * candidate.tanh()
        torch.testing.assert_close(y[t], h)


def test_an_option_of_a_cell_is_checked_kept_and_shown():
    network = make(scale=2.0)
    assert "scale=2.0" in network.extra_repr() and network.scale == 2.0
    network.scale = 3.0
    assert network.cell == Counting(scale=3.0)
    for refused in (lambda: make(scale=0), lambda: setattr(network, "scale", 0)):
        with pytest.raises(ValueError, match="expected scale > 0, found 0"):
            refused()
    with pytest.raises(TypeError, match="expected arguments of Network, found scales"):
        make(scales=1.0)


def test_it_has_no_counterpart_in_torch():
    with pytest.raises(TypeError, match=r"counterpart in torch\.nn, found SparseUGRNN"):
        SparseUGRNN.from_dense(nn.RNN(2, 3), density=0.5)
    with pytest.raises(TypeError, match=r"counterpart in torch\.nn, found SparseUGRNN"):
        SparseUGRNN(2, 3, density=0.5).to_dense()


ROOT = Path(__file__).resolve().parents[2]
EVERY = pytest.mark.parametrize("name", CELLS)
WITH_KERNEL = pytest.mark.parametrize(
    "name", [name for name, entry in CELLS.items() if entry.cell.operation]
)


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs" / "cells.md").read_text()


@pytest.fixture
def families(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.cells").FAMILIES


def test_every_public_network_is_registered():
    public = {
        entry
        for entry in vars(sparse).values()
        if isinstance(entry, type) and issubclass(entry, Recurrent)
    }
    registered = {entry.network for entry in CELLS.values()}
    assert public - {Recurrent} == registered
    assert len(registered) == len(CELLS)


@WITH_KERNEL
def test_reference_and_operation(name):
    operation = CELLS[name].cell.operation
    assert callable(operation.reference) and callable(getattr(ops, operation.__name__))
    for way in ("forward", "backward"):
        native_name = f"{operation.__name__}_{way}"
        assert hasattr(native, native_name)
        assert torch._C._dispatch_has_kernel_for_dispatch_key(
            f"sparse_engine::{native_name}", "CUDA"
        )


@EVERY
def test_row_of_the_page_on_cells(name, page):
    assert page.count(f"\n| `{CELLS[name].network.__name__}` |") == 1


def test_the_table_of_support_is_that_of_the_registry(page):
    """Each column names cells as their classes are named, without "Sparse"."""
    header, *rows = re.search(r"\n(\| \| RNN.*?)\n\n", page, re.DOTALL).group(1).splitlines()
    columns = [
        [each.strip().replace("-", "").replace(" ", "").lower() for each in column.split(",")]
        for column in header.split("|")[2:-1]
    ]
    cells = {entry.network.__name__[6:].lower(): entry for entry in CELLS.values()}
    assert sorted(each for column in columns for each in column) == sorted(cells)
    supports = {
        "`from_dense`": lambda entry: entry.cell.dense_type is not None,
        "`lengths=`": lambda entry: entry.cell.packable,
        "`timespans=`": lambda entry: entry.cell.timed,
        "growth by gradient": lambda entry: entry.cell.gradient_growth,
    }
    found = {row.split("|")[1].strip(): row.split("|")[2:-1] for row in rows[1:]}
    for label, supported in supports.items():
        (marks,) = (marks for text, marks in found.items() if text.startswith(label))
        for column, mark in zip(columns, marks, strict=True):
            assert {supported(cells[each]) for each in column} == {mark.strip() == "yes"}, label


@WITH_KERNEL
def test_benchmark(name, families):
    assert families[name].cases
    assert (ROOT / "benchmarks" / "results" / f"{name}.json").exists() or name == "rnn"
