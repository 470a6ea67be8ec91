"""A sparse weight applied to activations in PyTorch's layout."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparse_engine.errors import InputError
from sparse_engine.ops._autocast import as_activation
from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import (
    call,
    differentiable,
    in_eager_mode,
    keep,
    native,
    needs_gradient,
)
from sparse_engine.ops._gradients import total
from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.spmm import empty_like_order, spmm
from sparse_engine.ops.sums import column_sums

# Columns of two panels of the widest kind. To visit a link once for both gradients, its value is
# brought to its place in the transpose and its gradient back, which two full panels were measured
# to repay everywhere on a CPU, and fewer only here and there.
TWO_PANELS = 128


def linear(values: Tensor, pattern: Pattern, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``torch.nn.functional.linear(x, W, bias)``: ``[..., in]`` to ``[..., out]``.

    In bfloat16 under autocast, see :func:`spmm`.

    Raises:
        InputError: the last dimension of ``x`` is not in_features, or its dtype does not fit.
    """
    in_features = pattern.t_crow.numel() - 1
    if x.dim() == 0 or x.shape[-1] != in_features:
        raise InputError(f"expected input of shape [..., {in_features}], found {[*x.shape]}")
    x = as_activation(x, values)
    if x.dtype != values.dtype and x.dtype != torch.bfloat16:
        message = f"expected input of dtype {values.dtype}, found {x.dtype}"
        raise InputError(message.replace("torch.", ""))
    if in_eager_mode() and needs_gradient((values, x, bias)):
        return _Linear.apply(values, [*pattern], x, bias)
    return unflatten(spmm(values, pattern, flatten(x), bias), x)


def flatten(x: Tensor) -> Tensor:
    """Return ``[..., features]`` as the ``[features, columns]`` of :func:`spmm`."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).t()


def unflatten(y: Tensor, like: Tensor) -> Tensor:
    """Return ``[features, columns]`` as ``[..., features]``, shaped like ``like`` otherwise."""
    return y.t().reshape(*like.shape[:-1], y.shape[0])


class _Linear(torch.autograd.Function):
    """One record for the graph, where the views around :func:`spmm` would be four more."""

    @staticmethod
    def forward(ctx, values, pattern, x, bias):
        ctx.save_for_backward(values, x, *pattern)
        return unflatten(call(native.spmm.default, values, pattern, flatten(x), bias), x)

    @staticmethod
    def backward(ctx, dy):
        values, x, *pattern = ctx.saved_tensors
        needs_values, _, needs_x, needs_bias = ctx.needs_input_grad
        turned = flatten(dy)
        dvalues = dx = dbias = None
        if needs_values and needs_x and turned.shape[1] >= TWO_PANELS:
            gradients = call(native.linear_backward.default, values, pattern, flatten(x), turned)
            dvalues, dx = gradients[0], unflatten(gradients[1], x)
        else:
            if needs_values:
                dvalues = call(native.sddmm.default, pattern, turned, flatten(x))
            if needs_x:
                dx = unflatten(call(native.spmm_t.default, values, pattern, turned), x)
        if needs_bias:
            dbias = column_sums(turned, values.dtype)
        return dvalues, None, dx, dbias


@fake("linear_backward")
def _(values, x, dy, **_):
    return torch.empty_like(values), empty_like_order(dy, x.shape[0])


def _save(ctx, inputs, output):
    values, pattern, x, dy = inputs
    keep(ctx, values, x, dy, *pattern)


def _second_derivative(ctx, of_dvalues, of_dx):
    """Differentiate ``dvalues = (dy x.T)[links]`` and ``dx = W.T dy``, linear in each input."""
    values, x, dy, *pattern = ctx.saved_tensors
    needs_values, _, needs_x, needs_dy = ctx.needs_input_grad
    of_values = of_x = of_dy = None
    if needs_values:
        of_values = call(native.sddmm.default, pattern, dy, of_dx)
    if needs_x:
        of_x = call(native.spmm_t.default, of_dvalues, pattern, dy)
    if needs_dy:
        of_dy = call(native.spmm.default, of_dvalues, pattern, x, None)
        of_dy = of_dy + call(native.spmm.default, values, pattern, of_dx, None)
    return of_values, None, of_x, of_dy


def _jvp(ctx, of_values, _, of_x, of_dy):
    values, x, dy, *pattern = ctx.saved_tensors
    return (
        total(
            None if of_x is None else call(native.sddmm.default, pattern, dy, of_x),
            None if of_dy is None else call(native.sddmm.default, pattern, of_dy, x),
        ),
        total(
            None if of_values is None else call(native.spmm_t.default, of_values, pattern, dy),
            None if of_dy is None else call(native.spmm_t.default, values, pattern, of_dy),
        ),
    )


differentiable(native.linear_backward.default, save=_save, backward=_second_derivative, jvp=_jvp)
