"""Arguments of the constructors: torch's arguments in torch's order, and options by name."""

import inspect
import math
import re
import warnings

import pytest
import torch
from contract.networks import make, run
from pairwise import pairwise
from testing import leaves_of
from torch import nn

from sparse_engine import nn as sparse
from sparse_engine.errors import InputError
from sparse_engine.nn import CELLS
from sparse_engine.nn.from_torch import OF_TORCH

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
    dense = kind.cell_type.dense_type(*arguments)
    for name in (*OF_TORCH, *kind.cell_type.torch_options):
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


@EVERY
def test_print_shows_every_option(cell):
    network = CELLS[cell](6, 21, 2, density=0.3, checkpoint_every=4)
    shown = network.extra_repr()
    for name, value in network.options.items():
        assert f"{name}={value}" in shown or name.startswith("first_")
    assert "checkpoint_every=4" in shown


@pytest.mark.parametrize("wrong", [(20, 21), (21, 21, torch.float64)])
def test_a_weight_that_does_not_fit_is_refused_where_it_is_assigned(wrong):
    network, (rows, columns, *dtype) = sparse.SparseRNN(6, 21, density=0.3), wrong
    weight = sparse.SparseWeight.erdos_renyi(rows, columns, density=0.5)
    with pytest.raises(ValueError, match=r"expected weight_hh_l0 of shape \(21, 21\) and dtype"):
        network.weight_hh_l0 = weight.to(*dtype) if dtype else weight


def test_print_shows_links_and_dense_numbers():
    network = CELLS["ltc"](6, 20, density=0.5, input_density=0.5)
    links = network.weight_ih_l0.nnz + network.weight_hh_l0.nnz
    assert links == 0.5 * 20 * (6 + 20)
    assert f"{links} links, {2 * 6 + 3 * 20} dense numbers, " in network.extra_repr()
    assert "8 links, 20 dense numbers, " in sparse.SparseRNN(3, 4, density=0.5).extra_repr()


