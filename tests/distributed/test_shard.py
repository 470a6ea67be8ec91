"""Networks whose units are distributed over a group of one process."""

import copy

import pytest
import torch
from torch import distributed
from torch.autograd import gradcheck

from sparse_engine.distributed import load_whole_state_dict, shard, whole_state_dict
from sparse_engine.distributed.same_bits import SameBits
from sparse_engine.nn import CELLS, SparseLSTM, SparseRHN, SparseRNN, SparseWeight
from sparse_engine.topology import RigL

UNITWISE = [name for name, entry in CELLS.items() if entry.cell.unitwise]


@pytest.fixture
def alone(tmp_path):
    """A group of this process only."""
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield distributed.group.WORLD
    distributed.destroy_process_group()


def gradients(network, x):
    y, states = network(x)
    states = states if isinstance(states, tuple) else (states,)
    sum((each * torch.arange(each.numel()).view_as(each).sin()).sum() for each in (y, *states)
        ).backward()  # fmt: skip
    return {"y": y.detach()} | {
        name.removesuffix(".values"): each.grad.flatten()
        for name, each in network.named_parameters()
    }


@pytest.mark.parametrize("options", [{}, {"input_density": 0.5}, {"bias": False}], ids=str)
@pytest.mark.parametrize("name", UNITWISE)
def test_a_distributed_network_is_the_network(alone, name, options):
    network = CELLS[name](3, 21, 2, density=0.2, dtype=torch.float64, **options)
    mine = copy.deepcopy(network)
    shard(mine, alone)
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    wanted = gradients(network, x)
    for kind, each in gradients(mine, x).items():
        torch.testing.assert_close(each, wanted[kind], msg=f"{name} {kind}")


def test_gradients_of_states(alone):
    lstm = SparseLSTM(3, 14, density=0.3, dtype=torch.float64, process_group=alone)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    states = [torch.randn(1, 2, 14, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    values = lstm.weight_hh_l0.values

    def run(h, c, *_):
        return lstm(x, (h, c))[0]

    assert gradcheck(run, (*states, values))
    y = run(*states).square().sum()
    (wanted,) = torch.autograd.grad(y, values, retain_graph=True)
    torch.autograd.grad(y, states, retain_graph=True)  # leaves nothing to later passes
    assert torch.equal(torch.autograd.grad(y, values)[0], wanted)


def test_resets_begin_episodes(alone):
    network = SparseRNN(3, 14, density=0.3, dtype=torch.float64)
    mine = copy.deepcopy(network)
    shard(mine, alone)
    x, resets = torch.randn(6, 2, 3, dtype=torch.float64), torch.zeros(6, 2)
    resets[2, 0] = resets[4, 1] = 1
    torch.testing.assert_close(mine(x, resets=resets)[0], network(x, resets=resets)[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: SparseRHN(3, 14, density=0.3, recurrence_depth=2, process_group=g), "products"),
        (lambda g: SparseLSTM(3, 14, density=0.3, proj_size=7, process_group=g), "found proj_size"),
        (lambda g: SparseRNN(3, 14, density=0.3, layer_norm=True, process_group=g), "layer_norm"),
        (lambda g: SparseRNN(3, 14, 2, density=0.3, dropout=0.5, process_group=g), "found dropout"),
        (lambda g: SparseRNN(3, 14, density=0.3, bidirectional=True, process_group=g),
         "found bidirectional"),
        (lambda g: shard(SparseRNN(3, 14, density=0.3, process_group=g), g), "not distributed yet"),
    ],
)  # fmt: skip
def test_what_needs_all_units_is_refused(alone, make, message):
    with pytest.raises(ValueError, match=message):
        make(alone)


def test_inputs_that_are_refused(alone):
    rnn = SparseRNN(3, 14, density=0.3, process_group=alone)
    x = torch.randn(5, 2, 3)
    with pytest.raises(ValueError, match="sequences of one length"):
        rnn(x, lengths=[5, 3])
    with pytest.raises(ValueError, match="needs no gradient"):
        rnn(x.requires_grad_())


def test_growth_by_gradient_is_refused(alone):
    rnn = SparseRNN(3, 14, density=0.3, process_group=alone)
    RigL(rnn, None, steps=40, every=1)
    with pytest.raises(ValueError, match="links grow without gradients, such as SET"):
        rnn(torch.randn(5, 2, 3))


def test_a_state_of_other_units_is_refused(alone):
    state, _ = whole_state_dict(SparseRNN(3, 15, density=0.3, process_group=alone))
    rnn = SparseRNN(3, 14, density=0.3, process_group=alone)
    with pytest.raises(RuntimeError, match="expected weight_hh_l0 of 14 rows, found 15"):
        load_whole_state_dict(rnn, state)


@pytest.mark.parametrize("function", [torch.sigmoid, torch.nn.functional.softplus])
def test_functions_do_not_depend_on_the_place_of_a_number(function):
    x = torch.randn(1000, dtype=torch.float64, requires_grad=True)
    wanted = function(x)
    with SameBits():
        whole = function(x)
        for end in range(1, 70):
            assert torch.equal(function(x[:end]), whole[:end])
    torch.testing.assert_close(whole, wanted)
    got, expected = (torch.autograd.grad(each.sum(), x)[0] for each in (whole, wanted))
    torch.testing.assert_close(got, expected)
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    with SameBits():
        (slope,) = torch.autograd.grad(function(zero), zero)
    assert slope == (0.25 if function is torch.sigmoid else 0.5)


def test_no_rank_holds_a_dense_matrix(alone):
    weight = SparseRNN(3, 50, density=0.1, process_group=alone).weight_hh_l0
    assert isinstance(weight, SparseWeight) and weight.nnz == 250


@pytest.mark.parametrize("order", [torch.arange(13), torch.zeros(14, dtype=torch.int64)])
def test_an_order_is_a_permutation(alone, order):
    with pytest.raises(ValueError, match="each of 14 units once"):
        SparseRNN(3, 14, density=0.3, process_group=alone, order=order)
