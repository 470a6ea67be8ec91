"""The recurrent highway network over whole sequences.

:mod:`sparse_engine.ops` describes what the operations on sequences have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sparse_engine.ops._autocast import activations, as_sum
from sparse_engine.ops._dispatch.native import saves_for_backward
from sparse_engine.ops._dispatch.sequence import Shapes, sequence_operation
from sparse_engine.ops._sequence import Product, States, sequence_of
from sparse_engine.ops.pattern import TENSORS, Pattern


def rhn_step(
    v: Tensor, product: Product, state: States, *, depth: int, mask: Tensor | None = None
) -> States:
    """Compute one time step in plain torch: ``product(s, l)`` is ``s @ R[l].T + bias[l]``."""
    (s,) = state
    for level in range(depth):
        u = product(s if mask is None else mask * s, level)
        u = u + v[level] if level < len(v) else u
        h, t, *c = u.split(s.shape[1], -1)
        t = torch.sigmoid(t)
        s = torch.tanh(h) * t + s * (torch.sigmoid(c[0]) if c else 1 - t)
    return (s,)


def _dense_loop(given: dict[str, Any]) -> dict[str, Any]:
    pairs = zip(given["values"], given["patterns"], strict=True)
    weights = [pattern.dense(values) for values, pattern in pairs]
    given["depth"] = len(weights)
    x, s0, bias = given["x"], given["s0"], given["bias"]

    def product(s: Tensor, level: int) -> Tensor:
        u = s @ weights[level].T
        return u if bias is None else u + bias[level]

    start = x.new_zeros(x.shape[2], weights[0].shape[1]) if s0 is None else s0
    return {"v": x, "product": product, "state": (start,)}


@sequence_of(rhn_step, _dense_loop)
def rhn(
    x: Tensor,
    s0: Tensor | None,
    mask: Tensor | None,
    bias: Tensor | None,
    values: Sequence[Tensor],
    patterns: Sequence[Pattern],
    *,
    resets: Tensor | None = None,
) -> tuple[Any, ...]:
    """Run a recurrent highway network (Zilly et al. 2017), whose steps have several levels.

    With ``s = s0`` at first, for every t, and in it for every level l::

        u = (mask * s) @ R[l].T + bias[l]  (+ x[t, l] where the input enters l)
        h, t, c = tanh(u_0), sigmoid(u_1), sigmoid(u_2)  for (u_0, u_1, u_2) = u.chunk(3, -1)
        s = h * t + s * c

    or, where the weights have two blocks of rows, ``c = 1 - t``: coupled gates. The output of step
    t is s behind the last level.

    Differentiable in x, s0, bias and values. Beside its arguments, only h, t (c) and s of each
    level and step are kept for the backward pass, and without autograd not even these. With
    bfloat16, s is carried through levels and steps in float32, and the mask is float32.

    Args:
        x: ``[steps, levels, batch, blocks * hidden]``, the input's contribution
            to the first so many levels; the published network has one there.
        s0: ``[batch, hidden]``, or None for zeros.
        mask: ``[batch, hidden]``, what the state is multiplied with before it is multiplied by a
            weight, the same at all steps; a constant. None for ones.
        bias: ``[depth, blocks * hidden]``, or None.
        values: a list with ``[nnz]`` values for each level.
        patterns: a list with the links of R for each level, ``blocks * hidden x hidden``, 2 or 3
            blocks.
        resets: where episodes begin.

    Returns:
        The states behind the last level, ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or there is no step or level.
    """
    if not len(values) == len(patterns) > 0:
        raise ValueError(
            "expected values and a pattern for each of at least one level, found "
            f"{len(values)} and {len(patterns)}"
        )
    for each in values:
        if each.dim() != 1:
            raise ValueError(f"expected values of shape [nnz], found {[*each.shape]}")
        if (each.dtype, each.device) != (values[0].dtype, values[0].device):
            raise ValueError(
                f"expected values of dtype {values[0].dtype} on one device, {values[0].device}, "
                f"found {each.dtype} on {each.device}".replace("torch.", "")
            )
    links = torch.cat([*values]) if len(values) > 1 else values[0]
    mask = None if mask is None else as_sum(mask, links)
    x, s0 = activations(links, x, s0)
    tensors = [tensor for pattern in patterns for tensor in pattern]
    y, saved = _rhn(x, s0, mask, bias, links, tensors, saves_for_backward(), resets)
    return y, saved[..., -y.shape[2] :].detach()


def _results(shapes: Shapes) -> tuple[Tensor, Tensor]:
    (steps, _, batch, rows), x = shapes.first.shape, shapes.first
    kept = (steps, _depth(shapes), batch, rows + shapes.hidden)
    saved = x.new_empty(kept) if shapes.given["keep"] else shapes.nothing()
    return x.new_empty(steps, batch, shapes.hidden), saved


def _depth(shapes: Shapes) -> int:
    return len(shapes.given["pattern"]) // TENSORS


def _x_gradient(shapes: Shapes) -> Tensor:
    if not shapes.given["wants_x"]:
        return shapes.nothing()
    (steps, batch, _), fed = shapes.first.shape, shapes.given["fed"]
    return shapes.first.new_empty(steps, fed, batch, shapes.rows)


def _s0_gradient(shapes: Shapes) -> Tensor:
    dy = shapes.first
    return dy.new_empty(dy.shape[1:]) if shapes.given["wants_s0"] else shapes.nothing()


_rhn = sequence_operation(
    "rhn",
    _results,
    gradients={
        "x": _x_gradient,
        "s0": _s0_gradient,
        "bias": lambda shapes: shapes.values(_depth(shapes), shapes.rows),
    },
    constants={"fed": lambda x, *_: x.shape[1]},
)