def test_dense_inputs_that_outnumber_the_links_are_told():
    with pytest.warns(UserWarning, match="9,000,000 numbers.*450,000: input_density"):
        sparse.SparseLSTM(1500, 1500, density=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sparse.SparseLSTM(1500, 1500, density=0.05, input_density=0.05)
        sparse.SparseLSTM(100, 1500, density=0.05)  # 600,000 numbers


@pytest.mark.parametrize("kind", [sparse.Recurrent, *(e.network for e in CELLS.values())])
def test_arguments_by_position_are_those_that_all_cells_share(kind):
    """Cells with a counterpart in torch.nn have its order; the others take the rest by name."""
    parameters = inspect.signature(kind).parameters.values()
    positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert positional[:3] == ["input_size", "hidden_size", "num_layers"]
    assert len(positional) == 3 or kind.cell_type.dense_type


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


def wrong_options():
    """Yield a name, options and the message of each mistake, of all cells and of single ones."""
    of_all = [
        ({"density": 2.0}, r"expected density in \(0, 1\], found 2.0"),
        ({"density": 0}, r"expected density in \(0, 1\], found 0"),
        ({"density": math.nan}, r"expected density in \(0, 1\], found nan"),
        ({"input_density": 0.0}, r"expected input_density in \(0, 1\], found 0.0"),
        ({"input_density": 1.5}, r"expected input_density in \(0, 1\], found 1.5"),
        ({"input_density": math.nan}, r"expected input_density in \(0, 1\], found nan"),
        ({"num_layers": 0}, "expected num_layers of at least 1, found 0"),
        ({"input_size": 0}, "expected input_size of at least 1, found 0"),
        ({"hidden_size": -3}, "expected hidden_size of at least 1, found -3"),
        ({"dropout": 1.5}, r"expected dropout in \[0, 1\], found 1.5"),
        ({"dropout": -0.1}, r"expected dropout in \[0, 1\], found -0.1"),
        ({"dropout": math.nan}, r"expected dropout in \[0, 1\], found nan"),
        ({"checkpoint_every": 0}, "checkpoint_every of at least 1, found 0"),
    ]
    clips = [({"cell_clip": c}, f"expected cell_clip > 0, found {c}") for c in (0, -1.0, math.nan)]
    unfolds = [({"unfolds": 0}, "expected unfolds of at least 1, found 0")]
    lengths = [({"dt": dt}, f"expected finite dt > 0, found {dt}") for dt in (0.0, math.inf)]
    sizes = [
        ({"proj_size": n}, f"expected proj_size of at least 0.* found {n}") for n in (-1, 21, 30)
    ]
    of_one = {
        "rnn": [({"nonlinearity": "sin"}, "expected nonlinearity 'tanh' or 'relu', found 'sin'")],
        "lstm": [
            *(clips + sizes),
            (
                {"layer_norm": True, "proj_size": 9},
                "expected no proj_size beside layer_norm, found 9",
            ),
        ],
        "rhn": [
            ({"recurrence_depth": 0}, "recurrence_depth of at least 1, found 0"),
            ({"recurrent_dropout": 1.5}, r"recurrent_dropout in \[0, 1\], found 1.5"),
        ],
        "on_lstm": [
            ({"chunk_size": 4}, "chunk_size that divides hidden_size 21, found 4"),
            ({"chunk_size": 0}, "chunk_size of at least 1, found 0"),
        ],
        "ctrnn": [
            *(clips + unfolds + lengths),
            ({"tau": 0.0}, "expected finite tau > 0, found 0.0"),
            ({"tau": math.inf}, "expected finite tau > 0, found inf"),
            ({"tau": torch.ones(21).index_fill_(0, torch.tensor(3), -2)}, "tau > 0, found -2.0"),
            ({"tau": torch.ones(3)}, r"expected tau of shape \[21\], found \[3\]"),
        ],
        "neural_ode": unfolds + lengths,
        "ltc": unfolds,
    }
    for cell in CELLS:
        yield from ((cell, *each) for each in of_all + of_one.get(cell, []))


@pytest.mark.parametrize(("cell", "options", "message"), [*wrong_options()])
def test_options_out_of_range(cell, options, message):
    arguments = {"input_size": 6, "hidden_size": 21, "density": 0.3} | options
    with pytest.raises(ValueError, match=message):
        CELLS[cell](**arguments)


def test_a_gru_has_no_projection():
    with pytest.raises(TypeError, match="proj_size"):
        sparse.SparseGRU(6, 21, proj_size=5, density=0.3)


@EVERY
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 3, 5), r"\[steps, batch, 6\] or \[steps, 6\], found \[4, 3, 5\]"),
        ((6,), r"found \[6\]"),
        ((), r"found \[\]"),
        ((4, 5), r"found \[4, 5\]"),
        ((2, 4, 3, 6), r"found \[2, 4, 3, 6\]"),
        ((0, 3, 6), "expected at least one time step, found none"),
        ((0, 6), "expected at least one time step, found none"),
    ],
)
def test_inputs_of_the_wrong_shape(cell, shape, message):
    with pytest.raises(InputError, match=message):
        make(cell)(torch.randn(shape, dtype=torch.float64))
    if shape == (0, 3, 6):
        with pytest.raises(InputError, match=message):
            make(cell, batch_first=True)(torch.randn(3, 0, 6, dtype=torch.float64))


@EVERY
def test_states_of_the_wrong_shape(cell):
    network = make(cell)
    for x, wrong in (
        ((4, 3, 6), (1, 2, 21)),
        ((4, 3, 6), (2, 3, 21)),
        ((4, 3, 6), (3, 21)),
        ((4, 6), (1, 1, 21)),
    ):
        good = [1, *x[1:-1], 21]
        for i, name in enumerate(network.states):
            states = [torch.randn(good, dtype=torch.float64) for _ in network.states]
            states[i] = torch.randn(wrong, dtype=torch.float64)
            message = re.escape(f"{name} of shape {good}, found {[*wrong]}")
            with pytest.raises(InputError, match=message):
                run(network, torch.randn(x, dtype=torch.float64), *states)


def test_states_of_a_projection():
    network = make("lstm, projected")
    x, h0, c0 = leaves_of(network, 4, 3)
    with pytest.raises(InputError, match=r"h0 of shape \[1, 3, 9\], found \[1, 3, 21\]"):
        network(x, (c0, c0))
    with pytest.raises(InputError, match=r"c0 of shape \[1, 3, 21\], found \[1, 3, 9\]"):
        network(x, (h0, h0))


