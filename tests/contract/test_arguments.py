"""Arguments of networks and modules: torch's in torch's order, options by name, others refused."""

import inspect
import re
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from contract.networks import make, run
from testing import leaves_of
from torch import inf, nan, nn

from sparse_engine import nn as sparse
from sparse_engine.errors import InputError
from sparse_engine.nn import CELLS, SparseLinear, SparseWeight
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
    for name, parameter in dense.named_parameters():
        own = getattr(network, name)
        assert own.shape == tuple(parameter.shape) and own.dtype == torch.float64, name


@pytest.mark.parametrize("kind", [sparse.Recurrent, *(e.network for e in CELLS.values())])
def test_arguments_by_position_are_in_the_order_of_torch(kind):
    parameters = inspect.signature(kind).parameters.values()
    positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    shared = [name for name in positional if name not in kind.cell_type.torch_options]
    assert shared in (["input_size", "hidden_size", "num_layers"], [*OF_TORCH, "device", "dtype"])


@EVERY
def test_one_seed_makes_one_network(cell):
    def entries():
        generator = torch.Generator().manual_seed(3)
        network = CELLS[cell](6, 21, density=0.3, generator=generator)
        return nn.utils.parameters_to_vector(network.parameters())

    assert torch.equal(entries(), entries())


@EVERY
def test_arguments_that_no_cell_has_or_every_cell_needs(cell):
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


@pytest.mark.parametrize("cell", [name for name, entry in CELLS.items() if entry.cell.dense_type])
def test_a_constructor_is_called_for_a_dense_network_too(cell):
    class Own(CELLS[cell].network):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.made = True

    dense = CELLS[cell].cell.dense_type(3, 7, 2, dropout=0.5)
    before = torch.get_rng_state()
    network = Own.from_dense(dense, density=0.5)
    assert network.made and network.checkpoint_every is None
    assert torch.equal(torch.get_rng_state(), before)
    assert [*dict(network.named_parameters())] == [
        *dict(CELLS[cell](3, 7, 2, density=0.5).named_parameters())
    ]


INTEGERS = (8.0, True, "8", torch.tensor(8), None)
FLAGS = (0, 1, "True", "False", None, torch.tensor(True))
NUMBERS = (True, "0.5", None, torch.tensor(0.5), nan, 1j)
#: Values of another type, by the name of an argument.
WRONG = {
    **dict.fromkeys(("input_size", "hidden_size", "num_layers"), INTEGERS),
    **dict.fromkeys(("in_features", "out_features", "features", "layer"), INTEGERS),
    **dict.fromkeys(("refractory", "delay"), INTEGERS),
    **dict.fromkeys(("unfolds", "chunk_size", "recurrence_depth", "proj_size"), INTEGERS),
    **dict.fromkeys(("bias", "batch_first", "bidirectional"), FLAGS),
    **dict.fromkeys(("layer_norm", "coupled", "trainable_tau", "keeps_current"), FLAGS),
    **dict.fromkeys(("dropout", "density", "input_density", "recurrent_dropout"), NUMBERS),
    **dict.fromkeys(("tau_membrane", "resistance", "threshold", "reset"), NUMBERS),
    **dict.fromkeys(("gain", "dt", "sigma", "slope", "p", "zoneout"), NUMBERS),
    "checkpoint_every": INTEGERS[:-1],
    "cell_clip": [each for each in NUMBERS if each is not None],
    "solver": (sparse.RK4, "rk4", 4),
    "synapse": (sparse.AlphaSynapse, "alpha", 5.0),
    "surrogate": (sparse.ATan, "atan", torch.sigmoid),
    "nonlinearity": ("gelu", True, 4, ["tanh"]),
}
OUT_OF_RANGE = {
    **dict.fromkeys(("input_size", "hidden_size", "num_layers", "checkpoint_every"), (0, -3)),
    **dict.fromkeys(("unfolds", "recurrence_depth", "features"), (0,)),
    **dict.fromkeys(("density", "input_density"), (0, -0.5, 1.5, inf)),
    **dict.fromkeys(("in_features", "out_features"), (-3,)),
    "layer": (-1,),
    "slope": (-0.1, inf),
    **dict.fromkeys(("dropout", "recurrent_dropout", "p"), (-0.1, 1.5)),
    "chunk_size": (0, 4),
    "proj_size": (-1, 7, 30),
    "cell_clip": (0, -1.0),
    **dict.fromkeys(("dt", "tau_membrane", "resistance"), (0.0, inf)),
    "threshold": (0.0, -inf),
    "reset": (1.0, -inf),
    "refractory": (-1,),
    "delay": (0,),
    "sigma": (-0.1, inf),
}


