"""Networks from those of torch.nn, and back."""

import pytest
import torch
from contract.networks import make, weights_of
from torch import nn

from sparse_engine.nn import CELLS, SparseLSTM, SparseWeight

DENSE = {name: entry.cell.dense_type for name, entry in CELLS.items() if entry.cell.dense_type}
EVERY = pytest.mark.parametrize("cell", DENSE)
SETTINGS = {
    "num_layers": 2,
    "bias": False,
    "batch_first": True,
    "dropout": 0.25,
    "bidirectional": True,
}
OF_ONE = {"rnn": {"nonlinearity": "relu"}, "lstm": {"proj_size": 5}, "gru": {}}

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")


def converted(dense, cell, **options):
    return CELLS[cell].network.from_dense(dense, **options)


@EVERY
def test_the_signature_is_kept(cell):
    settings = SETTINGS | OF_ONE[cell]
    dense = DENSE[cell](6, 21, **settings, dtype=torch.float64).eval()
    network = converted(dense, cell, density=0.5)
    again = network.to_dense()
    for name, value in ({"input_size": 6, "hidden_size": 21} | settings).items():
        assert getattr(network, name) == getattr(again, name) == value
    assert not network.training and not again.training
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float64}
    names = [name.removesuffix(".values") for name, _ in network.named_parameters()]
    assert sorted(names) == sorted(name for name, _ in dense.named_parameters())


@EVERY
def test_density_keeps_the_largest(cell):
    dense = DENSE[cell](6, 21, num_layers=2)
    network = converted(dense, cell, density=0.1, input_density=0.5)
    weights = weights_of(network)
    assert weights.keys() == {f"weight_{kind}_l{n}" for kind in ("ih", "hh") for n in (0, 1)}
    for name, weight in weights.items():
        values = getattr(dense, name)
        kept = weight.to_dense() != 0
        share = 0.5 if name == "weight_ih_l0" else 0.1
        assert weight.nnz == int(kept.sum()) == round(share * values.numel())
        assert torch.equal(weight.to_dense()[kept], values[kept])
        assert values.abs()[kept].min() >= values.abs()[~kept].max()


@EVERY
def test_density_keeps_the_exact_number_among_equals(cell):
    dense = DENSE[cell](6, 21)
    nn.init.constant_(dense.weight_hh_l0, 0.5)
    weight = converted(dense, cell, density=0.1).weight_hh_l0
    assert weight.nnz == round(0.1 * dense.weight_hh_l0.numel())


@EVERY
def test_masks_keep_their_entries_even_where_they_are_zero(cell):
    dense = DENSE[cell](6, 21, num_layers=2, dtype=torch.float64)
    with torch.no_grad():
        dense.weight_hh_l0[:5] = 0
    masks = {
        name: torch.rand(parameter.shape) < 0.3
        for name, parameter in dense.named_parameters()
        if name.startswith("weight")
    }
    network = converted(dense, cell, mask=masks)
    again = network.to_dense()
    for name, parameter in dense.named_parameters():
        expected = parameter * masks[name] if name in masks else parameter
        assert torch.equal(getattr(again, name), expected), name
        if name in masks:
            assert getattr(network, name).nnz == int(masks[name].sum())


@EVERY
def test_one_mask_is_that_of_the_only_recurrent_weight(cell):
    dense = DENSE[cell](6, 21)
    mask = torch.rand(dense.weight_hh_l0.shape) < 0.2
    network = converted(dense, cell, mask=mask)
    assert torch.equal(network.to_dense().weight_hh_l0, dense.weight_hh_l0 * mask)
    assert isinstance(network.weight_ih_l0, nn.Parameter)


@EVERY
def test_nothing_is_shared_with_the_dense_network(cell):
    dense = DENSE[cell](6, 21)
    network = converted(dense, cell)
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
        converted(nn.RNN(6, 21), "rnn", **options)


@EVERY
def test_another_kind_of_network(cell):
    for other in (*(kind for name, kind in DENSE.items() if name != cell), nn.Linear):
        message = f"expected a torch.nn.{DENSE[cell].__name__}, found {other.__name__}"
        with pytest.raises(TypeError, match=message):
            converted(other(6, 21), cell, density=0.1)


@pytest.mark.parametrize("cell", [n for n, entry in CELLS.items() if "layer_norm" in entry.options])
def test_norms_have_no_dense_counterpart(cell):
    with pytest.raises(ValueError, match="expected no layer_norm to convert, found True"):
        make(f"normed {cell}").to_dense()
    assert "norm_l0" not in dict(make(cell).named_children())


def test_a_clip_has_no_dense_counterpart():
    with pytest.raises(ValueError, match=r"expected no cell_clip to convert, found 0\.1"):
        make("lstm, clipped").to_dense()


def test_a_projection_is_sparse():
    dense = nn.LSTM(6, 21, num_layers=2, proj_size=9, bidirectional=True)
    fewer = SparseLSTM.from_dense(dense, density=0.5)
    assert isinstance(fewer.weight_hr_l0, SparseWeight)
    assert fewer.weight_hr_l0.nnz == round(0.5 * 9 * 21)
