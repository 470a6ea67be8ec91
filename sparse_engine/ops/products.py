"""Products of a sparse weight with dense matrices, and the gradient of its values."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from sparse_engine.errors import InputError
from sparse_engine.ops._autocast import as_activation, summed_dtype
from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import (
    as_refusal,
    call,
    differentiable,
    in_eager_mode,
    keep,
    native,
    needs_gradient,
)
from sparse_engine.ops._sequence import with_reference
from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.sums import column_sums

# Columns of two panels of the widest kind. The fused backward pass of `linear` visits a link once
# for both gradients, and moves its value to its place in the transpose and its gradient back, which
# two full panels were measured to repay everywhere on a CPU, and fewer only here and there.
TWO_PANELS = 128


def _spmm_ref(values: Tensor, pattern: Pattern, x: Tensor, bias: Tensor | None = None) -> Tensor:
    y = pattern.dense(values) @ x
    return y if bias is None else y + bias[:, None]


@with_reference(_spmm_ref)
def spmm(values: Tensor, pattern: Pattern, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``W @ x + bias[:, None]``, with W given by its links.

    Differentiable in ``values``, ``x`` and ``bias``, to any order, in forward and reverse mode.
    With float32 values, x may be bfloat16, and becomes it under
    ``torch.autocast(x.device.type, torch.bfloat16)``: products and sums are taken in float32, and
    each result is rounded once, to within 2^-8 of itself.

    Args:
        values: float32 or float64 ``[nnz]``.
        pattern: the links of W, ``out_features x in_features``.
        x: ``[in_features, columns]`` in either memory order; the transpose of a contiguous
            ``[batch, in_features]`` tensor is as good as a contiguous matrix.
        bias: ``[out_features]``, or None.

    Returns:
        ``[out_features, columns]`` in the memory order of ``x``.

    Raises:
        ValueError: a shape, dtype or device does not fit.

    Example:
        >>> spmm(weight.values, weight.pattern, torch.ones(6, 3)).shape
        torch.Size([6, 3])
    """
    return _spmm(values, [*pattern], as_activation(x, values), bias)


@with_reference(lambda values, pattern, y: pattern.dense(values).T @ y)
def spmm_t(values: Tensor, pattern: Pattern, y: Tensor) -> Tensor:
    """Return ``W.T @ y``, ``[in_features, columns]``; see :func:`spmm`.

    Example:
        >>> spmm_t(weight.values, weight.pattern, torch.ones(6, 3)).shape
        torch.Size([6, 3])
    """
    return _spmm_t(values, [*pattern], as_activation(y, values))


@with_reference(lambda pattern, a, b: (a @ b.T)[pattern.rows(), pattern.col.long()])
def sddmm(pattern: Pattern, a: Tensor, b: Tensor) -> Tensor:
    """Return ``(a @ b.T)[rows, cols]`` at the links, without forming the product.

    Differentiable in ``a`` and ``b``, to any order, in forward and reverse mode.

    Args:
        pattern: links of an ``out_features x in_features`` matrix.
        a: float32, float64 or bfloat16 ``[out_features, columns]`` in either memory order.
        b: the same dtype, ``[in_features, columns]``.

    Returns:
        ``[nnz]``. Where ``a`` is bfloat16, in float32: within 2^-24 times the number of columns of
        the sum of the absolute products; numbers below 2^-126 may count as zeros.

    Raises:
        ValueError: a shape, dtype or device does not fit.

    Example:
        >>> sddmm(weight.pattern, torch.ones(6, 3), torch.ones(6, 3)).unique()
        tensor([3.])
    """
    return _sddmm([*pattern], a, b)


