"""Networks that others have trained give the errors that were found for them."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.convert import read_edge_list
from sparse_engine.nn import SparseCTRNN, SparseRNN

UNITS, WINDOW, AHEAD = 128, 500, 50
# In the order of their names, each followed by the two moments of Adam.
SHAPES = {
    "readout bias": (AHEAD,),
    "readout": (UNITS, AHEAD),
    "input": (1, UNITS),
    "bias": (UNITS,),
    "recurrent": (UNITS, UNITS),
}


def read_checkpoint(file):
    """The tensors of a Mackey-Glass network."""
    numbers = torch.from_numpy(np.fromfile(file, "<f4"))
    tensors, at = {}, 2  # after Adam's two powers
    for name, shape in SHAPES.items():
        size = int(np.prod(shape))
        tensors[name] = numbers[at : at + size].view(shape)
        at += 3 * size
    assert at == numbers.numel()
    return tensors


@pytest.mark.parametrize(("number", "error"), [(1, 3.35e-4), (2, 3.39e-4), (3, 4.25e-4)])
def test_mackey_glass(number, error, data):
    """The mean squared error of the next 50 values, after 500, over the last 10,000."""
    (file,) = (data / "lesion" / f"mackey_glass_{number}").glob("*.data-*")
    trained = read_checkpoint(file)
    dense = nn.RNN(1, UNITS)
    with torch.no_grad():
        dense.weight_ih_l0.copy_(trained["input"].T)
        dense.weight_hh_l0.copy_(trained["recurrent"].T)
        dense.bias_ih_l0.copy_(trained["bias"])
        dense.bias_hh_l0.zero_()
        network = SparseRNN.from_dense(dense)
        assert network.weight_hh_l0.nnz < 0.06 * UNITS**2
        series = torch.from_numpy(np.loadtxt(data / "mackey_glass" / "MackeyGlass_t17.txt")).float()
        windows = series[-10_000:].unfold(0, WINDOW + AHEAD, WINDOW)
        assert len(windows) == 19
        x, y = windows[:, :WINDOW].T.unsqueeze(-1), windows[:, WINDOW:]
        h, _ = network(x)
        assert_close(h, dense(x)[0], rtol=1e-4, atol=1e-4)
        found = (h[-1] @ trained["readout"] + trained["readout bias"] - y).square().mean()
    assert found == pytest.approx(error, rel=0.002)


def test_gestures_in_continuous_time(data):
    """The equations of a network whose weight is stored: six times 0.8 h + 0.1 tanh."""
    file = data / "topologies" / "trained" / "gesture_ctrnn_deepr_epoch200.csv"
    weight = read_edge_list(file, shape=(UNITS, UNITS), dtype=torch.float64)
    network = SparseCTRNN(32, UNITS, density=0.05, tau=0.5, dtype=torch.float64)
    network.weight_hh_l0 = weight
    x = torch.randn(32, 3, 32, dtype=torch.float64)
    with torch.no_grad():
        w_in, w_rec = network.weight_ih_l0.T, weight.to_dense().T
        bias, h = network.bias_ih_l0 + network.bias_hh_l0, torch.zeros(3, UNITS).double()
        for step in x:
            for _ in range(6):
                h = 0.8 * h + 0.1 * torch.tanh(step @ w_in + h @ w_rec + bias)
        assert_close(network(x)[1][0], h, rtol=1e-10, atol=1e-10)