@pytest.mark.parametrize("cell", [name for name in CELLS if len(make(name).states) == 2])
def test_two_states_are_a_pair(cell):
    network = make(cell)
    x, h0, _ = leaves_of(network, 4, 3)
    for state, found in [(h0, "Tensor"), ((h0,), "tuple of 1"), ([h0] * 3, "list of 3")]:
        with pytest.raises(TypeError, match=rf"expected a pair \(h0, c0\), found {found}"):
            network(x, state)


@pairwise(
    cell=[*CELLS],
    dtype=["float64", "int64", "float16", "bool"],
    shape=[(4, 3, 6), (4, 1, 6), (4, 6)],
    input_density=[1.0, 0.5],
)
def test_inputs_of_the_wrong_dtype(cell, dtype, shape, input_density):
    network = make(cell, torch.float32, input_density=input_density)
    with pytest.raises(InputError, match=f"dtype float32, found {dtype}"):
        network(torch.ones(shape, dtype=getattr(torch, dtype)))


@EVERY
def test_states_of_the_wrong_dtype(cell):
    network = make(cell, torch.float32)
    for i, name in enumerate(network.states):
        states = [torch.zeros(1, 3, 21) for _ in network.states]
        states[i] = states[i].double()
        with pytest.raises(InputError, match=f"expected {name} of dtype float32, found float64"):
            run(network, torch.randn(4, 3, 6), *states)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_of_a_dtype_without_kernels(cell, dtype):
    network, name = make(cell, torch.float32).to(dtype), str(dtype).removeprefix("torch.")
    with pytest.raises(ValueError, match=f"expected values of dtype .* found {name}"):
        network(torch.ones(4, 3, 6, dtype=dtype))


@pytest.mark.parametrize("cell", [name for name, entry in CELLS.items() if not entry.packed])
def test_networks_that_take_no_packed_sequence(cell):
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 6), torch.randn(2, 6)])
    with pytest.raises(TypeError, match="PackedSequence"):
        make(cell, torch.float32)(packed)


def test_names_and_shapes_of_levels():
    network = make("rhn, separate gates", num_layers=2, bidirectional=True)
    shapes = {name: [*p.shape] for name, p in network.named_parameters() if "values" not in name}
    assert shapes["weight_ih_l0_reverse"] == [63, 6]
    assert shapes["bias_hh_l1"] == [3, 63]
    assert len(shapes) == 6
    assert [weight.shape for weight in network.weight_hh_l1_reverse] == [(63, 21)] * 3
    assert network.weight_ih_l1.shape == (63, 42)
    assert "weight_hh_l0.2.values" in dict(network.named_parameters())


def test_shapes_of_master_gates():
    network = make("on_lstm", num_layers=2, chunk_size=3)
    assert sum(network.blocks) == 2 * 7 + 4 * 21
    assert network.weight_hh_l1.shape == network.weight_ih_l1.shape == (98, 21)
    assert network.weight_ih_l0.shape == (98, 6) and network.bias_hh_l0.shape == (98,)


def test_names_of_synapses():
    network = make("ltc", bidirectional=True)
    names = {name for name, _ in network.named_parameters()}
    own = {"input_w", "input_b", "gleak", "vleak", "cm", "weight_ih", "weight_hh"}
    expected = set()
    for name in own:
        parts = sparse.ConductanceWeight.link_parameters if name.startswith("weight") else [""]
        for suffix in ("_l0", "_l0_reverse"):
            expected |= {f"{name}{suffix}.{part}".rstrip(".") for part in parts}
    assert names == expected


@pytest.mark.parametrize("cell", [name for name, entry in CELLS.items() if entry.dense])
def test_names_are_those_of_the_dense_network(cell):
    for options in ({"num_layers": 2, "bidirectional": True}, {"bias": False}):
        network = make(cell, input_density=0.5, **options)
        names = [name.removesuffix(".values") for name, _ in network.named_parameters()]
        assert sorted(names) == sorted(name for name, _ in network.to_dense().named_parameters())
        for name, parameter in network.named_parameters():
            owner = network.get_submodule(name.rpartition(".")[0])
            assert isinstance(owner, sparse.SparseWeight) == name.endswith(".values")
            assert parameter.dtype == torch.float64
