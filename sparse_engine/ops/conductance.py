"""Conductance synapses, by which links drive the membranes of their targets, and liquid units."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sparse_engine.errors import InputError
from sparse_engine.ops._autocast import activations, as_sum
from sparse_engine.ops._dispatch.sequence import sequence_operation, states_and_final
from sparse_engine.ops._sequence import States, sequence_of, with_reference
from sparse_engine.ops.pattern import Pattern


class Synapses(NamedTuple):
    """The parameters of conductance synapses, one entry for each link.

    At a source's potential ``x`` a synapse has the conductance
    ``g = values * sigmoid(sigma * (x - mu))`` and draws its target towards ``erev``.

    Attributes:
        values: ``[nnz]``, the greatest conductance W, at least 0.
        mu: ``[nnz]``, the potential at which half of it is open.
        sigma: ``[nnz]``, the slope there is ``sigma / 4``.
        erev: ``[nnz]``, the reversal potential.

    Example:
        >>> one = torch.ones(weight.nnz)
        >>> synapses = Synapses(values=one, mu=0.5 * one, sigma=5 * one, erev=one)
    """

    values: Tensor
    mu: Tensor
    sigma: Tensor
    erev: Tensor

    def dense_sums(self, x: Tensor, pattern: Pattern) -> tuple[Tensor, Tensor]:
        """Return what :func:`conductance` does, from dense matrices."""
        weight, mu, sigma, erev = (pattern.dense(each) for each in self)
        g = weight * torch.sigmoid(sigma * (x.unsqueeze(-2) - mu))
        return (g * erev).sum(-1), g.sum(-1)


_conductance = sequence_operation(
    "conductance", lambda shapes: (shapes.every_step(shapes.rows), shapes.every_step(shapes.rows))
)
_ltc = sequence_operation("ltc", states_and_final)


@with_reference(lambda x, synapses, pattern: synapses.dense_sums(x, pattern))
def conductance(x: Tensor, synapses: Synapses, pattern: Pattern) -> tuple[Tensor, Tensor]:
    """Return the sums over each target's links of ``g * erev`` and of ``g``, see :class:`Synapses`.

    With all parameters as dense matrices, ``g = W * sigmoid(sigma * (x.unsqueeze(-2) - mu))`` has
    an entry for every pair of units and every column; here none of them is stored. Differentiable
    once, in ``x`` and all parameters; nothing but the arguments is kept for the backward pass.

    Args:
        x: float32 or float64 ``[..., sources]``, potentials.
        synapses: the parameters of the links.
        pattern: the links, ``targets x sources``.

    Returns:
        The current ``sum g * erev`` (less what the target's own potential takes away, which is
        that potential times the conductance), and the conductance ``sum g``, each
        ``[..., targets]``.

    Raises:
        InputError: the shape of ``x`` does not fit.
        ValueError: a dtype or device does not fit.

    Example:
        >>> one = torch.ones(weight.nnz)
        >>> synapses = Synapses(one, one, one, one)
        >>> current, g = conductance(torch.rand(2, 6), synapses, weight.pattern)
    """
    targets, sources = pattern.shape
    if x.dim() == 0 or x.shape[-1] != sources:
        raise InputError(f"expected x of shape [..., {sources}], found {[*x.shape]}")
    flat = x.reshape(math.prod(x.shape[:-1]), sources)
    sums = _conductance(flat, *synapses, [*pattern])
    current, total = (each.reshape(*x.shape[:-1], targets) for each in sums)
    return current, total


def ltc_step(
    sums: Tensor, product: Callable[..., Any], state: States, *, cm: Tensor, unfolds: int
) -> States:
    """Compute one time step from the current and the conductance of the input and the leak.

    ``product`` returns the same two of synapses from potentials.
    """
    (v,), (current, conductance) = state, sums.chunk(2, -1)
    for _ in range(unfolds):
        i, g = product(v)
        v = (cm * v + current + i) / (cm + conductance + g)
    return (v,)


def _dense_loop(given: dict[str, Any]) -> dict[str, Any]:
    current, h0, synapses = given["current"], given["h0"], given["synapses"]
    return {
        "v": torch.cat([current, given["conductance"]], -1),
        "product": lambda v: synapses.dense_sums(v, given["pattern"]),
        "state": (current.new_zeros(current.shape[1:]) if h0 is None else h0,),
    }


@sequence_of(ltc_step, _dense_loop)
def ltc(
    current: Tensor,
    conductance: Tensor,
    h0: Tensor | None,
    cm: Tensor,
    synapses: Synapses,
    pattern: Pattern,
    *,
    unfolds: int = 6,
    resets: Tensor | None = None,
) -> tuple[Any, ...]:
    """Run liquid time-constant networks (Hasani et al. 2021) with their semi-implicit solver.

    From ``v = h[t - 1]``, each step repeats ``unfolds`` times::

        i, g = conductance(v, synapses, pattern)
        v = (cm * v + current[t] + i) / (cm + conductance[t] + g)

    and ``h[t]`` is the last ``v``. Beside its arguments, only ``h`` is kept for the backward pass,
    which repeats the unfolds of each step.

    With bfloat16, current, conductance, every ``h[t]`` and their gradients are rounded, and what is
    kept takes half the memory. It takes as long, as the logistic functions do: they and the
    potentials, from h0 on, are float32. The gradient of cm is the sum of ``n * (v' - v)`` over all
    unfolds, and one from a rounded ``v`` is known to within 2^-8 of ``v``: less exact where
    potentials hardly change.

    Args:
        current: ``[steps, batch, hidden]``, of the input and the leak.
        conductance: the same, of the input and the leak.
        h0: ``[batch, hidden]``, or None for zeros.
        cm: ``[hidden]``, capacitance over the time of one unfold.
        synapses: the parameters of the links.
        pattern: the links, ``hidden x hidden``.
        unfolds: number of solver steps of each time step, at least 1.
        resets: where episodes begin.

    Returns:
        ``h`` of shape ``[steps, batch, hidden]``.

    Raises:
        ValueError: a shape, dtype or device does not fit, or there is no step or unfold.
    """
    current, conductance = activations(cm, current, conductance)
    h0 = None if h0 is None else as_sum(h0, cm)
    h, h_n = _ltc(current, conductance, h0, cm, *synapses, [*pattern], unfolds, resets)
    return h, h_n if h.dtype != cm.dtype else h[-1]
