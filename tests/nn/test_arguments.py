"""What the constructors take: torch's arguments in torch's order, and options by name."""

import inspect

import pytest
import torch
from torch import nn

from sparse_engine import nn as sparse
from sparse_engine.nn import CELLS
from sparse_engine.nn._keywords import RecurrentOptions

EVERY = pytest.mark.parametrize("cell", CELLS)


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


@EVERY
def test_options_reach_every_cell(cell):
    options = {"batch_first": True, "bidirectional": True, "dtype": torch.float64}
    network = CELLS[cell](6, 21, 2, density=0.3, input_density=0.5, **options)
    assert network.batch_first and network.bidirectional and network.num_layers == 2
    assert network(torch.randn(3, 5, 6, dtype=torch.float64))[0].shape == (3, 5, 42)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}
    assert isinstance(network.weight_ih_l0, sparse.SparseWeight)


@EVERY
def test_one_seed_makes_one_network(cell):
    def entries():
        generator = torch.Generator().manual_seed(3)
        network = CELLS[cell](6, 21, density=0.3, generator=generator)
        return nn.utils.parameters_to_vector(network.parameters())

    assert torch.equal(entries(), entries())


@EVERY
def test_an_argument_that_no_cell_has(cell):
    with pytest.raises(TypeError, match="densities"):
        CELLS[cell](6, 21, density=0.3, densities=0.3)
    with pytest.raises(TypeError, match="density"):
        CELLS[cell](6, 21)


def test_options_are_those_of_the_base_class():
    found = {
        name
        for kind in (sparse.SparseRecurrent, sparse.Recurrent)
        for name in inspect.signature(kind).parameters
    }
    own = {"input_size", "hidden_size", "num_layers", "density", "settings"}
    assert found == own | RecurrentOptions.__annotations__.keys()


@EVERY
def test_print_shows_every_option(cell):
    network = CELLS[cell](6, 21, 2, density=0.3, checkpoint_every=4)
    shown = network.extra_repr()
    for name in network.options:
        assert f"{name}={getattr(network, name)}" in shown
    assert "checkpoint_every=4" in shown


@pytest.mark.parametrize(
    "kind", [sparse.Recurrent, sparse.SparseRecurrent, *(e.network for e in CELLS.values())]
)
def test_arguments_by_position_are_those_that_all_cells_share(kind):
    """Those with a counterpart in torch.nn have its order; the others take the rest by name."""
    parameters = inspect.signature(kind).parameters.values()
    positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert positional[:3] == ["input_size", "hidden_size", "num_layers"]
    assert len(positional) == 3 or hasattr(kind, "dense_type")


@pytest.mark.parametrize("cell", [name for name, entry in CELLS.items() if entry.dense])
def test_a_constructor_is_called_for_a_dense_network_too(cell):
    class Own(CELLS[cell].network):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.made = True

    dense = CELLS[cell].dense(3, 7, 2, dropout=0.5)
    before = torch.get_rng_state()
    network = Own.from_dense(dense, density=0.5)
    assert network.made and network.checkpoint_every is None
    assert torch.equal(torch.get_rng_state(), before)
    assert [*dict(network.named_parameters())] == [
        *dict(CELLS[cell](3, 7, 2, density=0.5).named_parameters())
    ]
