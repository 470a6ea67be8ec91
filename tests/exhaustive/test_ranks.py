"""Processes that train one network together, and rewire it alike."""

import pytest
import torch
from methods import OPTIONS, make_method
from on_ranks import on_ranks
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight
from sparse_engine.topology import SET, RigL

BATCH, STEPS, EVERY = 12, 12, 3


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = SparseRNN(5, 30, density=0.2, input_density=0.5, dtype=torch.float64)
        self.head = SparseLinear(30, 10, density=0.2, dtype=torch.float64)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def links_of(model):
    return {
        name: (weight.crow_indices.clone(), weight.col_indices.clone())
        for name, weight in model.named_modules()
        if isinstance(weight, SparseWeight)
    }


def whole(tensor):
    return (tensor.full_tensor() if hasattr(tensor, "placements") else tensor).detach().clone()


def state_of(model, optimizer):
    """Parameters and moments, whole on every rank."""
    state = {name: whole(each) for name, each in model.named_parameters()}
    for name, each in model.named_parameters():
        moments = optimizer.state[each].items()
        state |= {f"{name}.{kind}": whole(entry) for kind, entry in moments if entry.dim()}
    return state


def train(model, make, share, wrap=lambda model: model, steps=STEPS):
    """Train on a share of each batch; return the links and everything else at the end."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    rewiring, network = make(model, optimizer), wrap(model)
    parameters = [*model.parameters()]
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(4, BATCH, 5, generator=generator, dtype=torch.float64)[:, share]
        y = torch.randn(4, BATCH, 10, generator=generator, dtype=torch.float64)[:, share]
        optimizer.zero_grad()
        (network(x) - y).square().mean().backward()
        optimizer.step()
        if rewiring.step():
            network = wrap(model)  # the number of links may be another
    assert all(map(lambda a, b: a is b, parameters, model.parameters()))
    return links_of(model), state_of(model, optimizer)


def sharded(model):
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    return model if hasattr(model, "unshard") else fully_shard(model, mesh=mesh)


WRAPPERS = {"ddp": DistributedDataParallel, "fsdp": sharded}


def methods():
    """A function that makes each method, by its name."""
    return {kind.__name__: make_method(kind, steps=40, every=EVERY) for kind in OPTIONS}


def train_shares(rank, model, wrapper, names):
    size = BATCH // distributed.get_world_size()
    share = slice(rank * size, (rank + 1) * size)
    found = {}
    for name in names:
        own = Network()
        own.load_state_dict(model.state_dict())
        if wrapper == "fsdp":
            sharded(own)
        found[name] = train(own, methods()[name], share, WRAPPERS[wrapper])
    return found


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_ranks_rewire_like_one_process_with_all_batches(wrapper, ranks, tmp_path):
    model, names = Network(), [*methods()]
    before = links_of(model)
    found = on_ranks(tmp_path, ranks, train_shares, model, wrapper, names)
    for name in names:
        own = Network()
        own.load_state_dict(model.state_dict())
        links, state = train(own, methods()[name], slice(None))
        for weight, (_, col) in links.items():
            assert name == "Static" or not torch.equal(col, before[weight][1]), name
        for each in found:
            assert not isinstance(each, Exception), each
            there, entries = each[name]
            for weight, of_one in links.items():
                assert all(map(torch.equal, there[weight], of_one)), (name, weight)
            assert entries.keys() == state.keys()
            for entry, of_one in state.items():
                torch.testing.assert_close(entries[entry], of_one, msg=f"{name} {entry}")
                assert torch.equal(entries[entry], found[0][name][1][entry])


def grow_from_one_rank(rank, model):
    """Rewire where the weight of the head has a gradient on rank 0 only."""
    rewiring = RigL(model, None, steps=40, every=1)
    states = model.rnn(torch.ones(4, 8, 5, dtype=torch.float64))[0]
    (states if rank else model.head(states)).square().sum().backward()
    rewiring.step()
    return links_of(model)


def test_a_weight_that_is_not_in_use_on_a_rank(tmp_path):
    one, other = on_ranks(tmp_path, 2, grow_from_one_rank, Network())
    assert torch.equal(one["head.weight"][1], other["head.weight"][1])


def choose_apart(rank, model, wrong):
    torch.manual_seed(rank)
    if wrong == "links" and rank == 1:
        with torch.no_grad():
            model.head.weight.values.copy_(model.head.weight.values.flip(0))
    rewiring = SET(model, None, every=1, seed=rank if wrong == "seed" else 0)
    if wrong == "own":
        rewiring.process_group = distributed.new_subgroups(group_size=1)[0]
        rewiring.seed = rank
    before = links_of(model)
    try:
        rewiring.step()
    except RuntimeError:
        for name, links in links_of(model).items():
            assert all(map(torch.equal, links, before[name]))
        raise
    return links_of(model)


@pytest.mark.parametrize(("wrong", "weight"), [("links", "head.weight"), ("seed", "weight_ih_l0")])
def test_a_divergence_names_rank_and_weight(wrong, weight, tmp_path):
    for error in on_ranks(tmp_path, 2, choose_apart, Network(), wrong):
        assert isinstance(error, RuntimeError)
        assert f"{weight}' on rank 1 than on rank 0" in str(error)


def test_ranks_with_models_of_their_own(tmp_path):
    one, other = on_ranks(tmp_path, 2, choose_apart, Network(), "own")
    assert not torch.equal(one["head.weight"][1], other["head.weight"][1])
