"""Output layer that mixes several softmaxes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparse_engine.nn.linear import SparseLinear


class MixtureOfSoftmaxes(nn.Module):
    """Mixture of softmaxes (Yang et al. 2018): log-probabilities of a higher rank than logits.

    With K experts, ``p = sum_k prior_k softmax(decoder(h_k))``, where ``prior = softmax(P x)`` and
    ``h_1, ..., h_K`` are the blocks of ``tanh(L x)``. The result is ``log p``, computed in
    logarithms throughout, for :func:`torch.nn.functional.nll_loss`.

    The parts are dense or sparse layers. The decoder's weight may be tied to an embedding's, whose
    vectors are then as long as each ``h_k``.

    Args:
        prior: the layer P, from the hidden state to the K experts.
        latent: the layer L, from the hidden state to K blocks of the decoder's inputs.
        decoder: the layer from a block to the vocabulary.
        dropout: module applied to ``tanh(L x)``, such as a :class:`LockedDropout`, or None.

    Raises:
        ValueError: latent's outputs are not K blocks of the decoder's inputs.

    Example:
        >>> head = MixtureOfSoftmaxes(
        ...     nn.Linear(620, 15, bias=False), nn.Linear(620, 15 * 280), nn.Linear(280, 10_000)
        ... )
        >>> log_p = head(torch.randn(70, 12, 620))
    """

    def __init__(
        self,
        prior: nn.Linear | SparseLinear,
        latent: nn.Linear | SparseLinear,
        decoder: nn.Linear | SparseLinear,
        *,
        dropout: nn.Module | None = None,
    ) -> None:
        super().__init__()
        experts, inputs = prior.out_features, decoder.in_features
        if latent.out_features != experts * inputs:
            raise ValueError(
                f"expected latent of {experts} x {inputs} outputs, those of prior times the inputs "
                f"of decoder, found {latent.out_features}"
            )
        self.prior, self.latent, self.decoder = prior, latent, decoder
        self.dropout = nn.Identity() if dropout is None else dropout

    def forward(self, input: Tensor) -> Tensor:
        """Return log-probabilities ``[..., vocabulary]`` of hidden states ``[..., hidden]``."""
        h = self.dropout(torch.tanh(self.latent(input)))
        h = h.unflatten(-1, (self.prior.out_features, -1))
        log_prior = self.prior(input).log_softmax(-1).unsqueeze(-1)
        return torch.logsumexp(log_prior + self.decoder(h).log_softmax(-1), -2)
