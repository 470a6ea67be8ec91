"""Sums whose order does not depend on the number of threads, and gradients that are such sums."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_engine.ops._dispatch.native import differentiable, in_eager_mode, native


def column_sums(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return ``x.sum(1, dtype=dtype)`` of a matrix, with the same bits for any number of threads.

    Torch's own sum is taken on other devices than the CPU, and of dtypes other than float32,
    float64 and bfloat16. The dtype is by default that of ``x``, and float32 for bfloat16.
    """
    if x.device.type != "cpu" or x.dtype not in _SUMMED:
        return x.sum(1, dtype=dtype)
    sums = _column_sums(x)
    return sums if dtype is None else sums.to(dtype)


_SUMMED = (torch.float32, torch.float64, torch.bfloat16)


@torch.library.register_fake("sparse_engine::column_sums")
def _(x):
    return x.new_empty(x.shape[0], dtype=torch.float32 if x.dtype == torch.bfloat16 else x.dtype)


def _save(ctx, inputs, output):
    ctx.columns, ctx.dtype = inputs[0].shape[1], inputs[0].dtype


def _backward(ctx, of_sums):
    return of_sums.to(ctx.dtype)[:, None].expand(-1, ctx.columns)


def _jvp(ctx, tangent):
    return _column_sums(tangent)


_column_sums = differentiable(native.column_sums.default, save=_save, backward=_backward, jvp=_jvp)


def affine(x: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
    """Return ``x * gain + bias`` over the last dimension; gradients of vectors are column sums."""
    if not in_eager_mode():  # compilers warn of autograd.Function here, and sum as torch does
        x = x if gain is None else x * gain
        return x if bias is None else x + bias
    return _Affine.apply(x, gain, bias)


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gain, bias):
        ctx.save_for_backward(x if gain is not None else None, gain)
        if gain is None:
            return x.view_as(x) if bias is None else x + bias
        return x * gain if bias is None else torch.addcmul(bias, x, gain)

    @staticmethod
    def backward(ctx, dy):
        x, gain = ctx.saved_tensors
        needs = ctx.needs_input_grad
        dx = dgain = dbias = None
        if needs[0]:
            dx = dy if gain is None else dy * gain
        if needs[1]:
            dgain = column_sums((dy * x).reshape(-1, dy.shape[-1]).t(), gain.dtype)
        if needs[2]:
            dbias = column_sums(dy.reshape(-1, dy.shape[-1]).t())
        return dx, dgain, dbias
