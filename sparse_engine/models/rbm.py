"""Restricted Boltzmann machines with sparse weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparse_engine import ops
from sparse_engine.errors import InputError
from sparse_engine.models.feed_forward import check_std, layer_links
from sparse_engine.nn import SparseWeight


class SparseRBM(nn.Module):
    """Restricted Boltzmann machine of binary units with sparse weights (SET-RBM).

    Mocanu et al. 2018; for W of ``[hidden, visible]``, the energy of visible units v and hidden
    units h is ``-h^T W v - b^T h - c^T v``. All sums run over existing links. Visible inputs may
    be anything in [0, 1], such as grey levels.

    Args:
        visible: number of visible units.
        hidden: number of hidden units.
        density: fraction of the positions of W that hold a link, in (0, 1]; give this or
        epsilon: SET's size, ``epsilon * (visible + hidden)`` links.
        initial_std: standard deviation of the normal initial weights; the published one is 0.05.
        generator: source of randomness on the CPU.

    Attributes:
        weight: the :class:`SparseWeight` W.
        hidden_bias: Parameter ``[hidden]``, b, which starts at 0.
        visible_bias: Parameter ``[visible]``, c, which starts at 0.

    Raises:
        ValueError: an argument out of range, or not exactly one of density and epsilon.

    Example:
        >>> rbm = SparseRBM(784, 500, epsilon=11)
    """

    def __init__(
        self,
        visible: int,
        hidden: int,
        *,
        density: float | None = None,
        epsilon: float | None = None,
        initial_std: float = 0.05,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_std(initial_std)
        (links,) = layer_links([visible, hidden], density, epsilon)
        self.weight = SparseWeight.erdos_renyi(
            hidden, visible, density=links / (hidden * visible), generator=generator
        )
        with torch.no_grad():
            self.weight.values.normal_(std=initial_std, generator=generator)
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.visible_bias = nn.Parameter(torch.zeros(visible))

    def hidden_probabilities(self, v: Tensor) -> Tensor:
        """Return ``sigmoid(W v + b)``, ``[batch, hidden]``, for v of ``[batch, visible]``.

        Raises:
            InputError: another number of visible units, or another dtype.
        """
        return torch.sigmoid(self.weight(v, self.hidden_bias))

    def visible_probabilities(self, h: Tensor) -> Tensor:
        """Return ``sigmoid(W^T h + c)``, ``[batch, visible]``, for h of ``[batch, hidden]``.

        Raises:
            InputError: another number of hidden units, or another dtype.
        """
        hidden = self.weight.shape[0]
        if h.dim() != 2 or h.shape[1] != hidden or h.dtype != self.weight.dtype:
            raise InputError(
                f"expected hidden units of {self.weight.dtype} and shape [batch, {hidden}], found "
                f"{h.dtype} and shape {[*h.shape]}"
            )
        sums = ops.spmm_t(self.weight.values, self.weight.pattern, h.t()).t()
        return torch.sigmoid(sums + self.visible_bias)

    def free_energy(self, v: Tensor) -> Tensor:
        """Return ``F(v) = -c^T v - sum_i log(1 + exp((W v + b)_i))``, ``[batch]``.

        ``exp(-F(v))`` is the unnormalised probability of v, summed over all hidden states.

        Raises:
            InputError: another number of visible units, or another dtype.
        """
        sums = self.weight(v, self.hidden_bias)
        return -(v @ self.visible_bias) - functional.softplus(sums).sum(1)

    @torch.no_grad()
    def gibbs(self, v: Tensor, steps: int = 1, *, generator: torch.Generator | None) -> Tensor:
        """Return the visible units after some steps of the Markov chain, ``[batch, visible]``.

        In each step hidden units are drawn from their probabilities. Visible units are their
        probabilities, as in the published code, so the result of a step is less noisy than a
        sample.

        Args:
            v: visible units at the start, ``[batch, visible]``.
            steps: number of steps, at least 1.
            generator: source of randomness on the CPU.

        Raises:
            ValueError: less than one step.
            InputError: another number of visible units, or another dtype.
        """
        if steps < 1:
            raise ValueError(f"expected steps of at least 1, found {steps}")
        for _ in range(steps):
            h = torch.bernoulli(self.hidden_probabilities(v), generator=generator)
            v = self.visible_probabilities(h)
        return v

    def contrastive_divergence(
        self, v: Tensor, steps: int = 1, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return a loss whose gradient is that of contrastive divergence (CD-k, Hinton 2002).

        The loss is the mean of ``F(v) - F(v_k)`` over the batch, where ``v_k`` are the visible
        units after k steps of :meth:`gibbs`, held constant. Since ``dF/dW_ij = -p(h_i|v) v_j``,
        its gradient is exactly ``<p(h_i|v_k) v_kj> - <p(h_i|v) v_j>`` for each existing link, and
        alike for both biases. The loss itself is not what the gradient descends; see
        :meth:`reconstruct` for a measure of progress.

        Args:
            v: visible units, ``[batch, visible]``, in [0, 1].
            steps: k, at least 1.
            generator: source of randomness on the CPU; torch's global one by default.

        Raises:
            ValueError: less than one step.
            InputError: another number of visible units, or another dtype.
        """
        model = self.gibbs(v, steps, generator=generator)
        return (self.free_energy(v) - self.free_energy(model)).mean()

    def reconstruct(self, v: Tensor) -> Tensor:
        """Return visible probabilities given the hidden probabilities of v, ``[batch, visible]``.

        Nothing is drawn: ``sigmoid(W^T sigmoid(W v + b) + c)``.

        Raises:
            InputError: another number of visible units, or another dtype.
        """
        return self.visible_probabilities(self.hidden_probabilities(v))

    def forward(self, v: Tensor) -> Tensor:
        """Return :meth:`reconstruct` of v."""
        return self.reconstruct(v)
