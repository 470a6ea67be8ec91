"""What torch.func and forward-mode autograd make of sparse modules."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.nn import SparseLinear
from sparse_engine.ops._native import native
from sparse_engine.testing import CELLS, random_pattern

EVERY = pytest.mark.parametrize("cell", CELLS)
PATTERN = random_pattern(5, 4, 9)


def real(*shape):
    return torch.randn(*shape, dtype=torch.float64)


#: Each product, its twin, and real arguments.
PRODUCTS = {
    "spmm": (
        lambda v, x, b: ops.spmm(v, PATTERN, x, b),
        lambda v, x, b: ops.spmm_ref(v, PATTERN, x, b),
        (real(9), real(4, 3), real(5)),
    ),
    "spmm_t": (
        lambda v, y: ops.spmm_t(v, PATTERN, y),
        lambda v, y: ops.spmm_t_ref(v, PATTERN, y),
        (real(9), real(5, 3)),
    ),
    "sddmm": (
        lambda a, b: ops.sddmm(PATTERN, a, b),
        lambda a, b: ops.sddmm_ref(PATTERN, a, b),
        (real(5, 3), real(4, 3)),
    ),
    "linear": (
        lambda v, x, b: ops.linear(v, PATTERN, x, b),
        lambda v, x, b: torch.nn.functional.linear(x, PATTERN.dense(v), b),
        (real(9), real(2, 3, 4), real(5)),
    ),
    "linear_backward": (
        lambda v, x, dy: native.linear_backward(v, PATTERN, x, dy),
        lambda v, x, dy: (ops.sddmm_ref(PATTERN, dy, x), ops.spmm_t_ref(v, PATTERN, dy)),
        (real(9), real(4, 3), real(5, 3)),
    ),
}
PRODUCT = pytest.mark.parametrize("name", PRODUCTS)


def tangents_by_dual_tensors(function, inputs, tangents):
    with forward_ad.dual_level():
        duals = [
            each if tangent is None else forward_ad.make_dual(each, tangent)
            for each, tangent in zip(inputs, tangents, strict=True)
        ]
        results = function(*duals)
        results = results if isinstance(results, tuple) else (results,)
        found = [forward_ad.unpack_dual(each).tangent for each in results]
    return [torch.zeros_like(r) if f is None else f for r, f in zip(results, found, strict=True)]


@PRODUCT
@pytest.mark.parametrize("recorded", [True, False])
def test_dual_tensors_go_through_products(name, recorded):
    function, twin, inputs = PRODUCTS[name]
    inputs = [each.detach().requires_grad_(recorded) for each in inputs]
    for wanted in [*range(len(inputs)), None]:
        tangents = [
            torch.randn_like(each) if wanted in (at, None) else None
            for at, each in enumerate(inputs)
        ]
        expected = tangents_by_dual_tensors(twin, inputs, tangents)
        assert_close(tangents_by_dual_tensors(function, inputs, tangents), expected)
        with torch.no_grad():
            assert_close(tangents_by_dual_tensors(function, inputs, tangents), expected)


@PRODUCT
@pytest.mark.parametrize("transform", [jacfwd, jacrev])
def test_jacobians_of_products(name, transform):
    function, twin, inputs = PRODUCTS[name]
    every = tuple(range(len(inputs)))
    assert_close(transform(function, every)(*inputs), transform(twin, every)(*inputs))


@PRODUCT
@pytest.mark.parametrize("nested", [hessian, lambda f, at: jacrev(jacrev(f, at), at)])
def test_second_derivatives_of_products(name, nested):
    function, twin, inputs = PRODUCTS[name]

    def loss_of(product):
        def loss(*inputs):
            results = product(*inputs)
            results = results if isinstance(results, tuple) else (results,)
            return sum((each**3).sum() for each in results)

        return loss

    every = tuple(range(len(inputs)))
    assert_close(nested(loss_of(function), every)(*inputs), nested(loss_of(twin), every)(*inputs))


@PRODUCT
def test_products_of_many_samples(name):
    function, twin, inputs = PRODUCTS[name]
    for batched in [(True,) * len(inputs), *torch.eye(len(inputs), dtype=torch.bool).tolist()]:
        for dim in (0, -1):
            dims = tuple(dim if each else None for each in batched)
            samples = [
                torch.stack([each, 2 * each, -each], dim) if many else each
                for each, many in zip(inputs, batched, strict=True)
            ]
            assert_close(vmap(function, dims)(*samples), vmap(twin, dims)(*samples))


@pytest.mark.parametrize("transform", [grad, lambda f: lambda x: jvp(f, (x,), (x,))[1], vmap])
def test_transforms_of_a_layer_are_compiled(transform):
    layer, x = SparseLinear(4, 5, density=0.5, dtype=torch.float64), real(2, 4)
    run = transform(lambda x: (layer(x) ** 3).sum())
    assert_close(torch.compile(run, backend="aot_eager", fullgraph=True)(x), run(x))


def test_a_layer_has_the_derivatives_of_a_dense_one():
    layer = SparseLinear(4, 5, density=0.5, dtype=torch.float64)
    x, v = real(2, 3, 4), real(2, 3, 4)
    for transform in (
        lambda f: jvp(f, (x,), (v,)),
        lambda f: vmap(grad(lambda x: (f(x) ** 3).sum()))(x),
        lambda f: hessian(lambda x: (f(x) ** 3).sum())(x),
    ):
        assert_close(transform(layer), transform(layer.to_dense()))


def test_a_layer_has_tangents_in_bfloat16():
    layer, x, v = SparseLinear(40, 50, density=0.5), torch.randn(3, 40), torch.randn(3, 40)
    _, expected = jvp(layer, (x,), (v,))
    with torch.autocast("cpu", torch.bfloat16):
        _, found = jvp(layer, (x,), (v,))
    assert found.dtype == torch.bfloat16
    assert_close(found.float(), expected, atol=0.02, rtol=0.02)


def problem(cell, **options):
    network = CELLS[cell](3, 7, density=0.4, dtype=torch.float64, **options)
    parameters = {name: each.detach() for name, each in network.named_parameters()}

    def loss(parameters, x):
        return (functional_call(network, parameters, (x,))[0] ** 2).sum()

    return network, parameters, loss


@EVERY
def test_gradients_of_networks(cell):
    options = {"num_layers": 2, "bidirectional": True}
    network, parameters, loss = problem(cell, **options)
    x = real(4, 2, 3).requires_grad_()
    loss(dict(network.named_parameters()), x).backward()
    of_parameters, of_x = grad(loss, (0, 1))(parameters, x.detach())
    assert_close(of_x, x.grad)
    assert_close(jacrev(loss, 1)(parameters, x.detach()), x.grad)
    assert_close(of_parameters, {name: each.grad for name, each in network.named_parameters()})


@EVERY
def test_gradients_of_each_sample(cell):
    _, parameters, loss = problem(cell)
    x = real(3, 4, 2, 3)
    found = vmap(grad(loss), (None, 0))(parameters, x)
    expected = [grad(loss)(parameters, each) for each in x]
    for name, each in found.items():
        assert_close(each, torch.stack([own[name] for own in expected]))


@EVERY
def test_gradients_of_an_ensemble_of_different_wirings(cell):
    members = [CELLS[cell](3, 7, density=0.4, dtype=torch.float64) for _ in range(3)]
    x = real(4, 2, 3)

    def loss(parameters, buffers):
        return (functional_call(members[0], (parameters, buffers), (x,))[0] ** 2).sum()

    parameters, buffers = stack_module_state(members)
    found = vmap(grad(loss))({k: v.detach() for k, v in parameters.items()}, buffers)
    for at, member in enumerate(members):
        (member(x)[0] ** 2).sum().backward()
        for name, each in member.named_parameters():
            assert_close(found[name][at], each.grad)


@EVERY
def test_networks_refuse_other_derivatives_by_name(cell):
    network, _, _ = problem(cell)
    x = real(4, 2, 3)

    def run(x):
        return network(x)[0]

    message = r"sparse_engine.ops.\w+ has no forward-mode derivative.*sparse_engine.ops.\w+_ref"
    with pytest.raises(RuntimeError, match=message):
        jvp(run, (x,), (x,))
    for recorded in (True, False):
        with (
            torch.set_grad_enabled(recorded),
            forward_ad.dual_level(),
            pytest.raises(RuntimeError, match=message),
        ):
            run(forward_ad.make_dual(x, x))
    with pytest.raises(RuntimeError, match="differentiated once; for a second derivative use"):
        jacrev(jacrev(run))(x)


def test_a_compiled_network_refuses_tangents():
    network, x = CELLS["rnn"](3, 7, density=0.4), torch.randn(4, 2, 3)
    compiled = torch.compile(lambda x: jvp(lambda x: network(x)[0], (x,), (x,)), backend="eager")
    with pytest.raises(Exception, match=r"ops\.rnn has no forward-mode derivative"):
        compiled(x)


@pytest.mark.parametrize("cell", ["lstm", "rhn"])
def test_gradients_of_checkpointed_networks(cell):
    network, parameters, loss = problem(cell)
    x = real(6, 2, 3)
    expected = grad(loss)(parameters, x)
    network.checkpoint_every = 2
    assert_close(grad(loss)(parameters, x), expected)
