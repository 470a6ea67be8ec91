"""Recurrences with layer normalisation inside their time loop (Ba et al. 2016).

:mod:`sparse_engine.ops` describes what they have in common.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from sparse_engine.ops._dispatch.native import saves_for_backward
from sparse_engine.ops._dispatch.sequence import sequence_operation
from sparse_engine.ops._sequence import check_one_of, finite, sequence_of
from sparse_engine.ops.gated import ACTIVATIONS, check_clip, lstm_step, rnn_step
from sparse_engine.ops.pattern import Pattern
from sparse_engine.ops.sums import affine


class Norm(NamedTuple):
    """``gain * (u - mean(u)) / sqrt(var(u) + eps) + bias``, as :class:`torch.nn.LayerNorm` has it.

    Mean and variance, the mean squared deviation, are taken over the last dimension (Ba et al.
    2016).

    Attributes:
        gain: ``[features]``, or None for ones.
        bias: ``[features]``, or None for zeros.
        eps: at least 0.

    Example:
        >>> u = torch.randn(5, 2, 6)
        >>> h = normed_rnn(u, None, weight.values, weight.pattern, Norm(eps=1e-5))[0]
    """

    gain: Tensor | None = None
    bias: Tensor | None = None
    eps: float = 1e-5

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> Norm:
        """Return the normalisation of a module."""
        return cls(norm.weight, norm.bias, norm.eps)

    def plus(self, offset: Tensor) -> Norm:
        """Return the same normalisation with ``offset`` added to its results."""
        return self._replace(bias=offset if self.bias is None else self.bias + offset)

    def __call__(self, u: Tensor) -> Tensor:
        """Return ``u`` normalised; gradients have the same bits for any number of threads."""
        normalised = nn.functional.layer_norm(u, u.shape[-1:], eps=self.eps)
        return affine(normalised, self.gain, self.bias)


_normed_rnn = sequence_operation(
    "normed_rnn",
    lambda shapes: (shapes.every_step(shapes.hidden), shapes.kept(shapes.hidden), shapes.kept(1)),
)
_normed_lstm = sequence_operation(
    "normed_lstm",
    lambda shapes: (
        shapes.every_step(shapes.hidden),
        shapes.last_step(shapes.hidden),
        shapes.kept(5 * shapes.hidden),
        shapes.kept(3),
    ),
)


@sequence_of(rnn_step)
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
) -> tuple[Any, ...]:
    """Return ``h[t] = act(x[t] + norm(h[t - 1] @ W.T))`` for every t, ``h[-1] = h0``.

    ``norm`` is over the ``hidden`` features of ``h[t - 1] @ W.T``. The other arguments, the result
    and the errors are those of :func:`rnn`, without input weight and bias; a negative eps is an
    error, too. Beside its arguments, only ``h`` and what ``norm`` multiplies by its gain are kept
    for the backward pass, with one number more per column; without autograd only ``h``.

    Example:
        >>> states = normed_rnn(torch.ones(5, 2, 6), None, weight.values, weight.pattern, Norm())
    """
    check_one_of(ACTIVATIONS, "nonlinearity", nonlinearity)
    gain, bias, eps = norm
    options = batch_sizes, eps, ACTIVATIONS[nonlinearity], saves_for_backward(), resets
    return _normed_rnn(x, h0, gain, bias, values, [*pattern], *options)[0], None


@sequence_of(lstm_step)
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
) -> tuple[Any, ...]:
    """Run an LSTM with layer normalisation (Ba et al. 2016, equations 20 to 22).

    With ``i, f, g, o = (x[t] + norm(h[t - 1] @ W.T)).chunk(4, -1)``, for every t::

        c[t] = (sigmoid(f) * c[t - 1] + sigmoid(i) * tanh(g)).clamp(-cell_clip, cell_clip)
        h[t] = sigmoid(o) * tanh(c_norm(c[t]))

    ``norm`` is over the ``4 * hidden`` features of ``h[t - 1] @ W.T``, and ``c_norm`` over the
    ``hidden`` features of c, where h is made of it. The other arguments, the results and the errors
    are those of :func:`lstm`, without an input weight, a bias and a projection; a negative eps is
    an error, too. Beside its arguments, only ``h``, ``c`` and what ``norm`` multiplies by its gain
    are kept for the backward pass, with three numbers more per column; without autograd only ``h``.
    """
    check_clip(cell_clip)
    norms = *norm[:2], *c_norm[:2]
    options = batch_sizes, norm.eps, c_norm.eps, finite(cell_clip), saves_for_backward()
    h, c_n, *_ = _normed_lstm(x, h0, c0, *norms, values, [*pattern], *options, resets)
    return h, c_n, None
