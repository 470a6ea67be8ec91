"""SparseWeight: constructors, views, and what is saved."""

import copy
import io
import pickle

import pytest
import torch
from safetensors.torch import load, save
from torch.testing import assert_close

from sparse_engine.nn import SparseWeight
from sparse_engine.ops import Pattern
from sparse_engine.testing import assert_valid, random_pattern


def weight_of(rows=30, cols=20, nnz=100, seed=0):
    pattern = random_pattern(rows, cols, nnz, seed=seed)
    return SparseWeight(torch.randn(nnz), pattern)


def test_dense_round_trip():
    dense = torch.randn(9, 7) * (torch.rand(9, 7) < 0.3)
    weight = SparseWeight.from_dense(dense)
    assert torch.equal(weight.to_dense(), dense)
    assert weight.nnz == int((dense != 0).sum())
    assert_close(weight.density, weight.nnz / 63)
    assert torch.equal(weight.fan_in(), (dense != 0).sum(1))
    assert torch.equal(weight.fan_out(), (dense != 0).sum(0))
    assert torch.equal(weight.to_torch_csr().to_dense(), dense)
    assert_valid(weight)


def test_a_mask_keeps_zeros_as_links():
    mask = torch.rand(9, 7) < 0.3
    weight = SparseWeight.from_dense(torch.zeros(9, 7), mask)
    assert weight.nnz == int(mask.sum())


def test_from_coo_in_any_order():
    weight = weight_of()
    order = torch.randperm(100)
    rows, cols = weight.rows()[order], weight.col_indices[order]
    other = SparseWeight.from_coo(rows, cols, weight.values.detach()[order], (30, 20))
    assert torch.equal(other.to_dense(), weight.to_dense())


def test_constructors_do_not_share_memory():
    values = torch.randn(100)
    pattern = random_pattern(30, 20, 100)
    weight = SparseWeight.from_csr(pattern.crow, pattern.col, values, (30, 20))
    values.zero_()
    assert weight.values.abs().min() > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SparseWeight.from_coo(
                torch.tensor([0, 0]), torch.tensor([1, 1]), torch.ones(2), (2, 2)
            ),
            "duplicate link",
        ),
        (
            lambda: SparseWeight.from_coo(
                torch.tensor([0, 2]), torch.tensor([1, 1]), torch.ones(2), (2, 2)
            ),
            r"expected rows in \[0, 2\), found 2 at position 1",
        ),
        (
            lambda: SparseWeight.from_coo(
                torch.tensor([0]), torch.tensor([1, 1]), torch.ones(2), (2, 2)
            ),
            "expected rows, cols and values of one length",
        ),
        (lambda: SparseWeight.from_dense(torch.ones(3)), r"expected a matrix, found shape \[3\]"),
        (
            lambda: SparseWeight.from_dense(torch.ones(3, 3), torch.ones(2, 3)),
            r"expected a mask of shape \[3, 3\], found \[2, 3\]",
        ),
        (
            lambda: SparseWeight(torch.ones(5, dtype=torch.int64), random_pattern(3, 3, 5)),
            "expected floating-point values",
        ),
        (
            lambda: SparseWeight(torch.ones(4), random_pattern(3, 3, 5)),
            r"expected floating-point values of shape \[5\], found torch.float32 of shape \[4\]",
        ),
        (lambda: SparseWeight.erdos_renyi(3, 3, density=0), r"density in \(0, 1\], found 0"),
        (lambda: SparseWeight.erdos_renyi(3, 3, density=1.1), r"density in \(0, 1\], found 1.1"),
        (lambda: SparseWeight.erdos_renyi(3, 3, density=float("nan")), "found nan"),
        (lambda: SparseWeight.erdos_renyi(3, 3, epsilon=-1), "expected epsilon > 0, found -1"),
        (lambda: SparseWeight.erdos_renyi(3, 3), "exactly one of density and epsilon"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("density", [0.001, 0.05, 0.5, 0.98, 1.0])
def test_erdos_renyi_is_exact_and_reproducible(density):
    def make():
        generator = torch.Generator().manual_seed(3)
        return SparseWeight.erdos_renyi(90, 70, density=density, generator=generator)

    weight = make()
    assert weight.nnz == round(density * 6300)
    assert_valid(weight)
    again = make()
    assert torch.equal(weight.to_dense(), again.to_dense())
    assert SparseWeight.erdos_renyi(90, 70, epsilon=4).nnz == 4 * 160


def test_values_follow_the_sparse_fan_in():
    weight = SparseWeight.erdos_renyi(4000, 1000, density=0.02, gain=1.5)
    bound = 1.5 / weight.fan_in().clamp(min=1).double().sqrt()[weight.rows()]
    scaled = weight.values.detach().double() / bound
    assert scaled.abs().max() <= 1 + 1e-6
    assert scaled.mean().abs() < 0.01
    assert_close(scaled.var().item(), 1 / 3, rtol=0.02, atol=0)


def state_of(weight):
    return {name: value.clone() for name, value in weight.state_dict().items()}


def test_state_dict_has_values_and_both_indices():
    assert set(weight_of().state_dict()) == {"values", "crow_indices", "col_indices"}


@pytest.mark.parametrize("nnz", [100, 40, 0])
def test_another_topology_is_loaded(nnz):
    weight, other = weight_of(), weight_of(nnz=nnz, seed=1)
    parameter = weight.values
    weight.load_state_dict(other.state_dict())
    assert weight.values is parameter
    assert weight.topology_version == 1
    assert torch.equal(weight.to_dense(), other.to_dense())
    assert_valid(weight)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.pop("crow_indices"), "crow_indices"),
        (lambda s: s.update(extra=torch.ones(1)), "extra"),
        (lambda s: s["col_indices"].add_(100), r"expected col_indices in \[0, 20\), found 1\d\d"),
        (lambda s: s["col_indices"].copy_(s["col_indices"].flip(0)), "strictly increasing"),
        (lambda s: s.update(values=torch.ones(7)), r"values of shape \[7\]"),
        (lambda s: s.update(crow_indices=torch.zeros(3).long()), r"shape \[31\], found \[3\]"),
        (lambda s: s.update(col_indices=torch.rand(100)), "integer dtype, found torch.float32"),
    ],
)
def test_damaged_state_is_refused_and_nothing_changes(damage, message):
    weight = weight_of()
    before = weight.to_dense()
    state = state_of(weight)
    damage(state)
    with pytest.raises(RuntimeError, match=message):
        weight.load_state_dict(state)
    assert torch.equal(weight.to_dense(), before)
    assert_valid(weight)


