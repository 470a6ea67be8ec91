"""FLOPs of the operations, for :class:`torch.utils.flop_counter.FlopCounterMode`.

As torch does for its own operations, only products count: two FLOPs for each link and column that
it meets, and for each entry of a dense weight inside the operation. Pointwise equations count
nothing, nor do the conductances of liquid time-constant networks, whose sums are of sigmoids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from sparse_engine.ops._dispatch.native import native

CROW, T_CROW = 0, 2
GATED = ("lstm", "gru", "mgu")
NORMED = ("normed_rnn", "normed_lstm", "on_lstm")
CONTINUOUS = ("ctrnn", "rate_rnn")


def _count(*tensors: Tensor | None) -> int:
    return sum(tensor.numel() for tensor in tensors if tensor is not None)


def _positions(states: Tensor, pattern: Sequence[Tensor]) -> int:
    """Return the steps times the sequences of states, which are what W reads."""
    return states.numel() // max(1, pattern[T_CROW].numel() - 1)


def _products(*names: str) -> Any:
    return register_flop_formula([getattr(native, name) for name in names], get_raw=True)


@_products("spmm", "spmm_t")
def _product(values: Tensor, pattern: Sequence[Tensor], x: Tensor, *_: Any, **__: Any) -> int:
    return 2 * values.numel() * x.shape[1]


@_products("sddmm")
def _sampled(pattern: Sequence[Tensor], a: Tensor, b: Tensor, **_: Any) -> int:
    return 2 * pattern[1].numel() * a.shape[1]


@_products("linear_backward")
def _both(values: Tensor, pattern: Sequence[Tensor], x: Tensor, dy: Tensor, **_: Any) -> int:
    return 4 * values.numel() * x.shape[1]


@_products("rnn_forward")
def _rnn(x: Tensor, w_input: Tensor | None, h0: Any, bias: Any, values: Tensor,
         pattern: Sequence[Tensor], *_: Any, out_val: Any, **__: Any) -> int:  # fmt: skip
    return 2 * _positions(out_val, pattern) * _count(values, w_input)


@_products("rnn_backward")
def _rnn_backward(dh: Tensor, h: Tensor, x: Tensor | None, h0: Any, values: Tensor,
                  pattern: Sequence[Tensor], batch_sizes: Any, activation: int, wants_x: bool,
                  wants_values: bool, *_: Any, **__: Any) -> int:  # fmt: skip
    return 2 * _positions(h, pattern) * (values.numel() * (1 + wants_values) + _dense(x, pattern))


@_products(*(f"{name}_forward" for name in GATED))
def _gated(x: Tensor, w_input: Tensor | None, b_input: Any, h0: Any, c0: Any, bias: Any,
           values: Tensor, pattern: Sequence[Tensor], p_values: Tensor | None, *_: Any,
           out_val: Any, **__: Any) -> int:  # fmt: skip
    return 2 * _positions(out_val[0], pattern) * _count(values, w_input, p_values)


@_products(*(f"{name}_backward" for name in GATED))
def _gated_backward(dh: Tensor, dc_n: Any, h: Tensor, saved: Tensor, x: Tensor | None, h0: Any,
                    c0: Any, values: Tensor, pattern: Sequence[Tensor], p_values: Tensor | None,
                    batch_sizes: Any, clip: Any, wants_x: bool, wants_values: bool,
                    wants_p_values: bool, *_: Any, **__: Any) -> int:  # fmt: skip
    links = values.numel() * (1 + wants_values) + _count(p_values) * (1 + wants_p_values)
    return 2 * _positions(h, pattern) * (links + _dense(x, pattern))


def _dense(x: Tensor | None, pattern: Sequence[Tensor]) -> int:
    """Return the entries of the dense input weight whose gradient an operation takes itself."""
    return 0 if x is None else x.shape[-1] * (pattern[CROW].numel() - 1)


@_products(*(f"{name}_forward" for name in (*NORMED, "rhn")))
def _one_product(*inputs: Any, out_val: Any, **_: Any) -> int:
    values, pattern = _links(inputs)
    return 2 * _positions(out_val[0], pattern) * values.numel()


@_products(*(f"{name}_backward" for name in (*NORMED, "rhn")))
def _one_product_backward(dh: Tensor, *inputs: Any, out_val: Any, **_: Any) -> int:
    values, pattern = _links(inputs)
    wants_values = next(each for each in reversed(inputs) if isinstance(each, bool))
    return 2 * _positions(dh, pattern) * values.numel() * (1 + wants_values)


@_products(*(f"{name}_forward" for name in CONTINUOUS))
def _integrated(x: Tensor, h0: Any, dt: Any, rate: Any, values: Tensor, pattern: Sequence[Tensor],
                nodes: Any, weights: Sequence[float], unfolds: int, *_: Any,
                **__: Any) -> int:  # fmt: skip
    return 2 * _positions(x, pattern) * values.numel() * len(weights) * unfolds


@_products(*(f"{name}_backward" for name in CONTINUOUS))
def _integrated_backward(dh: Tensor, dh_n: Any, h: Any, x: Tensor, h0: Any, dt: Any, rate: Any,
                         values: Tensor, pattern: Sequence[Tensor], nodes: Any,
                         weights: Sequence[float], unfolds: int, clip: Any, activation: int,
                         wants_x: bool, wants_dt: bool, wants_values: bool,
                         *_: Any, **__: Any) -> int:  # fmt: skip
    """Count each stage that is computed once more, too."""
    visits = len(weights) * unfolds * (2 + wants_values)
    return 2 * _positions(x, pattern) * values.numel() * visits


def _links(inputs: Sequence[Any]) -> tuple[Tensor, Sequence[Tensor]]:
    """Return the values and the pattern among the inputs of an operation: the pattern is a list."""
    at = next(i for i, each in enumerate(inputs) if isinstance(each, list | tuple))
    return inputs[at - 1], inputs[at]
