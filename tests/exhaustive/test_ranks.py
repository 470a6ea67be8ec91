"""Two processes that train one network together, and rewire it alike."""

import copy

import pytest
import torch
from fresh_process import CONTEXT
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight
from sparse_engine.topology import GSE, MEST, SET, SNFS, DeepR, GraNet, RigL

METHODS = {
    "RigL": lambda m, o: RigL(m, o, steps=40, every=3),
    "GSE": lambda m, o: GSE(m, o, steps=40, every=3),
    "GraNet": lambda m, o: GraNet(m, o, steps=40, density=0.1, start=0.2, every=3),
    "SNFS": lambda m, o: SNFS(m, o, steps=40, every=3, window=3),
    "SET": lambda m, o: SET(m, o, every=3),
    "MEST": lambda m, o: MEST(m, o, steps=40, every=3),
    "DeepR": lambda m, o: DeepR(m, o, temperature=1e-6),
}
RANKS = 2


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


def train(model, method, share, wrap=lambda model: model, steps=12):
    """Train on a share of each batch, and return the links at the end."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rewiring, network = METHODS[method](model, optimizer), wrap(model)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(4, 8, 5, generator=generator, dtype=torch.float64)[:, share]
        y = torch.randn(4, 8, 10, generator=generator, dtype=torch.float64)[:, share]
        optimizer.zero_grad()
        (network(x) - y).square().mean().backward()
        optimizer.step()
        if rewiring.step():
            network = wrap(model)  # the number of links may be another
    return links_of(model)


def joined(rank, folder, task, arguments):
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), RANKS)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    try:
        # Processes share the memory of tensors that they are given.
        result = task(rank, *copy.deepcopy(arguments))
    except RuntimeError as error:
        result = error
    torch.save(result, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def on_ranks(folder, task, *arguments):
    """Return what a task returns on each rank, or the RuntimeError that it raises."""
    started = [
        CONTEXT.Process(target=joined, args=(rank, folder, task, arguments))
        for rank in range(RANKS)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(RANKS)]


def train_half(rank, model, method):
    half = slice(4 * rank, 4 * rank + 4)
    return train(model, method, half, DistributedDataParallel)


@pytest.mark.parametrize("method", METHODS)
def test_ranks_rewire_like_one_process_with_all_batches(method, tmp_path):
    model = Network()
    before = links_of(model)
    found = on_ranks(tmp_path, train_half, model, method)
    wanted = train(model, method, slice(None))
    for name, links in wanted.items():
        assert not torch.equal(links[1], before[name][1])
        for rank in found:
            assert all(map(torch.equal, rank[name], links)), name


def grow_from_one_rank(rank, model):
    """Rewire where the weight of the head has a gradient on rank 0 only."""
    rewiring = RigL(model, None, steps=40, every=1)
    states = model.rnn(torch.ones(4, 8, 5, dtype=torch.float64))[0]
    (states if rank else model.head(states)).square().sum().backward()
    rewiring.step()
    return links_of(model)


def test_a_weight_that_is_not_in_use_on_a_rank(tmp_path):
    one, other = on_ranks(tmp_path, grow_from_one_rank, Network())
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
    for error in on_ranks(tmp_path, choose_apart, Network(), wrong):
        assert isinstance(error, RuntimeError)
        assert f"{weight}' on rank 1 than on rank 0" in str(error)


def test_ranks_with_models_of_their_own(tmp_path):
    one, other = on_ranks(tmp_path, choose_apart, Network(), "own")
    assert not torch.equal(one["head.weight"][1], other["head.weight"][1])