def linear(values: Tensor, pattern: Pattern, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``torch.nn.functional.linear(x, W, bias)``: ``[..., in]`` to ``[..., out]``.

    In bfloat16 under autocast, see :func:`spmm`.

    Raises:
        InputError: the last dimension of ``x`` is not in_features, or its dtype does not fit.

    Example:
        >>> linear(weight.values, weight.pattern, torch.ones(2, 6)).shape
        torch.Size([2, 6])
    """
    x = as_activation(x, values)
    if not in_eager_mode():
        _check_input(values, pattern, x)
        return _unflatten(spmm(values, pattern, _flatten(x), bias), x)
    try:
        if needs_gradient((values, x, bias)):
            return _Linear.apply(values, pattern, x, bias)
        return native.linear.default(values, [*pattern], x, bias)
    except (ValueError, RuntimeError) as error:
        raise as_refusal(error) from None


def _check_input(values: Tensor, pattern: Pattern, x: Tensor) -> None:
    in_features = pattern.t_crow.numel() - 1
    if x.dim() == 0 or x.shape[-1] != in_features:
        raise InputError(f"expected input of shape [..., {in_features}], found {[*x.shape]}")
    if x.dtype != values.dtype and x.dtype != torch.bfloat16:
        message = f"expected input of dtype {values.dtype}, found {x.dtype}"
        raise InputError(message.replace("torch.", ""))


def _flatten(x: Tensor) -> Tensor:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).t()


def _unflatten(y: Tensor, like: Tensor) -> Tensor:
    return y.t().reshape(*like.shape[:-1], y.shape[0])


def _total(*terms: Tensor | None) -> Tensor | None:
    """Return the sum of the terms that are not None, or None if there is none."""
    there = [term for term in terms if term is not None]
    return sum(there[1:], there[0]) if there else None


def _empty_like_order(x: Tensor, features: int) -> Tensor:
    """Return an empty result in the memory order of ``x``, as the native library allocates it."""
    if x.stride(0) == 1 and x.stride(1) != 1:
        return x.new_empty(x.shape[1], features).t()
    return x.new_empty(features, x.shape[1])


@fake("spmm")
def _(pattern, x, **_):
    return _empty_like_order(x, pattern[0].numel() - 1)


@fake("linear")
def _(pattern, x, **_):
    if x.dim() == 2 and not x.is_contiguous():
        return _empty_like_order(x.t(), pattern[0].numel() - 1).t()
    return x.new_empty(*x.shape[:-1], pattern[0].numel() - 1)


@fake("spmm_t")
def _(pattern, y, **_):
    return _empty_like_order(y, pattern[2].numel() - 1)


@fake("sddmm")
def _(pattern, a, b):
    return a.new_empty(pattern[1].numel(), dtype=summed_dtype(a.dtype))


@fake("linear_backward")
def _(values, x, dy, **_):
    return torch.empty_like(values), _empty_like_order(dy, x.shape[0])


@register_flop_formula([native.spmm, native.spmm_t], get_raw=True)
def _(values, pattern, x, *_, **__):
    return 2 * values.numel() * x.shape[1]


@register_flop_formula(native.linear, get_raw=True)
def _(values, pattern, x, *_, **__):
    return 2 * values.numel() * math.prod(x.shape[:-1])


@register_flop_formula(native.sddmm, get_raw=True)
def _(pattern, a, b, **_):
    return 2 * pattern[1].numel() * a.shape[1]


@register_flop_formula(native.linear_backward, get_raw=True)
def _(values, pattern, x, dy, **_):
    return 4 * values.numel() * x.shape[1]


class _Linear(torch.autograd.Function):
    """One record for the graph, where the views around :func:`spmm` would be four more."""

    @staticmethod
    def forward(ctx, values, pattern, x, bias):
        ctx.save_for_backward(values, x)
        # Saving eight tensors takes longer than looking at six versions.
        ctx.pattern, ctx.versions = pattern, [each._version for each in pattern]
        return native.linear.default(values, [*pattern], x, bias)

    @staticmethod
    def backward(ctx, dy):
        values, x = ctx.saved_tensors
        pattern = [*ctx.pattern]
        if ctx.versions != [each._version for each in pattern]:
            raise RuntimeError(
                "expected the links of the forward pass in the backward pass, found links that "
                "were replaced by an in-place operation: rewire after the backward pass"
            )
        needs_values, _, needs_x, needs_bias = ctx.needs_input_grad
        turned = _flatten(dy)
        dvalues = dx = dbias = None
        if needs_values and needs_x and turned.shape[1] >= TWO_PANELS:
            gradients = call(native.linear_backward.default, values, pattern, _flatten(x), turned)
            dvalues, dx = gradients[0], _unflatten(gradients[1], x)
        else:
            if needs_values:
                dvalues = call(native.sddmm.default, pattern, turned, _flatten(x))
            if needs_x:
                dx = _unflatten(call(native.spmm_t.default, values, pattern, turned), x)
        if needs_bias:
            dbias = column_sums(turned, values.dtype)
        return dvalues, None, dx, dbias


# The derivatives of products are products again. Of a tangent that is None they are None.


def _times(values, pattern, x):
    if values is None or x is None:
        return None
    return call(native.spmm.default, values, pattern, x, None)


def _times_t(values, pattern, y):
    return None if values is None or y is None else call(native.spmm_t.default, values, pattern, y)


def _sampled(pattern, a, b):
    return None if a is None or b is None else call(native.sddmm.default, pattern, a, b)


def _save_product(ctx, inputs, output):
    values, pattern, x, *_ = inputs
    keep(ctx, values, x, *pattern)


def _spmm_backward(ctx, dy):
    values, x, *pattern = ctx.saved_tensors
    needs_values, _, needs_x, needs_bias = ctx.needs_input_grad
    dvalues = _sampled(pattern, dy, x) if needs_values else None
    dx = _times_t(values, pattern, dy) if needs_x else None
    return dvalues, None, dx, column_sums(dy, values.dtype) if needs_bias else None


def _spmm_jvp(ctx, of_values, _, of_x, of_bias):
    values, x, *pattern = ctx.saved_tensors
    of_bias = None if of_bias is None else of_bias[:, None].to(x.dtype).expand(-1, x.shape[1])
    return _total(_times(of_values, pattern, x), _times(values, pattern, of_x), of_bias)


def _spmm_t_backward(ctx, dx):
    values, y, *pattern = ctx.saved_tensors
    needs_values, _, needs_y = ctx.needs_input_grad
    dvalues = _sampled(pattern, y, dx) if needs_values else None
    return dvalues, None, _times(values, pattern, dx) if needs_y else None


def _spmm_t_jvp(ctx, of_values, _, of_y):
    values, y, *pattern = ctx.saved_tensors
    return _total(_times_t(of_values, pattern, y), _times_t(values, pattern, of_y))


def _save_sddmm(ctx, inputs, output):
    pattern, a, b = inputs
    keep(ctx, a, b, *pattern)


def _sddmm_backward(ctx, dvalues):
    a, b, *pattern = ctx.saved_tensors
    _, needs_a, needs_b = ctx.needs_input_grad
    da = _times(dvalues, pattern, b) if needs_a else None
    return None, da, _times_t(dvalues, pattern, a) if needs_b else None


def _sddmm_jvp(ctx, _, of_a, of_b):
    a, b, *pattern = ctx.saved_tensors
    return _total(_sampled(pattern, of_a, b), _sampled(pattern, a, of_b))


def _save_linear(ctx, inputs, output):
    values, pattern, x, dy = inputs
    keep(ctx, values, x, dy, *pattern)


def _linear_second(ctx, of_dvalues, of_dx):
    """Differentiate ``dvalues = (dy x.T)[links]`` and ``dx = W.T dy``, linear in each input."""
    values, x, dy, *pattern = ctx.saved_tensors
    needs_values, _, needs_x, needs_dy = ctx.needs_input_grad
    of_values = _sampled(pattern, dy, of_dx) if needs_values else None
    of_x = _times_t(of_dvalues, pattern, dy) if needs_x else None
    of_dy = (_times(of_dvalues, pattern, x), _times(values, pattern, of_dx)) if needs_dy else ()
    return of_values, None, of_x, _total(*of_dy)


def _linear_jvp(ctx, of_values, _, of_x, of_dy):
    values, x, dy, *pattern = ctx.saved_tensors
    return (
        _total(_sampled(pattern, dy, of_x), _sampled(pattern, of_dy, x)),
        _total(_times_t(of_values, pattern, dy), _times_t(values, pattern, of_dy)),
    )


_spmm = differentiable(
    native.spmm.default, save=_save_product, backward=_spmm_backward, jvp=_spmm_jvp, columns=2
)
_spmm_t = differentiable(
    native.spmm_t.default, save=_save_product, backward=_spmm_t_backward, jvp=_spmm_t_jvp, columns=2
)
_sddmm = differentiable(
    native.sddmm.default, save=_save_sddmm, backward=_sddmm_backward, jvp=_sddmm_jvp
)
differentiable(
    native.linear_backward.default, save=_save_linear, backward=_linear_second, jvp=_linear_jvp
)
