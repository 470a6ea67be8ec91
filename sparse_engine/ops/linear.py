"""A sparse weight applied to activations in PyTorch's layout."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparse_engine.errors import InputError
from sparse_engine.ops._autocast import as_activation
from sparse_engine.ops._native import call, in_eager_mode, native, needs_gradient
from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.spmm import empty_like_order, spmm

# Columns of two panels of the widest kind. To visit a link once for both gradients, its value is
# brought to its place in the transpose and its gradient back, which two full panels were measured
# to repay everywhere, and fewer only here and there.
TWO_PANELS = 128


def linear(values: Tensor, pattern: Pattern, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear(x, W, bias)``: ``[..., in]`` to ``[..., out]``.

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
        return _Linear.apply(values, *pattern, x, bias)
    return unflatten(spmm(values, pattern, flatten(x), bias), x)


def flatten(x: Tensor) -> Tensor:
    """``[..., features]`` as the ``[features, columns]`` of :func:`spmm`."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).t()


def unflatten(y: Tensor, like: Tensor) -> Tensor:
    """``[features, columns]`` as ``[..., features]``, with the other dimensions of ``like``."""
    return y.t().reshape(*like.shape[:-1], y.shape[0])


class _Linear(torch.autograd.Function):
    """One record for the graph, where the views around :func:`spmm` would be four more."""

    @staticmethod
    def forward(ctx, values, crow, col, t_crow, t_col, permutation, x, bias):
        pattern = crow, col, t_crow, t_col, permutation
        ctx.save_for_backward(values, *pattern, x)
        return unflatten(call(native.spmm.default, values, *pattern, flatten(x), bias), x)

    @staticmethod
    def backward(ctx, dy):
        values, *pattern, x = ctx.saved_tensors
        needs = ctx.needs_input_grad
        turned = flatten(dy)
        dvalues = dx = dbias = None
        if needs[0] and needs[6] and x.device.type == "cpu" and turned.shape[1] >= TWO_PANELS:
            gradients = call(native.linear_backward.default, values, *pattern, flatten(x), turned)
            dvalues, dx = gradients[0], unflatten(gradients[1], x)
        else:
            if needs[0]:
                dvalues = call(native.sddmm.default, *pattern, turned, flatten(x))
            if needs[6]:
                dx = unflatten(call(native.spmm_t.default, values, *pattern, turned), x)
        if needs[7]:
            dbias = turned.sum(1, dtype=values.dtype)
        return dvalues, None, None, None, None, None, dx, dbias


@torch.library.register_fake("sparse_engine::linear_backward")
def _(values, crow, col, t_crow, t_col, permutation, x, dy):
    return torch.empty_like(values), empty_like_order(dy, x.shape[0])


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _second_derivative(ctx, of_dvalues, of_dx):
    """Of ``dvalues = (dy x.T)[links]`` and ``dx = W.T dy``, both linear in all they take."""
    values, *pattern, x, dy = ctx.saved_tensors
    needs = ctx.needs_input_grad
    of_values = of_x = of_dy = None
    if needs[0]:
        of_values = call(native.sddmm.default, *pattern, dy, of_dx)
    if needs[6]:
        of_x = call(native.spmm_t.default, of_dvalues, *pattern, dy)
    if needs[7]:
        of_dy = call(native.spmm.default, of_dvalues, *pattern, x, None)
        of_dy = of_dy + call(native.spmm.default, values, *pattern, of_dx, None)
    return of_values, None, None, None, None, None, of_x, of_dy


torch.library.register_autograd(
    "sparse_engine::linear_backward", _second_derivative, setup_context=_save
)
