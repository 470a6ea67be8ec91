"""Sampled dense-dense product: the gradient of a sparse weight, at its links only."""

from __future__ import annotations

from torch import Tensor

from sparse_engine.ops._autocast import summed_dtype
from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import call, differentiable, keep, native
from sparse_engine.ops._gradients import total
from sparse_engine.ops._operation import with_reference
from sparse_engine.ops.pattern import Pattern


def _sddmm_ref(pattern: Pattern, a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T)[pattern.rows(), pattern.col.long()]


@with_reference(_sddmm_ref)
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
    """
    return _sddmm([*pattern], a, b)


@fake("sddmm")
def _(pattern, a, b):
    return a.new_empty(pattern[1].numel(), dtype=summed_dtype(a.dtype))


def _save(ctx, inputs, output):
    pattern, a, b = inputs
    keep(ctx, a, b, *pattern)


def _backward(ctx, dvalues):
    a, b, *pattern = ctx.saved_tensors
    _, needs_a, needs_b = ctx.needs_input_grad
    da = call(native.spmm.default, dvalues, pattern, b, None) if needs_a else None
    return None, da, call(native.spmm_t.default, dvalues, pattern, a) if needs_b else None


def _jvp(ctx, _, of_a, of_b):
    a, b, *pattern = ctx.saved_tensors
    return total(
        None if of_a is None else call(native.sddmm.default, pattern, of_a, b),
        None if of_b is None else call(native.sddmm.default, pattern, a, of_b),
    )


_sddmm = differentiable(native.sddmm.default, save=_save, backward=_backward, jvp=_jvp)
