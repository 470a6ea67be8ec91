"""Networks of firing rates over a whole sequence, in one operation each way."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import Unpack

from sparse_engine.ops.continuous import ContinuousOperation, Function, Method
from sparse_engine.ops.pattern import Pattern


def rate_rnn(
    x: Tensor,
    h0: Tensor | None,
    dt: Tensor,
    values: Tensor,
    pattern: Pattern,
    **method: Unpack[Method],
) -> Tensor:
    """Integrate ``dv/ds = rate * (x[t] - v + f(v) @ W.T)``, with ``x[t]`` held during step t.

    The potential form of a network of firing rates ``f(v)``. Steps, derivatives, bfloat16 and the
    other arguments are those of :func:`sparse_engine.ops.ctrnn`, with potentials v for its h.

    Args:
        x: ``[steps, batch, hidden]``, the input's contribution and the bias.
        h0: the initial potentials ``[batch, hidden]``, or None for zeros.
        dt: ``[steps, batch]``, the length of one unfold.
        values: ``[nnz]``.
        pattern: the links of the ``hidden x hidden`` weight W.
        **method: by name, rate, ``[hidden]``, one over the time constants; nonlinearity, f:
            "tanh" (the default), "relu", "softplus" or "sigmoid"; unfolds, solver, clip and resets.

    Returns:
        ``v`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, there is no step, or an argument is out
            of its range.
    """
    return rate_rnn_and_final(x, h0, dt, values, pattern, **method)[0]


def _field(product: Function, f: Function, x: Tensor, v: Tensor, rate: Tensor | None) -> Tensor:
    return (0 if rate is None else rate) * (x - v + product(f(v)))


rate_rnn_and_final = ContinuousOperation("rate_rnn", _field)
rate_rnn_ref = rate_rnn_and_final.reference
