"""The linear layer, and how layers start."""

import math

import pytest
import torch
from testing import assert_valid, refusals
from torch import nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from sparse_engine.nn import SparseLinear, SparseRNN, SparseWeight

BOUNDS = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 3, 12), (0, 12), (1, 12), (4, 0, 12)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", BOUNDS)
def test_equals_the_dense_layer(shape, bias, dtype):
    layer = SparseLinear(12, 7, bias, density=0.4, dtype=dtype)
    x, close = torch.randn(shape, dtype=dtype), {"rtol": BOUNDS[dtype], "atol": BOUNDS[dtype]}
    upstream, found = torch.randn(*shape[:-1], 7, dtype=dtype), []
    for module in (layer, dense := layer.to_dense()):
        own = x.clone().requires_grad_()
        y = module(own)
        y.backward(upstream)
        found.append((y, own.grad))
    assert_close(*found, **close)
    links = layer.weight.rows(), layer.weight.col_indices.long()
    assert_close(layer.weight.values.grad, dense.weight.grad[links], **close)
    if bias:
        assert_close(layer.bias.grad, dense.bias.grad, **close)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", BOUNDS)
def test_from_dense_and_back(bias, dtype):
    dense = nn.Linear(12, 7, bias, dtype=dtype)
    mask = torch.rand(7, 12) < 0.3
    layer = SparseLinear.from_dense(dense, mask)
    again = layer.to_dense()
    assert layer.weight.nnz == int(mask.sum())
    assert (layer.in_features, layer.out_features) == (12, 7)
    assert torch.equal(again.weight, dense.weight * mask)
    assert again.weight.dtype == dtype
    if bias:
        assert torch.equal(again.bias, dense.bias)
        assert layer.bias.data_ptr() != dense.bias.data_ptr() != again.bias.data_ptr()
    else:
        assert layer.bias is None and again.bias is None


def test_from_dense_without_a_mask_keeps_what_is_not_zero():
    dense = nn.Linear(12, 7)
    with torch.no_grad():
        dense.weight[2:4] = 0
    layer = SparseLinear.from_dense(dense)
    assert layer.weight.nnz == 60
    assert torch.equal(layer.weight.to_dense(), dense.weight)


def from_dense(*mask, **options):
    return lambda: SparseLinear.from_dense(nn.Linear(12, 7), *mask, **options)


def of_inputs(*shape, dtype="float32"):
    return lambda: SparseLinear(12, 7, density=0.4)(torch.ones(shape, dtype=getattr(torch, dtype)))


test_what_does_not_fit_is_refused = refusals(
    (r"mask of shape \[7, 12\], found \[12, 7\]", from_dense(torch.ones(12, 7) > 0)),
    ("expected density or mask, found both", from_dense(torch.ones(7, 12) > 0, density=0.5)),
    (r"density in \(0, 1\], found 1.5", from_dense(density=1.5)),
    *(
        (r"expected input of shape \[..., 12\], found \[", of_inputs(*shape))
        for shape in ((3, 11), (13,), ())
    ),
    *(
        (f"of dtype float32, found {dtype}", of_inputs(3, 12, dtype=dtype))
        for dtype in ("float64", "int64", "float16")
    ),
)


def test_no_outputs():
    assert SparseLinear(3, 0, density=0.5)(torch.randn(4, 3)).shape == (4, 0)


def test_density_keeps_the_largest():
    dense = nn.Linear(12, 7)
    layer = SparseLinear.from_dense(dense, density=0.25)
    assert layer.weight.nnz == 21
    kept = layer.weight.to_dense().detach()
    assert dense.weight[kept == 0].abs().max() <= dense.weight[kept != 0].abs().min()
    assert torch.equal(kept[kept != 0], dense.weight[kept != 0])


def test_a_layer_under_autocast():
    layer = SparseLinear(70, 50, density=0.2)
    x = torch.randn(4, 9, 70, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        assert y.dtype == torch.bfloat16
        assert layer(y.new_zeros(2, 70)).dtype == torch.bfloat16
    target = torch.randn(y.shape)
    gradients = torch.autograd.grad((y * target).sum(), [x, *layer.parameters()])
    expected = torch.autograd.grad((layer(x) * target).sum(), [x, *layer.parameters()])
    for own, other in zip(gradients, expected, strict=True):
        assert own.dtype == torch.float32
        assert (own - other).norm() < 2**-7 * other.norm()
    with torch.autocast("cpu", torch.bfloat16, enabled=False):
        assert layer(x).dtype == torch.float32


def test_float64_stays_float64_under_autocast():
    layer, x = SparseLinear(7, 5, density=0.5, dtype=torch.float64), torch.randn(3, 7).double()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.float64


class Operations(TorchDispatchMode):
    """Names of the operations that run."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.append(operation.name())
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 3, 12)])
def test_a_call_is_one_operation(shape):
    layer, x = SparseLinear(12, 7, density=0.4), torch.randn(shape)
    with Operations() as mode, torch.no_grad():
        mode.names = []
        layer(x)
    assert mode.names == ["sparse_engine::linear"]


def test_a_transposed_input_is_not_copied():
    layer, x = SparseLinear(12, 7, density=0.4), torch.randn(12, 5)
    y = layer(x.t())
    assert y.t().is_contiguous()
    assert_close(y, layer.to_dense()(x.t()))


@pytest.mark.parametrize("everywhere", [False, True])
def test_hooks_of_the_weight_run(everywhere):
    layer, x = SparseLinear(12, 7, density=0.4), torch.randn(5, 12)
    found, wanted = [], layer(x)
    register = nn.modules.module.register_module_forward_hook
    if not everywhere:
        register = layer.weight.register_forward_hook
    handle = register(lambda module, args, y: found.append(module))
    assert torch.equal(layer(x), wanted)
    handle.remove()
    assert layer.weight in found
    layer.weight.forward = lambda x, bias: x.new_full((5, 7), 3.0)
    assert torch.equal(layer(x), torch.full((5, 7), 3.0))


def test_links_that_were_replaced_before_the_backward_pass_are_noticed():
    layer, x = SparseLinear(12, 7, density=0.4), torch.randn(5, 12)
    y = layer(x)
    layer.weight.col_indices.copy_(layer.weight.col_indices)
    with pytest.raises(RuntimeError, match="links that were replaced"):
        y.sum().backward()


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
