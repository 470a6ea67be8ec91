"""Recurrences of units with gates, and without, over whole sequences.

:mod:`sparse_engine.ops` describes what they have in common. The operation ``<cell>_step``, of the
cells in :data:`STATES`, runs all layers of a network for one time step of a stream, without
gradients: it returns the output and the states of sequences of one step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparse_engine.ops._autocast import activations, as_sum, unfolded
from sparse_engine.ops._dispatch.fake import fake
from sparse_engine.ops._dispatch.native import saves_for_backward
from sparse_engine.ops._dispatch.sequence import sequence_operation
from sparse_engine.ops._sequence import (
    Product,
    States,
    check_one_of,
    finite,
    joined,
    multiplied,
    sequence_of,
    steps_of,
)
from sparse_engine.ops.pattern import Pattern

ACTIVATIONS = {"tanh": 0, "relu": 1}

#: The number of states of each cell that has the operation ``<cell>_step``.
STATES = {"rnn": 1, "lstm": 2, "gru": 1, "mgu": 1}

_rnn = sequence_operation("rnn", lambda shapes: shapes.every_step(shapes.rows))
_lstm = sequence_operation(
    "lstm",
    lambda shapes: (
        shapes.every_step(shapes.outputs),
        shapes.last_step(shapes.hidden),
        shapes.kept(5 * shapes.hidden),
    ),
)
_gru, _mgu = (
    sequence_operation(
        name,
        lambda shapes, saved=saved: (  # type: ignore[misc]
            shapes.every_step(shapes.hidden),
            shapes.nothing(),
            shapes.kept(saved * shapes.hidden),
        ),
    )
    for name, saved in (("gru", 4), ("mgu", 3))
)
_on_lstm = sequence_operation(
    "on_lstm",
    lambda shapes: (
        shapes.every_step(shapes.hidden),
        shapes.last_step(shapes.hidden),
        shapes.kept(shapes.hidden),
        shapes.kept(shapes.rows),
    ),
)


def rnn_step(v: Tensor, product: Product, state: States, *, nonlinearity: str) -> States:
    """Compute one time step of Elman's unit: ``product(h)`` is ``h @ W.T`` with the bias."""
    return (getattr(torch, nonlinearity)(v + product(state[0])),)


@sequence_of(rnn_step)
def rnn(
    x: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    nonlinearity: str = "tanh",
    batch_sizes: Tensor | None = None,
    resets: Tensor | None = None,
) -> tuple[Any, ...]:
    """Return ``h[t] = act(x[t] @ w_input.T + bias + h[t - 1] @ W.T)`` for every t, ``h[-1] = h0``.

    Beside its arguments, only ``h`` is kept for the backward pass. bfloat16 runs on a GPU, too.

    Args:
        x: ``[steps, batch, inputs]``; without ``w_input`` ``[steps, batch, hidden]``.
        h0: ``[batch, hidden]``, or None for zeros.
        bias: ``[hidden]``, or None.
        values: ``[nnz]``.
        pattern: the links of the ``hidden x hidden`` weight W.
        w_input: dense ``[hidden, inputs]``, or None.
        nonlinearity: ``"tanh"`` or ``"relu"``, as in :class:`torch.nn.RNN`.
        batch_sizes: for sequences of different lengths.
        resets: where episodes begin.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or the nonlinearity is unknown.

    Example:
        >>> states = rnn(torch.ones(5, 2, 6), None, None, weight.values, weight.pattern)
    """
    check_one_of(ACTIVATIONS, "nonlinearity", nonlinearity)
    x, h0 = activations(values, x, h0, devices=("cpu", "cuda"))
    x, w_input, _ = multiplied(x, w_input)
    options = batch_sizes, ACTIVATIONS[nonlinearity], resets
    return _rnn(x, w_input, h0, bias, values, [*pattern], *options), None


