"""SparseRNN: arguments and inputs that it refuses."""

import math

import pytest
import torch

from sparse_engine.nn import SparseRNN


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 2.0}, r"expected density in \(0, 1\], found 2.0"),
        ({"density": 0}, r"expected density in \(0, 1\], found 0"),
        ({"density": math.nan}, r"expected density in \(0, 1\], found nan"),
        ({"input_density": 0.0}, r"expected input_density in \(0, 1\], found 0.0"),
        ({"input_density": math.nan}, r"expected input_density in \(0, 1\], found nan"),
        ({"num_layers": 0}, "expected num_layers of at least 1, found 0"),
        ({"input_size": 0}, "expected input_size of at least 1, found 0"),
        ({"hidden_size": -3}, "expected hidden_size of at least 1, found -3"),
        ({"dropout": 1.5}, r"expected dropout in \[0, 1\], found 1.5"),
        ({"dropout": -0.1}, r"expected dropout in \[0, 1\], found -0.1"),
        ({"dropout": math.nan}, r"expected dropout in \[0, 1\], found nan"),
        ({"nonlinearity": "sin"}, "expected nonlinearity 'tanh' or 'relu', found 'sin'"),
    ],
)
def test_constructor(options, message):
    arguments = {"input_size": 6, "hidden_size": 21, "density": 0.3} | options
    with pytest.raises(ValueError, match=message):
        SparseRNN(**arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 3, 5), r"\[steps, batch, 6\] or \[steps, 6\], found \[4, 3, 5\]"),
        ((6,), r"found \[6\]"),
        ((4, 5), r"found \[4, 5\]"),
        ((2, 4, 3, 6), r"found \[2, 4, 3, 6\]"),
        ((0, 3, 6), "expected at least one time step, found none"),
        ((0, 6), "expected at least one time step, found none"),
    ],
)
def test_input_shapes(shape, message, make_rnn):
    with pytest.raises(ValueError, match=message):
        make_rnn()(torch.randn(shape, dtype=torch.float64))


def test_no_steps_with_the_batch_first(make_rnn):
    with pytest.raises(ValueError, match="expected at least one time step, found none"):
        make_rnn(batch_first=True)(torch.randn(3, 0, 6, dtype=torch.float64))


@pytest.mark.parametrize(
    ("x", "h0", "message"),
    [
        ((4, 3, 6), (1, 2, 21), r"h0 of shape \[1, 3, 21\], found \[1, 2, 21\]"),
        ((4, 3, 6), (2, 3, 21), r"h0 of shape \[1, 3, 21\], found \[2, 3, 21\]"),
        ((4, 3, 6), (3, 21), r"h0 of shape \[1, 3, 21\], found \[3, 21\]"),
        ((4, 6), (1, 1, 21), r"h0 of shape \[1, 21\], found \[1, 1, 21\]"),
    ],
)
def test_shapes_of_the_initial_state(x, h0, message, make_rnn):
    network = make_rnn()
    with pytest.raises(ValueError, match=message):
        network(torch.randn(x, dtype=torch.float64), torch.randn(h0, dtype=torch.float64))


@pytest.mark.parametrize("dtype", ["float64", "int64", "float16", "bool"])
@pytest.mark.parametrize("shape", [(4, 3, 6), (4, 1, 6), (4, 6)])
@pytest.mark.parametrize("input_density", [1.0, 0.5])
def test_input_dtypes(dtype, shape, input_density, make_rnn):
    network = make_rnn(torch.float32, input_density=input_density)
    with pytest.raises(ValueError, match=f"dtype float32, found {dtype}"):
        network(torch.ones(shape, dtype=getattr(torch, dtype)))


def test_dtype_of_the_initial_state(make_rnn):
    with pytest.raises(ValueError, match="expected h0 of dtype float32, found float64"):
        make_rnn(torch.float32)(torch.randn(4, 3, 6), torch.zeros(1, 3, 21).double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_of_a_dtype_without_kernels(dtype, make_rnn):
    network, name = make_rnn(torch.float32).to(dtype), str(dtype).removeprefix("torch.")
    with pytest.raises(ValueError, match=f"expected values of dtype .* found {name}"):
        network(torch.ones(4, 3, 6, dtype=dtype))
