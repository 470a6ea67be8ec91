"""Networks whose units are distributed over one, two and three processes."""

import pytest
import torch
from on_ranks import on_ranks
from torch import distributed

from sparse_engine.distributed import load_whole_state_dict, shard, whole_state_dict
from sparse_engine.nn import CELLS, SparseRNN, SparseWeight
from sparse_engine.topology import SET

UNITWISE = [name for name, entry in CELLS.items() if entry.cell.unitwise]
RANKS = (1, 2, 3)


def made(name, dtype=torch.float32, input_density=0.5):
    options = {"nonlinearity": "softplus", "unfolds": 3} if name == "rate_rnn" else {}
    generator = torch.Generator().manual_seed(0)
    return CELLS[name](
        5, 47, 2, density=0.2, input_density=input_density, generator=generator, dtype=dtype,
        **options,
    )  # fmt: skip


def adam(network):
    return torch.optim.Adam(network.parameters(), lr=0.01)


def train(network, optimizer, steps):
    """Train on whole batches; return the last output and the gradients of the initial states."""
    dtype = network.dtype
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(7, 3, 5, dtype=dtype, generator=generator)
        starts = tuple(
            torch.randn(2, 3, network.size_of(name), dtype=dtype, generator=generator)
            for name in network.states
        )
        for each in starts:
            each.requires_grad_()
        optimizer.zero_grad()
        y, final = network(x, starts if len(starts) > 1 else starts[0])
        ends = final if isinstance(final, tuple) else (final,)
        wave = torch.arange(y.numel(), dtype=dtype).view_as(y).sin()
        ((y * wave).sum() + sum(each.square().sum() for each in ends)).backward()
        optimizer.step()
    return {"y": y.detach()} | {f"start{n}": each.grad for n, each in enumerate(starts)}


def trained(rank, names, order):
    found = {}
    for name in names:
        for dtype in (torch.float32, torch.float64):
            network = made(name, dtype, input_density=1.0)
            shard(network, distributed.group.WORLD, order=order)
            optimizer = adam(network)
            result = train(network, optimizer, range(4))
            state, moments = whole_state_dict(network, optimizer)
            for parameter, entries in moments.items():
                result |= {f"{parameter} {kind}": each for kind, each in entries.items()}
            found[name, dtype] = result | state
    return found


@pytest.mark.parametrize("order", [None, torch.randperm(47)], ids=["contiguous", "ordered"])
def test_results_have_the_same_bits_for_any_number_of_ranks(order, tmp_path):
    """Outputs, gradients, parameters and moments after some steps of Adam, on every rank."""
    found = []
    for ranks in RANKS:
        (tmp_path / f"{ranks}").mkdir()
        found += on_ranks(tmp_path / f"{ranks}", ranks, trained, UNITWISE, order)
    for case, wanted in found[0].items():
        assert any("exp_avg" in entry for entry in wanted)
        for other in found[1:]:
            assert other[case].keys() == wanted.keys()
            for entry, each in wanted.items():
                assert torch.equal(other[case][entry], each), (case, entry)
        plain = made(case[0], case[1], input_density=1.0)
        for name, each in train(plain, adam(plain), range(4)).items():
            torch.testing.assert_close(wanted[name], each, rtol=1e-4, atol=1e-5)
        state = {name.removesuffix(".values"): each.flatten() for name, each in wanted.items()}
        for name, each in plain.state_dict().items():
            own = state[name.removesuffix(".values")]
            torch.testing.assert_close(own, each.flatten(), rtol=1e-4, atol=1e-4, msg=name)


ORDER = torch.randperm(47, generator=torch.Generator().manual_seed(5))


def resumed(rank, state, moments):
    network = made("lstm")
    shard(network, distributed.group.WORLD, order=ORDER)
    optimizer = adam(network)
    if state is not None:
        load_whole_state_dict(network, state, optimizer, moments)
    train(network, optimizer, range(2) if state is None else range(2, 4))
    return whole_state_dict(network, optimizer)


def test_a_state_loads_at_any_number_of_ranks(tmp_path):
    def run(name, ranks, *given):
        (tmp_path / name).mkdir()
        return on_ranks(tmp_path / name, ranks, resumed, *given)[0]

    state, moments = run("first", 2, None, None)
    wanted, of_wanted = run("wanted", 2, state, moments)
    for ranks in (1, 3):
        found, of_found = run(f"{ranks}", ranks, state, moments)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
        for name, entries in of_wanted.items():
            assert all(torch.equal(of_found[name][kind], entries[kind]) for kind in entries)
    plain = made("lstm")
    plain.load_state_dict(state)
    whole = {name: each for name, each in plain.state_dict().items()}
    assert all(torch.equal(each, state[name]) for name, each in whole.items())


def rewired(rank):
    network = made("gru", torch.float64)
    shard(network, distributed.group.WORLD)
    before = whole_state_dict(network)[0]
    optimizer = adam(network)
    rule = SET(network, optimizer, every=2, seed=3)
    train(network, optimizer, range(2))
    rule.step()
    assert rule.step()
    state, moments = whole_state_dict(network, optimizer)
    return before, state, moments, train(network, optimizer, [7])


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_rewire_their_rows_and_the_copies_follow(ranks, tmp_path):
    """After a rewiring the network computes what an undistributed one with its links does."""
    found = on_ranks(tmp_path, ranks, rewired)
    before, state, moments, result = found[0]
    for other in found[1:]:
        assert all(torch.equal(other[1][name], each) for name, each in state.items())
    links = "weight_hh_l0.col_indices"
    assert len(state[links]) == len(before[links]) and not torch.equal(state[links], before[links])
    plain = made("gru", torch.float64)
    plain.load_state_dict(state)
    optimizer = adam(plain)
    for name, parameter in plain.named_parameters():
        optimizer.state[parameter] = moments[name]
    for name, each in train(plain, optimizer, [7]).items():
        torch.testing.assert_close(result[name], each, msg=name)


def banded(rank):
    """A ring of neighbours: most rows of a rank read its own units only."""
    n = 60
    rows = torch.arange(n).repeat_interleave(3)
    columns = (rows + torch.tensor([-1, 0, 1]).repeat(n)) % n
    network = SparseRNN(2, n, density=0.05, generator=torch.Generator().manual_seed(0))
    values = torch.linspace(-0.3, 0.3, 3 * n)
    network.weight_hh_l0 = SparseWeight.from_coo(rows, columns, values, (n, n))
    shard(network, distributed.group.WORLD)
    weight = network.weight_hh_l0
    early = [part for part in weight.routes().forward.segments if part[2]]
    result = train_ring(network)
    return result, weight.halo, early, weight.shape


def train_ring(network):
    x = torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(1))
    y, _ = network(x)
    y.square().sum().backward()
    return {"y": y.detach()} | whole_state_dict(network)[0]


def test_own_links_are_multiplied_while_others_travel(tmp_path):
    found = {}
    for ranks in RANKS:
        (tmp_path / f"{ranks}").mkdir()
        found[ranks] = on_ranks(tmp_path / f"{ranks}", ranks, banded)
    for ranks in (2, 3):
        for result, halo, early, shape in found[ranks]:
            assert halo == 2, "the neighbour at each end"
            assert early and early[0][1] - early[0][0] == shape[0] - 2
            for name, each in found[1][0][0].items():
                assert torch.equal(result[name], each), name