def test_copies():
    weight = weight_of()
    saved = io.BytesIO()
    torch.save(weight.state_dict(), saved)
    saved.seek(0)
    loaded = weight_of(seed=2)
    loaded.load_state_dict(torch.load(saved, weights_only=True))
    from_safetensors = weight_of(seed=3)
    from_safetensors.load_state_dict(load(save(weight.state_dict())))
    pickled = pickle.loads(pickle.dumps(weight))
    for copied in (copy.deepcopy(weight), pickled, loaded, from_safetensors):
        assert torch.equal(copied.to_dense(), weight.to_dense())
        assert copied.values.data_ptr() != weight.values.data_ptr()
        assert_valid(copied)


def test_dtype_moves_only_the_values():
    weight = weight_of().to(torch.float64)
    assert weight.values.dtype == torch.float64
    assert weight.crow_indices.dtype == torch.int64
    assert weight.col_indices.dtype == torch.int32
    assert weight(torch.randn(3, 20, dtype=torch.float64)).dtype == torch.float64


def test_set_pattern_stays_in_place():
    weight = weight_of()
    storage, parameter = weight.values.data_ptr(), weight.values
    pattern = random_pattern(30, 20, 100, seed=9)
    weight.set_pattern(pattern, torch.ones(100))
    assert weight.values is parameter and weight.values.data_ptr() == storage
    assert_valid(weight)
    with pytest.raises(ValueError, match=r"pattern of shape \(30, 20\)"):
        weight.set_pattern(random_pattern(20, 30, 100), torch.ones(100))


def test_parameters_are_only_the_values():
    weight = weight_of()
    assert [name for name, _ in weight.named_parameters()] == ["values"]
    assert isinstance(weight.pattern, Pattern)
    assert "nnz=100" in repr(weight)