def lstm_step(
    v: Tensor,
    product: Product,
    state: States,
    *,
    project: Product | None = None,
    c_norm: Any = None,
    cell_clip: float | None = None,
) -> States:
    """Compute one time step of an LSTM: ``product(h)`` is ``h @ W.T`` with the bias."""
    h, c = state
    i, f, g, o = (v + product(h)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    c = c if cell_clip is None else c.clamp(-cell_clip, cell_clip)
    h = torch.sigmoid(o) * torch.tanh(c if c_norm is None else c_norm(c))
    return (h if project is None else project(h)), c


@sequence_of(lstm_step)
def lstm(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    batch_sizes: Tensor | None = None,
    projection: tuple[Tensor, Pattern] | None = None,
    cell_clip: float | None = None,
    resets: Tensor | None = None,
) -> tuple[Any, ...]:
    """Run an LSTM (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000).

    With ``i, f, g, o = (x[t] @ w_input.T + bias + h[t - 1] @ W.T).chunk(4, -1)``, for every t::

        c[t] = (sigmoid(f) * c[t - 1] + sigmoid(i) * tanh(g)).clamp(-cell_clip, cell_clip)
        h[t] = (sigmoid(o) * tanh(c[t])) @ W_p.T

    Beside its arguments, only ``h``, ``c`` and the four gates are kept for the backward pass, and
    without autograd not even these. With bfloat16, c is carried from step to step in float32.

    Args:
        x: ``[steps, batch, inputs]``; without ``w_input`` ``[steps, batch, 4 * hidden]``.
        h0: ``[batch, hidden]`` (all of h has ``outputs`` features with a projection), or None for
            zeros.
        c0: ``[batch, hidden]``, or None for zeros; give both or neither.
        bias: ``[4 * hidden]``, or None.
        values: ``[nnz]``.
        pattern: the links of W, ``4 * hidden x outputs``: a block of rows for each gate.
        w_input: dense ``[4 * hidden, inputs]``, or None.
        batch_sizes: for sequences of different lengths.
        projection: values and pattern of W_p, ``outputs x hidden`` (Sak et al. 2014); None is the
            identity, and ``outputs = hidden``.
        cell_clip: at least 0; the gradient of a clipped c is 0. By default nothing is clipped.
        resets: where episodes begin.

    Returns:
        ``h`` of shape ``[steps, batch, outputs]``, and the last ``c``, ``[batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, there is no step, or a negative clip.
    """
    check_clip(cell_clip)
    p_values, p_pattern = (None, ()) if projection is None else projection
    x, h0 = activations(values, x, h0)
    c0 = None if c0 is None else as_sum(c0, values)
    links = values, [*pattern, *p_pattern], p_values
    options = batch_sizes, finite(cell_clip), saves_for_backward(), resets
    x, w_input, _ = multiplied(x, w_input)
    return _lstm(x, w_input, None, h0, c0, bias, *links, *options)


def check_clip(cell_clip: float | None) -> None:
    """Raise ValueError for a negative limit."""
    if cell_clip is not None and not cell_clip >= 0:
        raise ValueError(f"expected cell_clip of at least 0, found {cell_clip}")


def gru_step(v: Tensor, product: Product, state: States) -> States:
    """Compute one time step of a GRU: ``product(h)`` is ``h @ W.T + bias``."""
    (h,) = state
    (v_r, v_z, v_n), (u_r, u_z, u_n) = v.chunk(3, -1), product(h).chunk(3, -1)
    r, z = torch.sigmoid(v_r + u_r), torch.sigmoid(v_z + u_z)
    return ((1 - z) * torch.tanh(v_n + r * u_n) + z * h,)


@sequence_of(gru_step)
def gru(
    x: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    b_input: Tensor | None = None,
    batch_sizes: Tensor | None = None,
    resets: Tensor | None = None,
) -> tuple[Any, ...]:
    """Run gated recurrent units (Cho et al. 2014), with the reset gate of :class:`torch.nn.GRU`.

    With ``v_r, v_z, v_n = (x[t] @ w_input.T + b_input).chunk(3, -1)`` and
    ``u_r, u_z, u_n = (bias + h[t - 1] @ W.T).chunk(3, -1)``, for every t::

        r, z = sigmoid(v_r + u_r), sigmoid(v_z + u_z)
        h[t] = (1 - z) * tanh(v_n + r * u_n) + z * h[t - 1]

    Beside its arguments, only ``h``, ``r``, ``z``, the candidate and ``u_n`` are kept for the
    backward pass, and without autograd not even these. With bfloat16, the ``h[t - 1]`` of
    ``z * h[t - 1]`` is not rounded.

    Args:
        x: ``[steps, batch, inputs]``; without ``w_input`` ``[steps, batch, 3 * hidden]``.
        h0: ``[batch, hidden]``, or None for zeros.
        bias: ``[3 * hidden]``, the bias of the recurrent product, or None.
        values: ``[nnz]``.
        pattern: the links of W, ``3 * hidden x hidden``: a block of rows for each gate.
        w_input: dense ``[3 * hidden, inputs]``, or None.
        b_input: ``[3 * hidden]``, the bias of the input's contribution, or None.
        batch_sizes: for sequences of different lengths.
        resets: where episodes begin.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or there is no step.
    """
    weights = bias, values, pattern, w_input, b_input
    return _reset_gated(_gru, x, h0, weights, batch_sizes, resets)


def mgu_step(v: Tensor, product: Product, state: States) -> States:
    """Compute one time step of an MGU: ``product(h)`` is ``h @ W.T + bias``."""
    (h,) = state
    (v_f, v_n), (u_f, u_n) = v.chunk(2, -1), product(h).chunk(2, -1)
    f = torch.sigmoid(v_f + u_f)
    return (torch.lerp(h, torch.tanh(v_n + f * u_n), f),)


@sequence_of(mgu_step)
def mgu(
    x: Tensor,
    h0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    w_input: Tensor | None = None,
    b_input: Tensor | None = None,
    batch_sizes: Tensor | None = None,
    resets: Tensor | None = None,
) -> tuple[Any, ...]:
    """Run minimal gated units (Zhou et al. 2016, arXiv 1603.09420) over whole sequences.

    With ``v_f, v_n = (x[t] @ w_input.T + b_input).chunk(2, -1)`` and
    ``u_f, u_n = (bias + h[t - 1] @ W.T).chunk(2, -1)``, for every t::

        f = sigmoid(v_f + u_f)
        h[t] = (1 - f) * h[t - 1] + f * tanh(v_n + f * u_n)

    The paper multiplies the state by f, ``(f * h[t - 1]) @ W_n.T``, and so has to wait for all of f
    before its second product. Here f multiplies the product, with its bias, as the reset gate of
    :class:`torch.nn.GRU` does, and one product of the state before is enough.

    Beside its arguments, only ``h``, ``f``, the candidate and ``u_n`` are kept for the backward
    pass, and without autograd only ``h``. Arguments, result, errors and bfloat16 are those of
    :func:`gru`, with two blocks of rows, of f and of the candidate, in place of three.
    """
    weights = bias, values, pattern, w_input, b_input
    return _reset_gated(_mgu, x, h0, weights, batch_sizes, resets)


def _reset_gated(
    run: Any,
    x: Tensor,
    h0: Tensor | None,
    weights: tuple[Any, ...],
    batch_sizes: Tensor | None,
    resets: Tensor | None,
) -> tuple[Any, ...]:
    bias, values, pattern, w_input, b_input = weights
    if b_input is not None and w_input is None:
        x, b_input = x + b_input, None
    x, h0 = activations(values, x, h0)
    options = batch_sizes, None, saves_for_backward(), resets
    x, w_input, b_input = multiplied(x, w_input, b_input)
    h, _, saved = run(x, w_input, b_input, h0, None, bias, values, [*pattern], None, *options)
    return h, saved


def reset_gates(saved: Tensor, batch_sizes: Tensor | None, gates: int) -> Tensor:
    """Return the first gate of all steps, of the shape of ``h``, from what a GRU or an MGU saves.

    The gradient of the candidate's recurrent contribution is that of its input's times this gate;
    all other gates share theirs.
    """
    steps = steps_of(saved, batch_sizes)
    first = [unfolded(each.reshape(-1, gates + 1, len(each))[:, 0]).T for each in steps]
    return joined(first, batch_sizes)


def on_lstm_step(v: Tensor, product: Product, state: States) -> States:
    """Compute one time step of an ordered-neurons LSTM: ``product(h)`` is ``h @ W.T``."""
    h, c = state
    hidden = c.shape[-1]
    chunks = (v.shape[-1] - 4 * hidden) // 2
    mi, mf, o, g, i, f = (v + product(h)).split([chunks] * 2 + [hidden] * 4, -1)
    master_i, master_f = (
        each.softmax(-1).cumsum(-1).repeat_interleave(hidden // chunks, -1) for each in (mi, mf)
    )
    master_i = 1 - master_i
    both = master_i * master_f
    forget = torch.sigmoid(f) * both + (master_f - both)
    c = forget * c + (torch.sigmoid(i) * both + (master_i - both)) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


@sequence_of(on_lstm_step)
def on_lstm(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    bias: Tensor | None,
    values: Tensor,
    pattern: Pattern,
    *,
    resets: Tensor | None = None,
) -> tuple[Any, ...]:
    """Run an ordered-neurons LSTM (Shen et al. 2019), whose master gates order its units.

    Units come in chunks of neighbours. With ``u = x[t] + bias + h[t - 1] @ W.T`` cut into
    ``mi, mf, o, g, i, f``, the first two of as many features as there are chunks, for every t::

        master_i = 1 - cumsum(softmax(mi)), master_f = cumsum(softmax(mf)), each repeated over
        its chunk, and both = master_i * master_f
        c[t] = (sigmoid(f) * both + master_f - both) * c[t - 1]
             + (sigmoid(i) * both + master_i - both) * tanh(g)
        h[t] = sigmoid(o) * tanh(c[t])

    Beside its arguments, only ``h``, ``c``, the four gates and both softmaxes are kept for the
    backward pass, and without autograd not even these. bfloat16 is as for :func:`lstm`.

    Arguments, results and errors are those of :func:`lstm`, with as many rows of x, of the bias
    and of W, ``2 * chunks + 4 * hidden``; W's shape tells the number of chunks.
    """
    x, h0 = activations(values, x, h0)
    c0 = None if c0 is None else as_sum(c0, values)
    h, c_n, *_ = _on_lstm(x, h0, c0, bias, values, [*pattern], saves_for_backward(), resets)
    return h, c_n, None


for _cell, _count in STATES.items():

    @fake(f"{_cell}_step")
    def _(x, layers, hidden, *, count=_count, **_):
        one = (*x.shape[:-1], hidden)
        return [x.new_empty(one), *(x.new_empty(layers, *one) for _ in range(count))]
