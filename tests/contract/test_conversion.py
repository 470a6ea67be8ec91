"""Networks from those of torch.nn, and back."""

import pytest
import torch
from contract.networks import make, weights_of
from testing import refusals
from torch import nn
from torch.nn.utils import prune
from torch.testing import assert_close

from sparse_engine.nn import CELLS, SparseLinear, SparseLSTM, SparseRNN, SparseWeight

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


def of_rnn(**options):
    return lambda: converted(nn.RNN(6, 21), "rnn", **options)


test_options_that_do_not_fit_are_refused = refusals(
    ("density or mask, found both", of_rnn(density=0.1, mask=torch.ones(21, 21) > 0)),
    (r"mask of shape \[21, 21\], found \[5, 5\]", of_rnn(mask=torch.ones(5, 5) > 0)),
    (r"mask of shape \[21, 21\], found \[21\]", of_rnn(mask=torch.ones(21) > 0)),
    (r"found \['weight_xx'\]", of_rnn(mask={"weight_xx": torch.ones(1)})),
    (r"found \['bias_hh_l0'\]", of_rnn(mask={"bias_hh_l0": torch.ones(21)})),
    (r"density in \(0, 1\], found 0.0", of_rnn(density=0.0)),
    (r"density in \(0, 1\], found 1.01", of_rnn(density=1.01)),
    (r"density in \(0, 1\], found nan", of_rnn(density=float("nan"))),
    (r"density in \(0, 1\], found 0.0", of_rnn(input_density=0.0)),
    (
        r"expected no cell_clip to convert, found 0\.1",
        lambda: make("lstm, clipped").to_dense(),
    ),
)


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


def test_a_projection_is_sparse():
    dense = nn.LSTM(6, 21, num_layers=2, proj_size=9, bidirectional=True)
    fewer = SparseLSTM.from_dense(dense, density=0.5)
    assert isinstance(fewer.weight_hr_l0, SparseWeight)
    assert fewer.weight_hr_l0.nnz == round(0.5 * 9 * 21)


@EVERY
def test_what_prune_has_masked_becomes_sparse_with_exactly_those_links(cell):
    dense = DENSE[cell](6, 21, num_layers=2, dtype=torch.float64)
    for name, _ in [*dense.named_parameters()]:
        if name.startswith("weight"):
            prune.random_unstructured(dense, name, amount=0.7)
    with torch.no_grad():
        dense.weight_hh_l1_orig[dense.weight_hh_l1_mask.bool()] = 0.0
    x = torch.randn(5, 3, 6, dtype=torch.float64)
    expected = dense(x)[0]
    network = converted(dense, cell)
    for name in ("weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1"):
        weight, mask = getattr(network, name), getattr(dense, f"{name}_mask")
        assert torch.equal(weight.pattern.dense(torch.ones_like(weight.values)), mask)
    assert_close(network(x)[0], expected, rtol=1e-10, atol=1e-10)


@EVERY
def test_density_chooses_among_what_prune_has_left(cell):
    dense = DENSE[cell](6, 21)
    prune.l1_unstructured(dense, "weight_hh_l0", amount=0.5)
    network = converted(dense, cell, density=0.2)
    kept = network.weight_hh_l0.to_dense() != 0
    assert kept.sum() == network.weight_hh_l0.nnz == round(0.2 * kept.numel())
    assert dense.weight_hh_l0_mask.bool()[kept].all()
    assert isinstance(network.weight_ih_l0, nn.Parameter)


def test_a_linear_layer_that_prune_has_masked():
    dense = nn.Linear(20, 30)
    prune.random_unstructured(dense, "weight", amount=0.9)
    prune.random_unstructured(dense, "bias", amount=0.5)
    layer = SparseLinear.from_dense(dense)
    assert layer.weight.nnz == 60
    x = torch.randn(4, 20)
    assert_close(layer(x), dense(x))


def test_a_parametrization_is_applied():
    dense = nn.RNN(6, 21)
    nn.utils.parametrizations.spectral_norm(dense, "weight_hh_l0")
    dense.eval()
    network = SparseRNN.from_dense(dense)
    x = torch.randn(5, 3, 6)
    assert_close(network(x)[0], dense(x)[0])
