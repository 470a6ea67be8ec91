"""Derivatives of products and layers: finite differences, torch.func and forward-mode autograd."""

import pytest
import torch
from testing import awkward_patterns, random_pattern
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import grad, hessian, jacrev, jvp, vmap
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.nn import SparseLinear
from sparse_engine.ops._dispatch.native import native
from sparse_engine.ops.products import TWO_PANELS

PATTERNS = awkward_patterns()
SMALL = [name for name, pattern in PATTERNS.items() if pattern.nnz < 400]


def real(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def products(pattern, columns):
    """Every product, its reference, and real arguments."""
    rows, cols = pattern.shape
    v, x, y, b = (real(*n) for n in ((pattern.nnz,), (cols, columns), (rows, columns), (rows,)))
    return {
        "spmm": (
            lambda v, x, b: ops.spmm(v, pattern, x, b),
            lambda v, x, b: ops.spmm.reference(v, pattern, x, b),
            (v, x, b),
        ),
        "spmm_t": (
            lambda v, y: ops.spmm_t(v, pattern, y),
            lambda v, y: ops.spmm_t.reference(v, pattern, y),
            (v, y),
        ),
        "sddmm": (
            lambda y, x: ops.sddmm(pattern, y, x),
            lambda y, x: ops.sddmm.reference(pattern, y, x),
            (y, x),
        ),
        "linear": (
            lambda v, x, b: ops.linear(v, pattern, x, b),
            lambda v, x, b: torch.nn.functional.linear(x, pattern.dense(v), b),
            (v, real(columns, 2, cols), b),
        ),
        "linear_backward": (
            lambda v, x, dy: native.linear_backward(v, pattern, x, dy),
            lambda v, x, dy: (
                ops.sddmm.reference(pattern, dy, x),
                ops.spmm_t.reference(v, pattern, dy),
            ),
            (v, x, y),
        ),
    }


def of_pattern(name, columns, operation):
    """A product as a function of its real arguments, with those, whose gradients are wanted."""
    function, _, inputs = products(PATTERNS[name], columns)[operation]
    return function, [each.requires_grad_() for each in inputs]


EVERY = pytest.mark.parametrize("operation", ["spmm", "spmm_t", "sddmm", "linear"])


@pytest.mark.parametrize("name", SMALL)
@EVERY
def test_products(name, operation):
    for columns in (1, 3):
        function, inputs = of_pattern(name, columns, operation)
        assert gradcheck(function, inputs)
    function, inputs = of_pattern(name, TWO_PANELS, operation)
    assert gradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("name", SMALL)
@EVERY
def test_second_derivatives_of_products(name, operation):
    for columns in (1, TWO_PANELS):
        function, inputs = of_pattern(name, columns, operation)
        assert gradgradcheck(function, inputs, fast_mode=True)


@EVERY
def test_one_gradient_of_a_product_alone_has_the_same_bits(operation):
    function, inputs = of_pattern("ordinary", 9, operation)
    upstream = torch.randn_like(function(*inputs))
    expected = torch.autograd.grad(function(*inputs), inputs, upstream)
    for wanted in range(len(inputs)):
        alone = [leaf.detach().requires_grad_(i == wanted) for i, leaf in enumerate(inputs)]
        (grad,) = torch.autograd.grad(function(*alone), alone[wanted], upstream)
        assert torch.equal(grad, expected[wanted])


PRODUCTS = products(random_pattern(5, 4, 9), 3)
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
    function, reference, inputs = PRODUCTS[name]
    inputs = [each.detach().requires_grad_(recorded) for each in inputs]
    for wanted in [*range(len(inputs)), None]:
        tangents = [
            torch.randn_like(each) if wanted in (at, None) else None
            for at, each in enumerate(inputs)
        ]
        expected = tangents_by_dual_tensors(reference, inputs, tangents)
        assert_close(tangents_by_dual_tensors(function, inputs, tangents), expected)
        with torch.no_grad():
            assert_close(tangents_by_dual_tensors(function, inputs, tangents), expected)


@PRODUCT
@pytest.mark.parametrize("nested", [hessian, lambda f, at: jacrev(jacrev(f, at), at)])
def test_nested_derivatives_of_products(name, nested):
    function, reference, inputs = PRODUCTS[name]

    def loss_of(product):
        def loss(*inputs):
            results = product(*inputs)
            results = results if isinstance(results, tuple) else (results,)
            return sum((each**3).sum() for each in results)

        return loss

    every = tuple(range(len(inputs)))
    assert_close(
        nested(loss_of(function), every)(*inputs), nested(loss_of(reference), every)(*inputs)
    )


@PRODUCT
def test_products_of_many_samples(name):
    function, reference, inputs = PRODUCTS[name]
    for batched in [(True,) * len(inputs), *torch.eye(len(inputs), dtype=torch.bool).tolist()]:
        for dim in (0, -1):
            dims = tuple(dim if each else None for each in batched)
            samples = [
                torch.stack([each, 2 * each, -each], dim) if many else each
                for each, many in zip(inputs, batched, strict=True)
            ]
            assert_close(vmap(function, dims)(*samples), vmap(reference, dims)(*samples))


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: lambda x: jvp(f, (x,), (x,))[1],
        *(pytest.param(each, marks=pytest.mark.exhaustive) for each in (grad, vmap)),
    ],
)
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
