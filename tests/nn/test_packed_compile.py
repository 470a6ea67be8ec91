"""Sequences of different lengths under torch.compile: one graph, whatever the lengths."""

from functools import partial

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence
from torch.testing import assert_close

from sparse_engine.nn import SparseGRU, SparseLSTM, SparseRNN

# Each with something that the others have not.
NETWORKS = {
    "rnn": partial(SparseRNN, bidirectional=True),
    "lstm": partial(SparseLSTM, proj_size=9, batch_first=True),
    "gru": partial(SparseGRU, num_layers=2, input_density=0.5),
    "normed rnn": partial(SparseRNN, layer_norm=True),
    "normed lstm": partial(SparseLSTM, layer_norm=True, bidirectional=True, batch_first=True),
}
CELLS = pytest.mark.parametrize("cell", NETWORKS)
# The longest is shorter than the padding, and as long; all of one length.
LENGTHS = [3, 6, 1, 5], [7, 6, 7, 1], [1, 1, 1, 1], [7, 7, 7, 7]


def make(cell):
    generator = torch.Generator().manual_seed(4)
    return NETWORKS[cell](6, 21, density=0.3, generator=generator)


def inputs(network):
    """An input of 7 steps and 4 sequences, and initial states."""
    x = torch.randn(*((4, 7) if network.batch_first else (7, 4)), 6)
    _, last = network(x)
    return x, last.detach() if isinstance(last, torch.Tensor) else tuple(s.detach() for s in last)


def tensors(result):
    if isinstance(result, torch.Tensor):
        return [result]
    return [each for part in result if part is not None for each in tensors(part)]


def gradients(run, network, *arguments, **options):
    """Results and all gradients."""
    network.zero_grad()
    results = tensors(run(*arguments, **options))
    sum(each.square().sum() for each in results if each.requires_grad).backward()
    return [*results, *(parameter.grad.clone() for parameter in network.parameters())]


def compiled(network, *, fullgraph=True):
    """The network, and a list that grows with every graph that is made of it."""
    graphs = []

    def backend(graph, examples):
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, examples)

    torch._dynamo.reset()
    return torch.compile(network, backend=backend, fullgraph=fullgraph), graphs


@CELLS
def test_lengths_in_a_tensor_share_one_graph(cell):
    network = make(cell)
    x, state = inputs(network)
    run, graphs = compiled(network)
    for lengths in map(torch.tensor, LENGTHS):
        found = gradients(run, network, x, state, lengths=lengths)
        assert_close(found, gradients(network, network, x, state, lengths=lengths))
    for lengths in ([3, 8, 1, 5], [3, 6, 0, 5]):
        with pytest.raises(RuntimeError, match=r"expected lengths in \[1, 7\]"):
            run(x, state, lengths=torch.tensor(lengths))
    assert len(graphs) == 1


@pytest.mark.parametrize("lengths", [LENGTHS[0], torch.tensor(LENGTHS[0], dtype=torch.int32)])
def test_lengths_of_other_types(lengths):
    network = make("rnn")
    x, _ = inputs(network)
    run, _ = compiled(network)
    found = gradients(run, network, x, lengths=lengths)
    assert_close(found, gradients(network, network, x, lengths=lengths))


@CELLS
def test_packed_sequences(cell):
    network = make(cell)
    x, state = inputs(network)
    packed = pack_padded_sequence(x, LENGTHS[0], network.batch_first, enforce_sorted=False)
    run, _ = compiled(network)
    found = gradients(run, network, packed, state)
    assert_close(found, gradients(network, network, packed, state))


@CELLS
def test_packed_sequences_in_order(cell):
    network = make(cell)
    x, state = inputs(network)
    run, _ = compiled(network)
    for lengths in ([7, 6, 6, 1], [5, 5, 2, 2]):
        packed = pack_padded_sequence(x, lengths, network.batch_first)
        for given in ((packed,), (packed, state)):
            assert_close(gradients(run, network, *given), gradients(network, network, *given))
    fewer = tuple(s[:, :3] for s in state) if isinstance(state, tuple) else state[:, :3]
    with pytest.raises(ValueError, match=r"expected h0 of shape \[4, \d+\], found \[3, \d+\]"):
        run(packed, fewer)


@pytest.mark.filterwarnings("ignore")  # of torch itself, about what it then does not compile
def test_segments_break_the_graph():
    network = make("rnn")
    network.checkpoint_every = 3
    x, _ = inputs(network)
    run, graphs = compiled(network, fullgraph=False)
    found = gradients(run, network, x, lengths=LENGTHS[0])
    assert_close(found, gradients(network, network, x, lengths=LENGTHS[0]))
    assert len(graphs) > 1