def refused(make, name):
    for value in (*WRONG[name], *OUT_OF_RANGE.get(name, ())):
        with pytest.raises((TypeError, ValueError), match=f"expected .*{name}.* found") as caught:
            make(**{name: value})
        if WRONG[name] in (INTEGERS, FLAGS) and value in WRONG[name]:
            assert caught.type is TypeError, value


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (cell, name)
        for cell, entry in CELLS.items()
        for name in (*entry.options, "density", "input_density", "gain")
        if (cell, name) != ("ltc", "gain")
    ],
)
def test_options_of_other_types_and_out_of_range(cell, name):
    fine = {"input_size": 6, "hidden_size": 7, "num_layers": 2, "density": 0.5}
    refused(lambda **wrong: CELLS[cell](**fine | wrong), name)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (
            partial(SparseLinear, in_features=6, out_features=8, density=0.5),
            ("in_features", "out_features", "bias", "density", "gain"),
        ),
        (
            partial(SparseWeight.erdos_renyi, in_features=6, out_features=8, density=0.5),
            ("in_features", "out_features", "density", "gain"),
        ),
        (partial(sparse.SReLU, features=3), ("features",)),
        (partial(sparse.AllReLU, slope=0.5, layer=1), ("slope", "layer")),
        (sparse.LockedDropout, ("p", "batch_first")),
        (partial(sparse.EmbeddingDropout, nn.Embedding(3, 4)), ("p",)),
        (partial(sparse.DropConnect, SparseLinear(3, 3, density=0.5), weights=["weight"]), ("p",)),
    ],
)
def test_arguments_of_other_modules(make, names):
    for name in names:
        refused(make, name)


def test_numbers_of_numpy_are_numbers():
    rnn = sparse.SparseRNN(6, 8, 2, density=np.float32(0.5), dropout=np.float64(0.5))
    assert rnn.weight_hh_l0.nnz == 32


@pytest.mark.parametrize("cell", ["ctrnn", "rate_rnn"])
def test_time_constants_out_of_range(cell):
    for tau, message in (
        (0.0, "finite tau > 0, found 0.0"),
        (inf, "finite tau > 0, found inf"),
        (torch.ones(21).index_fill_(0, torch.tensor(3), -2), "tau > 0, found -2.0"),
        (torch.ones(3), r"tau of shape \[21\], found \[3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            CELLS[cell](6, 21, density=0.3, tau=tau)


def test_a_projection_goes_without_norms():
    with pytest.raises(ValueError, match="expected no proj_size beside layer_norm, found 9"):
        sparse.SparseLSTM(6, 21, density=0.3, layer_norm=True, proj_size=9)


@pytest.mark.parametrize("wrong", [(20, 21), (21, 21, torch.float64)])
def test_a_weight_that_does_not_fit_is_refused_where_it_is_assigned(wrong):
    network, (rows, columns, *dtype) = sparse.SparseRNN(6, 21, density=0.3), wrong
    weight = SparseWeight.erdos_renyi(rows, columns, density=0.5)
    with pytest.raises(ValueError, match=r"expected weight_hh_l0 of shape \(21, 21\) and dtype"):
        network.weight_hh_l0 = weight.to(*dtype) if dtype else weight


@EVERY
def test_inputs_that_do_not_fit(cell):
    network = make(cell)
    for shape, message in (
        ((4, 3, 5), r"\[steps, batch, 6\] or \[steps, 6\], found \[4, 3, 5\]"),
        ((6,), r"found \[6\]"),
        ((), r"found \[\]"),
        ((4, 5), r"found \[4, 5\]"),
        ((2, 4, 3, 6), r"found \[2, 4, 3, 6\]"),
        ((0, 3, 6), "expected at least one time step, found none"),
        ((0, 6), "expected at least one time step, found none"),
    ):
        with pytest.raises(InputError, match=message):
            network(torch.randn(shape, dtype=torch.float64))
    with pytest.raises(InputError, match="expected at least one time step, found none"):
        make(cell, batch_first=True)(torch.randn(3, 0, 6, dtype=torch.float64))
    for dtype in ("float32", "int64", "float16", "bfloat16", "bool"):
        for shape in ((4, 3, 6), (4, 1, 6), (4, 6)):
            for each in (network, make(cell, input_density=0.5)):
                with pytest.raises(InputError, match=f"dtype float64, found {dtype}"):
                    each(torch.ones(shape, dtype=getattr(torch, dtype)))


@EVERY
def test_states_that_do_not_fit(cell):
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
            right, states[i] = states[i], torch.randn(wrong, dtype=torch.float64)
            message = re.escape(f"{name} of shape {good}, found {[*wrong]}")
            with pytest.raises(InputError, match=message):
                run(network, torch.randn(x, dtype=torch.float64), *states)
            states[i] = right.float()
            with pytest.raises(InputError, match=f"{name} of dtype float64, found float32"):
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
        with pytest.raises(TypeError, match=rf"expected a tuple \(h0, c0\), found {found}"):
            network(x, state)


@EVERY
def test_a_network_of_a_dtype_without_kernels(cell):
    for dtype in (torch.float16, torch.bfloat16):
        network, name = make(cell, torch.float32).to(dtype), str(dtype).removeprefix("torch.")
        with pytest.raises(ValueError, match=f"expected values of dtype .* found {name}"):
            network(torch.ones(4, 3, 6, dtype=dtype))


@pytest.mark.parametrize("cell", [name for name, entry in CELLS.items() if not entry.cell.packable])
def test_networks_that_take_no_packed_sequence(cell):
    packed = nn.utils.rnn.pack_sequence([torch.randn(3, 6), torch.randn(2, 6)])
    with pytest.raises(TypeError, match="found a PackedSequence; unpack it"):
        make(cell, torch.float32)(packed)
