"""Steps, lengths and limits, which all operations on whole sequences share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

#: ``product(h)`` returns the recurrent sums of a state, ``h @ W.T``.
Product = Callable[..., Any]


def steps_of(x: Tensor, batch_sizes: Tensor | None) -> Sequence[Tensor]:
    """Return ``x[t]`` for every t, of a tensor ``[steps, batch, features]`` or a packed one.

    A packed one is ``[rows, features]``, as the data of a
    :class:`torch.nn.utils.rnn.PackedSequence`: the rows of step t are those of the
    ``batch_sizes[t]`` sequences that are still running, the longest first.
    """
    return x.unbind() if batch_sizes is None else x.split(batch_sizes.tolist())


#: Devices whose kernels multiply by dense input weights.
MULTIPLYING = {"cpu", "meta"}


def multiplied(
    x: Tensor, w_input: Tensor | None, b_input: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the input and its dense weights, or their product alone where a kernel needs that.

    The product has the dtype of ``x``, whatever autocast says, as in the kernels that multiply.
    """
    if w_input is None or x.device.type in MULTIPLYING:
        return x, w_input, b_input
    b_input = None if b_input is None else b_input.to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return torch.nn.functional.linear(x, w_input.to(x.dtype), b_input), None, None


def set_back(state: Tensor, resets: Tensor | None, step: int) -> Tensor:
    """Return the state before a step, with zeros for the sequences whose episodes begin there.

    Args:
        state: ``[batch, features]``.
        resets: bool ``[steps, batch]``, or None where no episode begins.
        step: number of the step.
    """
    return state if resets is None else state.masked_fill(resets[step].unsqueeze(-1), 0)


def joined(states: Sequence[Tensor], batch_sizes: Tensor | None) -> Tensor:
    """Return one tensor of all steps, the inverse of :func:`steps_of`."""
    return torch.stack(tuple(states)) if batch_sizes is None else torch.cat(tuple(states))


def finite(clip: float | None) -> float | None:
    """Return a limit, or None if it is infinite: an exported program is JSON without infinities."""
    return None if clip == math.inf else clip


def batch_of(x: Tensor, batch_sizes: Tensor | None) -> int:
    """Return how many sequences there are."""
    return x.shape[1] if batch_sizes is None else int(batch_sizes[0])


def run_steps(
    step: Callable[..., tuple[Tensor, ...]],
    product: Product,
    v: Tensor,
    state: Iterable[Tensor],
    batch_sizes: Tensor | None = None,
    resets: Tensor | None = None,
    **of_steps: Tensor,
) -> tuple[Tensor, ...]:
    """Run a recurrence over whole sequences in plain torch, one step after the other.

    Args:
        step: ``step(v[t], product, state, **{name: each[t]})`` returns the states after step t, of
            which the first is the output.
        product: what the steps are given to multiply states by recurrent weights.
        v: ``[steps, batch, ...]``, or ``[rows, ...]`` with ``batch_sizes``.
        state: the initial states, ``[batch, ...]`` each.
        batch_sizes: those of a :class:`torch.nn.utils.rnn.PackedSequence`, or None.
        resets: bool ``[steps, batch]``, where an episode begins, or None.
        **of_steps: what each step reads beside v, ``[steps, ...]``.

    Returns:
        The outputs of all steps, and the final states.
    """
    state, outputs, ended = tuple(state), [], []
    for t, each in enumerate(steps_of(v, batch_sizes)):
        if batch_sizes is not None and len(each) < len(state[0]):
            ended.append([kept[len(each) :] for kept in state])
            state = tuple(kept[: len(each)] for kept in state)
        state = tuple(set_back(kept, resets, t) for kept in state)
        state = tuple(step(each, product, state, **{name: of[t] for name, of in of_steps.items()}))
        outputs.append(state[0])
    final = [torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True)]
    return joined(outputs, batch_sizes), *(final if ended else state)
