"""The recurrence against its slow twin, and its derivatives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from sparse_engine import ops
from sparse_engine.testing import random_pattern, tolerance


def problem(hidden, nnz, steps, batch, dtype, *, inputs=None, initial=True, bias=True, seed=0):
    pattern = random_pattern(hidden, hidden, nnz, seed=seed)

    def real(*shape, scale=1.0):
        return (scale * torch.randn(*shape, dtype=dtype)).requires_grad_()

    return (
        real(steps, batch, hidden if inputs is None else inputs),
        real(batch, hidden) if initial else None,
        real(hidden) if bias else None,
        real(nnz, scale=(hidden / max(1, nnz)) ** 0.5),
        pattern,
    ), (None if inputs is None else real(hidden, inputs))


def gradients(run, leaves, upstream):
    result = run()
    kept = [leaf for leaf in leaves if leaf is not None]
    return result.detach(), torch.autograd.grad(result, kept, upstream)


def check(arguments, w_input, nonlinearity):
    *leaves, pattern = arguments
    steps, batch, _ = arguments[0].shape
    hidden = pattern.shape[0]
    dtype = arguments[0].dtype
    upstream = torch.randn(steps, batch, hidden, dtype=dtype)
    options = {"w_input": w_input, "nonlinearity": nonlinearity}
    h, grads = gradients(lambda: ops.rnn(*arguments, **options), [*leaves, w_input], upstream)
    h_ref, grads_ref = gradients(
        lambda: ops.rnn_ref(*arguments, **options), [*leaves, w_input], upstream
    )
    close = tolerance(dtype, 16 * hidden * steps * batch)
    assert_close(h, h_ref, **tolerance(dtype, 16 * hidden * steps))
    for grad, grad_ref in zip(grads, grads_ref, strict=True):
        assert_close(grad, grad_ref, **close)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("hidden", "nnz"), [(1, 0), (1, 1), (7, 0), (16, 256), (33, 200), (129, 900), (300, 900)]
)
def test_equals_the_slow_twin(hidden, nnz, dtype, nonlinearity):
    for steps, batch in [(1, 1), (5, 1), (2, 3), (20, 4), (9, 12), (3, 16), (5, 33), (4, 130)]:
        for inputs, initial in [(None, True), (None, False), (5, True), (1, False)]:
            arguments, w_input = problem(
                hidden, nnz, steps, batch, dtype, inputs=inputs, initial=initial
            )
            check(arguments, w_input, nonlinearity)


@given(data=st.data())
def test_random_sizes(data):
    hidden = data.draw(st.integers(1, 80))
    arguments, w_input = problem(
        hidden,
        data.draw(st.integers(0, hidden * hidden)),
        data.draw(st.integers(1, 12)),
        data.draw(st.integers(1, 70)),
        data.draw(st.sampled_from([torch.float32, torch.float64])),
        inputs=data.draw(st.sampled_from([None, 1, 3, 17])),
        initial=data.draw(st.booleans()),
        bias=data.draw(st.booleans()),
        seed=data.draw(st.integers(0, 1000)),
    )
    check(arguments, w_input, "tanh")


@pytest.mark.parametrize("inputs", [None, 2])
def test_gradcheck(inputs):
    (x, h0, bias, values, pattern), w_input = problem(9, 25, 4, 3, torch.float64, inputs=inputs)
    tensors = [t for t in (x, h0, bias, values, w_input) if t is not None]

    def run(x, h0, bias, values, w_input=None):
        return ops.rnn(x, h0, bias, values, pattern, w_input=w_input)

    assert torch.autograd.gradcheck(run, tensors)


@pytest.mark.parametrize("inputs", [None, 2])
@pytest.mark.parametrize("initial", [True, False])
def test_opcheck(inputs, initial):
    (x, h0, bias, values, pattern), w_input = problem(
        9, 25, 4, 3, torch.float32, inputs=inputs, initial=initial
    )
    native = torch.ops.sparse_engine
    forward = (x, w_input, h0, bias, values, *pattern, 0)
    torch.library.opcheck(native.rnn_forward.default, forward)
    h = native.rnn_forward(*forward).detach()
    start = None if h0 is None else h0.detach()
    for wanted in (True, False):
        torch.library.opcheck(
            native.rnn_backward.default,
            (
                torch.randn_like(h),
                h,
                x.detach() if wanted else None,
                start,
                values.detach(),
                *pattern,
                0,
                not wanted,
                wanted,
            ),
        )


def test_strided_input():
    (x, h0, bias, values, pattern), _ = problem(9, 25, 4, 3, torch.float32)
    turned = x.detach().transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(
        ops.rnn(turned, h0, bias, values, pattern), ops.rnn(x, h0, bias, values, pattern)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tanh_is_accurate_everywhere(dtype):
    tiny = torch.finfo(dtype).tiny
    points = torch.cat([torch.linspace(-12, 12, 4001), torch.logspace(-30, 1, 500)]).to(dtype)
    points = torch.cat([points, points.new_tensor([0.0, tiny, 60, -60, torch.inf, -torch.inf])])
    hidden = points.numel()
    h = ops.rnn(
        points.expand(1, 2, hidden),
        None,
        None,
        points.new_zeros(0),
        random_pattern(hidden, hidden, 0),
    )[0, 0]
    exact = torch.tanh(points.double())
    error = (h.double() - exact).abs() / exact.abs().clamp(min=tiny)
    assert error.max() < 3 * torch.finfo(dtype).eps
    assert (
        ops.rnn(
            points.new_full((1, 2, 1), torch.nan),
            None,
            None,
            points.new_zeros(0),
            random_pattern(1, 1, 0),
        )
        .isnan()
        .all()
    )


def test_second_derivative_is_refused_clearly():
    (x, h0, bias, values, pattern), _ = problem(4, 5, 2, 2, torch.float64)
    (first,) = torch.autograd.grad(
        ops.rnn(x, h0, bias, values, pattern).sum(), values, create_graph=True
    )
    with pytest.raises(RuntimeError, match="differentiated once; for a second derivative use"):
        first.sum().backward()


def test_errors_say_what_was_expected_and_found():
    (x, h0, bias, values, pattern), _ = problem(9, 25, 4, 3, torch.float32)
    with pytest.raises(ValueError, match="expected nonlinearity 'tanh' or 'relu', found 'sin'"):
        ops.rnn(x, h0, bias, values, pattern, nonlinearity="sin")
    with pytest.raises(
        ValueError, match=r"expected x of shape \[steps, batch, 9\], found \[4, 3, 8\]"
    ):
        ops.rnn(x[..., :8], h0, bias, values, pattern)
    with pytest.raises(ValueError, match=r"expected h0 of shape \[3, 9\], found \[2, 9\]"):
        ops.rnn(x, h0[:2], bias, values, pattern)
    with pytest.raises(
        ValueError, match=r"expected w_input of shape \[9, inputs\], found \[3, 2\]"
    ):
        ops.rnn(x, h0, bias, values, pattern, w_input=torch.zeros(3, 2))
    with pytest.raises(ValueError, match="expected a square recurrent weight, found 5 x 9"):
        ops.rnn(x, h0, bias, values, random_pattern(5, 9, 25))
