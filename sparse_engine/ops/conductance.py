"""Conductance synapses: what links drive through the membranes of their targets."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sparse_engine.errors import InputError
from sparse_engine.ops._sequence_operation import sequence_operation
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
    """
    targets, sources = pattern.shape
    if x.dim() == 0 or x.shape[-1] != sources:
        raise InputError(f"expected x of shape [..., {sources}], found {[*x.shape]}")
    flat = x.reshape(math.prod(x.shape[:-1]), sources)
    sums = _conductance(flat, *synapses, [*pattern])
    current, total = (each.reshape(*x.shape[:-1], targets) for each in sums)
    return current, total


def conductance_ref(x: Tensor, synapses: Synapses, pattern: Pattern) -> tuple[Tensor, Tensor]:
    """Compute :func:`conductance` in plain torch, as its reference implementation."""
    return synapses.dense_sums(x, pattern)


_conductance = sequence_operation(
    "conductance", lambda shapes: (shapes.every_step(shapes.rows), shapes.every_step(shapes.rows))
)
