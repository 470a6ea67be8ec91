"""The LSTM with layer normalisation over a whole sequence."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from sparse_engine.ops._native import saves_for_backward
from sparse_engine.ops._sequence import batch_of, finite, run_steps
from sparse_engine.ops._sequence_operation import sequence_operation
from sparse_engine.ops.lstm import lstm_step
from sparse_engine.ops.norm import Norm
from sparse_engine.ops.pattern import Pattern


def normed_lstm(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    norm: Norm,
    c_norm: Norm,
    *,
    batch_sizes: Tensor | None = None,
    cell_clip: float | None = None,
    resets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run an LSTM with layer normalisation (Ba et al. 2016, equations 20 to 22).

    With ``i, f, g, o = (x[t] + norm(h[t - 1] @ W.T)).chunk(4, -1)``, for every t::

        c[t] = (sigmoid(f) * c[t - 1] + sigmoid(i) * tanh(g)).clamp(-cell_clip, cell_clip)
        h[t] = sigmoid(o) * tanh(c_norm(c[t]))

    Differentiable once, in all tensors of real numbers. Beside its arguments, only ``h``, ``c`` and
    what ``norm`` multiplies by its gain are kept for the backward pass, with three numbers more per
    column; without autograd only ``h``.

    Args:
        x: float32 or float64 ``[steps, batch, 4 * hidden]``: the input's contribution.
        h0: ``[batch, hidden]``, or None for zeros.
        c0: the same; give both or neither.
        values: ``[nnz]``.
        pattern: the links of W, ``4 * hidden x hidden``: a block of rows for each gate.
        norm: over the ``4 * hidden`` features of ``h[t - 1] @ W.T``.
        c_norm: over the ``hidden`` features of c, where h is made of it.
        batch_sizes: int64 on the CPU, for sequences of different lengths, as a
            :class:`torch.nn.utils.rnn.PackedSequence` has it. Every ``[steps, batch, ...]`` here is
            then ``[rows, ...]``, as its data; what has ended costs nothing.
        cell_clip: at least 0; the gradient of a clipped c is 0. By default nothing is clipped.
        resets: bool ``[steps, batch]``: where ``resets[t]`` is true an episode begins, and
            ``h[t - 1]`` and ``c[t - 1]`` are zero for step t, with no gradient. Not with
            ``batch_sizes``. None for nowhere.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``, and the last ``c``, ``[batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, there is no step, or a negative eps or
            clip.
    """
    if cell_clip is not None and not cell_clip >= 0:
        raise ValueError(f"expected cell_clip of at least 0, found {cell_clip}")
    norms = *norm[:2], *c_norm[:2]
    options = batch_sizes, norm.eps, c_norm.eps, finite(cell_clip), saves_for_backward()
    h, c_n, *_ = _normed_lstm(x, h0, c0, *norms, values, [*pattern], *options, resets)
    return h, c_n


def normed_lstm_ref(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    norm: Norm,
    c_norm: Norm,
    *,
    batch_sizes: Tensor | None = None,
    cell_clip: float | None = None,
    resets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute :func:`normed_lstm` in plain torch, as its reference implementation."""
    weight = pattern.dense(values)
    zeros = x.new_zeros(batch_of(x, batch_sizes), x.shape[-1] // 4)
    start = zeros if h0 is None else h0, zeros if c0 is None else c0
    step = partial(lstm_step, c_norm=c_norm, cell_clip=cell_clip)
    h, _, c = run_steps(step, lambda h: norm(h @ weight.T), x, start, batch_sizes, resets)
    return h, c


_normed_lstm = sequence_operation(
    "normed_lstm",
    lambda shapes: (
        shapes.every_step(shapes.hidden),
        shapes.last_step(shapes.hidden),
        shapes.kept(5 * shapes.hidden),
        shapes.kept(3),
    ),
)
