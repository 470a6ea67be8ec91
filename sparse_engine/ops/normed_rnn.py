"""The Elman recurrence with layer normalisation over a whole sequence."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from sparse_engine.ops._native import saves_for_backward
from sparse_engine.ops._sequence import batch_of, run_steps
from sparse_engine.ops._sequence_operation import sequence_operation
from sparse_engine.ops.norm import Norm
from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.rnn import ACTIVATIONS, rnn_step


def normed_rnn(
    x: Tensor,
    h0: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    norm: Norm,
    *,
    nonlinearity: str = "tanh",
    batch_sizes: Tensor | None = None,
    resets: Tensor | None = None,
) -> Tensor:
    """Return ``h[t] = act(x[t] + norm(h[t - 1] @ W.T))`` for every t (Ba et al. 2016).

    Before the first step, h is ``h0``.

    Differentiable once, in all tensors of real numbers. Beside its arguments, only ``h`` and what
    ``norm`` multiplies by its gain are kept for the backward pass, with one number more per column;
    without autograd only ``h``.

    Args:
        x: float32 or float64 ``[steps, batch, hidden]``: the input's contribution.
        h0: ``[batch, hidden]``, or None for zeros.
        values: ``[nnz]``.
        pattern: the links of the ``hidden x hidden`` weight W.
        norm: over the ``hidden`` features of ``h[t - 1] @ W.T``.
        nonlinearity: ``"tanh"`` or ``"relu"``, as in :class:`torch.nn.RNN`.
        batch_sizes: int64 on the CPU, for sequences of different lengths, as a
            :class:`torch.nn.utils.rnn.PackedSequence` has it. Every ``[steps, batch, ...]`` here is
            then ``[rows, ...]``, as its data; what has ended costs nothing.
        resets: bool ``[steps, batch]``: where ``resets[t]`` is true an episode begins, and
            ``h[t - 1]`` is zero for step t, with no gradient. Not with ``batch_sizes``. None for
            nowhere.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, there is no step, a negative eps, or an
            unknown nonlinearity.
    """
    if nonlinearity not in ACTIVATIONS:
        raise ValueError(f"expected nonlinearity 'tanh' or 'relu', found {nonlinearity!r}")
    gain, bias, eps = norm
    options = batch_sizes, eps, ACTIVATIONS[nonlinearity], saves_for_backward(), resets
    return _normed_rnn(x, h0, gain, bias, values, [*pattern], *options)[0]


def normed_rnn_ref(
    x: Tensor,
    h0: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    norm: Norm,
    *,
    nonlinearity: str = "tanh",
    batch_sizes: Tensor | None = None,
    resets: Tensor | None = None,
) -> Tensor:
    """Compute :func:`normed_rnn` in plain torch, as its reference implementation."""
    weight = pattern.dense(values)
    h = x.new_zeros(batch_of(x, batch_sizes), x.shape[-1]) if h0 is None else h0
    step = partial(rnn_step, nonlinearity=nonlinearity)
    return run_steps(step, lambda h: norm(h @ weight.T), x, (h,), batch_sizes, resets)[0]


_normed_rnn = sequence_operation(
    "normed_rnn",
    lambda shapes: (
        shapes.every_step(shapes.hidden),
        shapes.kept(shapes.hidden),
        shapes.kept(1),
    ),
)
