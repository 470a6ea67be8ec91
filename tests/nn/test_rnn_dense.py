"""SparseRNN from a dense network, and back."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sparse_engine.nn import SparseRNN, SparseWeight

SETTINGS = {
    "num_layers": 2,
    "nonlinearity": "relu",
    "bias": False,
    "batch_first": True,
    "dropout": 0.25,
    "bidirectional": True,
}


def test_the_signature_is_kept():
    dense = nn.RNN(6, 21, **SETTINGS, dtype=torch.float64).eval()
    network = SparseRNN.from_dense(dense, density=0.5)
    again = network.to_dense()
    for name, value in ({"input_size": 6, "hidden_size": 21} | SETTINGS).items():
        assert getattr(network, name) == getattr(again, name) == value
    assert not network.training and not again.training
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float64}


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, SETTINGS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_is_kept_without_density_or_mask(options, dtype, check_like_dense):
    dense = nn.RNN(6, 21, **options, dtype=dtype).eval()
    network = SparseRNN.from_dense(dense)
    assert network.weight_hh_l0.nnz == 441
    bound = 1e-10 if dtype == torch.float64 else 1e-5
    check_like_dense(network, dense, [torch.randn(4, 3, 6, dtype=dtype)], bound)


def test_zeros_are_not_links():
    dense = nn.RNN(6, 21)
    with torch.no_grad():
        dense.weight_hh_l0.mul_(torch.rand(21, 21) < 0.2)
    network = SparseRNN.from_dense(dense)
    assert network.weight_hh_l0.nnz == int(torch.count_nonzero(dense.weight_hh_l0))
    assert torch.equal(network.weight_hh_l0.to_dense(), dense.weight_hh_l0)


def test_density_keeps_the_largest():
    dense = nn.RNN(6, 21, num_layers=2)
    network = SparseRNN.from_dense(dense, density=0.1, input_density=0.5)
    for name, count in {"hh_l0": 44, "hh_l1": 44, "ih_l1": 44, "ih_l0": 63}.items():
        weight, values = getattr(network, f"weight_{name}"), getattr(dense, f"weight_{name}")
        kept = weight.to_dense() != 0
        assert weight.nnz == int(kept.sum()) == count
        assert torch.equal(weight.to_dense()[kept], values[kept])
        assert values.abs()[kept].min() >= values.abs()[~kept].max()


def test_density_keeps_the_exact_number_among_equals():
    dense = nn.RNN(6, 21)
    nn.init.constant_(dense.weight_hh_l0, 0.5)
    assert SparseRNN.from_dense(dense, density=0.1).weight_hh_l0.nnz == 44


def test_a_mask_keeps_its_entries_even_where_they_are_zero():
    dense = nn.RNN(6, 21, dtype=torch.float64)
    with torch.no_grad():
        dense.weight_hh_l0[:5] = 0
    mask = torch.rand(21, 21) < 0.2
    network = SparseRNN.from_dense(dense, mask=mask)
    assert network.weight_hh_l0.nnz == int(mask.sum())
    assert torch.equal(network.weight_hh_l0.to_dense(), dense.weight_hh_l0 * mask)
    assert isinstance(network.weight_ih_l0, nn.Parameter)
    pruned = network.to_dense()
    assert torch.equal(pruned.weight_hh_l0, dense.weight_hh_l0 * mask)
    assert torch.equal(pruned.weight_ih_l0, dense.weight_ih_l0)


def test_masks_by_name():
    dense = nn.RNN(6, 21, num_layers=2)
    masks = {
        name: torch.rand(parameter.shape) < 0.3
        for name, parameter in dense.named_parameters()
        if name.startswith("weight")
    }
    network = SparseRNN.from_dense(dense, mask=masks)
    for name, mask in masks.items():
        weight = getattr(network, name)
        assert isinstance(weight, SparseWeight)
        assert torch.equal(weight.to_dense(), getattr(dense, name) * mask)
    assert_close(network.bias_hh_l1, dense.bias_hh_l1, rtol=0, atol=0)


def test_nothing_is_shared_with_the_dense_network():
    dense = nn.RNN(6, 21)
    network = SparseRNN.from_dense(dense)
    before = network.to_dense()
    with torch.no_grad():
        for parameter in dense.parameters():
            parameter.zero_()
    for one, two in zip(before.parameters(), network.to_dense().parameters(), strict=True):
        assert torch.equal(one, two)
        assert one.count_nonzero() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0.1, "mask": torch.ones(21, 21) > 0}, "density or mask, found both"),
        ({"mask": torch.ones(5, 5) > 0}, r"mask of shape \[21, 21\], found \[5, 5\]"),
        ({"mask": torch.ones(21) > 0}, r"mask of shape \[21, 21\], found \[21\]"),
        ({"mask": {"weight_xx": torch.ones(1)}}, r"found \['weight_xx'\]"),
        ({"mask": {"bias_hh_l0": torch.ones(21)}}, r"found \['bias_hh_l0'\]"),
        ({"density": 0.0}, r"density in \(0, 1\], found 0.0"),
        ({"density": 1.01}, r"density in \(0, 1\], found 1.01"),
        ({"density": float("nan")}, r"density in \(0, 1\], found nan"),
        ({"input_density": 0.0}, r"density in \(0, 1\], found 0.0"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        SparseRNN.from_dense(nn.RNN(6, 21), **options)


@pytest.mark.parametrize("other", [nn.LSTM(6, 21), nn.GRU(6, 21), nn.Linear(6, 21)])
def test_another_kind_of_network(other):
    message = f"expected a torch.nn.RNN, found {type(other).__name__}"
    with pytest.raises(TypeError, match=message):
        SparseRNN.from_dense(other, density=0.1)
