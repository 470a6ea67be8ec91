"""What the constructors take: torch's arguments in torch's order, and options by name."""

import inspect

import pytest
import torch
from torch import nn

from sparse_engine import nn as sparse
from sparse_engine.nn._keywords import RecurrentOptions

CELLS = {
    sparse.SparseRNN: {},
    sparse.SparseLSTM: {},
    sparse.SparseGRU: {},
    sparse.SparseRHN: {"recurrence_depth": 2},
    sparse.SparseONLSTM: {"chunk_size": 4},
    sparse.SparseCTRNN: {},
    sparse.SparseNeuralODE: {},
    sparse.SparseLTC: {},
}


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (sparse.SparseRNN, (6, 20, 2, "relu", False, True, 0.25, True)),
        (sparse.SparseLSTM, (6, 20, 2, False, True, 0.25, True, 5)),
        (sparse.SparseGRU, (6, 20, 2, False, True, 0.25, True)),
    ],
)
def test_positional_arguments_are_those_of_torch(kind, arguments):
    network = kind(*arguments, "cpu", torch.float64, density=0.3)
    dense = kind.dense_type(*arguments)
    for name in (name for name, option in kind.options.items() if option.in_torch):
        assert getattr(network, name) == getattr(dense, name), name
    shapes = {name: parameter.shape for name, parameter in dense.named_parameters()}
    for name, shape in shapes.items():
        own = getattr(network, name)
        assert own.shape == tuple(shape) and own.dtype == torch.float64, name


@pytest.mark.parametrize("kind", CELLS)
def test_options_reach_every_cell(kind):
    options = {"batch_first": True, "bidirectional": True, "dtype": torch.float64}
    network = kind(6, 20, 2, density=0.3, input_density=0.5, **options, **CELLS[kind])
    assert network.batch_first and network.bidirectional and network.num_layers == 2
    assert network(torch.randn(3, 5, 6, dtype=torch.float64))[0].shape == (3, 5, 40)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}
    assert isinstance(network.weight_ih_l0, sparse.SparseWeight)


@pytest.mark.parametrize("kind", CELLS)
def test_one_seed_makes_one_network(kind):
    def entries():
        generator = torch.Generator().manual_seed(3)
        network = kind(6, 20, density=0.3, generator=generator, **CELLS[kind])
        return nn.utils.parameters_to_vector(network.parameters())

    assert torch.equal(entries(), entries())


@pytest.mark.parametrize("kind", CELLS)
def test_an_argument_that_no_cell_has(kind):
    with pytest.raises(TypeError, match="densities"):
        kind(6, 20, density=0.3, densities=0.3, **CELLS[kind])
    with pytest.raises(TypeError, match="density"):
        kind(6, 20, **CELLS[kind])


def test_options_are_those_of_the_base_class():
    found = set(inspect.signature(sparse.SparseRecurrent).parameters)
    own = {"input_size", "hidden_size", "num_layers", "density", "settings"}
    assert found == own | RecurrentOptions.__annotations__.keys()
