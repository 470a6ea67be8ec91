"""Sparse times dense, and its transpose."""

from __future__ import annotations

from torch import Tensor

from sparse_engine.ops._autocast import as_activation
from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import call, differentiable, keep, native
from sparse_engine.ops._gradients import total
from sparse_engine.ops._operation import with_reference
from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.sums import column_sums


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
    """
    return _spmm(values, [*pattern], as_activation(x, values), bias)


def _spmm_t_ref(values: Tensor, pattern: Pattern, y: Tensor) -> Tensor:
    return pattern.dense(values).T @ y


@with_reference(_spmm_t_ref)
def spmm_t(values: Tensor, pattern: Pattern, y: Tensor) -> Tensor:
    """Return ``W.T @ y``, ``[in_features, columns]``; see :func:`spmm`."""
    return _spmm_t(values, [*pattern], as_activation(y, values))


def empty_like_order(x: Tensor, features: int) -> Tensor:
    """Return an empty result in the memory order of ``x``, as the native library allocates it."""
    if x.stride(0) == 1 and x.stride(1) != 1:
        return x.new_empty(x.shape[1], features).t()
    return x.new_empty(features, x.shape[1])


@fake("spmm")
def _(pattern, x, **_):
    return empty_like_order(x, pattern[0].numel() - 1)


@fake("spmm_t")
def _(pattern, y, **_):
    return empty_like_order(y, pattern[2].numel() - 1)


def _save(ctx, inputs, output):
    values, pattern, x, *_ = inputs
    keep(ctx, values, x, *pattern)


def _spmm_backward(ctx, dy):
    values, x, *pattern = ctx.saved_tensors
    needs_values, _, needs_x, needs_bias = ctx.needs_input_grad
    dvalues = call(native.sddmm.default, pattern, dy, x) if needs_values else None
    dx = call(native.spmm_t.default, values, pattern, dy) if needs_x else None
    return dvalues, None, dx, column_sums(dy, values.dtype) if needs_bias else None


def _spmm_t_backward(ctx, dx):
    values, y, *pattern = ctx.saved_tensors
    needs_values, _, needs_y = ctx.needs_input_grad
    dvalues = call(native.sddmm.default, pattern, y, dx) if needs_values else None
    return dvalues, None, call(native.spmm.default, values, pattern, dx, None) if needs_y else None


def _spmm_jvp(ctx, of_values, _, of_x, of_bias):
    values, x, *pattern = ctx.saved_tensors
    return total(
        None if of_values is None else call(native.spmm.default, of_values, pattern, x, None),
        None if of_x is None else call(native.spmm.default, values, pattern, of_x, None),
        None if of_bias is None else of_bias[:, None].to(x.dtype).expand(-1, x.shape[1]),
    )


def _spmm_t_jvp(ctx, of_values, _, of_y):
    values, y, *pattern = ctx.saved_tensors
    return total(
        None if of_values is None else call(native.spmm_t.default, of_values, pattern, y),
        None if of_y is None else call(native.spmm_t.default, values, pattern, of_y),
    )


_spmm = differentiable(
    native.spmm.default, save=_save, backward=_spmm_backward, jvp=_spmm_jvp, columns=2
)
_spmm_t = differentiable(
    native.spmm_t.default, save=_save, backward=_spmm_t_backward, jvp=_spmm_t_jvp, columns=2
)
