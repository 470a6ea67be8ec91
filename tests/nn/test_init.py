"""Fresh weights: exact size, uniform wiring, values that follow the fan-in, reproducible."""

import math

import pytest
import torch
from testing import assert_valid
from torch.testing import assert_close

from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight


@pytest.mark.parametrize("density", [1e-9, 0.001, 0.05, 0.5, 0.98, 1.0])
def test_density_gives_the_nearest_number_of_links(density):
    weight = SparseWeight.erdos_renyi(90, 70, density=density)
    assert weight.nnz == round(density * 6300)
    assert_valid(weight)


def test_every_cell_is_equally_likely():
    hits = torch.zeros(5, 6)
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        weight = SparseWeight.erdos_renyi(5, 6, density=0.2, generator=generator)
        hits += weight.pattern.dense(torch.ones(6))
    expected = 300 * 6 / 30
    # 29 degrees of freedom, scaled for drawing without replacement; below 68 in 99.99 %.
    assert float(((hits - expected) ** 2 / expected).sum()) / (1 - 6 / 30) < 68


@pytest.mark.parametrize("gain", [1.0, 1.5, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_follow_the_sparse_fan_in(gain, dtype):
    weight = SparseWeight.erdos_renyi(4000, 1000, density=0.02, gain=gain, dtype=dtype)
    bound = gain / weight.fan_in().clamp(min=1).double().sqrt()[weight.rows()]
    scaled = weight.values.detach().double() / bound
    # 80,000 draws: means stray by 0.002, variances by 0.001.
    assert 0.999 < scaled.abs().max() <= 1 + 1e-6
    assert scaled.mean().abs() < 0.01
    assert_close(scaled.var().item(), 1 / 3, rtol=0.02, atol=0)
    sums = weight(torch.randn(400, 1000, dtype=dtype)).detach()[:, weight.fan_in() > 0]
    assert_close(sums.var().item(), gain**2 / 3, rtol=0.02, atol=0)


def test_gain_reaches_every_sparse_weight_of_a_network():
    options = {"num_layers": 2, "bidirectional": True, "density": 0.2, "input_density": 0.5}
    one, three = (
        SparseRNN(10, 50, gain=gain, generator=torch.Generator().manual_seed(0), **options)
        for gain in (1.0, 3.0)
    )
    for name, parameter in three.named_parameters():
        factor = 3.0 if name.endswith(".values") else 1.0
        assert_close(parameter, factor * one.get_parameter(name), rtol=1e-6, atol=0)
    layers = (SparseLinear(30, 20, density=0.5, gain=gain) for gain in (1.0, 3.0))
    small, large = (layer.weight.values.abs().max() for layer in layers)
    assert 2 < large / small < 4


def test_dense_parameters_start_as_in_torch():
    network = SparseRNN(40, 64, density=0.2)
    layer = SparseLinear(100, 3000, density=0.2)
    cases = [(network.weight_ih_l0, 64), (network.bias_ih_l0, 64), (layer.bias, 100)]
    for parameter, fan_in in cases:
        bound = 1 / math.sqrt(fan_in)
        assert 0.9 * bound < parameter.abs().max() <= bound
        assert parameter.mean().abs() < 0.3 * bound


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: SparseWeight.erdos_renyi(90, 70, density=0.1, **options),
        lambda **options: SparseLinear(70, 90, density=0.1, **options),
        lambda **options: SparseRNN(5, 40, 2, density=0.1, input_density=0.5, **options),
    ],
)
def test_a_generator_makes_it_reproducible(make):
    before = torch.get_rng_state()
    first, second = (
        make(generator=torch.Generator().manual_seed(3)).state_dict() for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = make(generator=torch.Generator().manual_seed(4)).state_dict()
    for name, tensor in first.items():
        assert not torch.equal(tensor, other[name]), name


def test_the_weights_of_a_network_differ_and_have_their_exact_sizes():
    network = SparseRNN(6, 21, 2, bidirectional=True, density=0.1, input_density=0.5)
    wirings = set()
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        assert getattr(network, f"weight_hh_{suffix}").nnz == 44
        assert getattr(network, f"weight_ih_{suffix}").nnz == (63 if "l0" in suffix else 88)
        wirings.add(tuple(getattr(network, f"weight_hh_{suffix}").col_indices.tolist()))
    assert len(wirings) == 4
