"""Layers of language models: embedding, dropout of words and features, mixture of softmaxes."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from sparse_engine.errors import InputError, WordError
from sparse_engine.nn.linear import SparseLinear
from sparse_engine.nn.options import check_flag, check_fraction
from sparse_engine.nn.weight import SparseWeight


class SparseEmbedding(nn.Module):
    """:class:`torch.nn.Embedding` with a sparse weight: the vector of word i is row i.

    The weight may be that of a :class:`SparseLinear` which predicts words (tied weights, Press and
    Wolf 2017). A tied weight is one module: it is trained and rewired once, by the sum of the
    gradients of both uses.

    Args:
        weight: the ``num_embeddings x embedding_dim`` weight.

    Example:
        >>> decoder = SparseLinear(830, 10_000, density=0.47)
        >>> embedding = SparseEmbedding(decoder.weight)
        >>> embedding(torch.tensor([[3, 14], [15, 92]])).shape
        torch.Size([2, 2, 830])
    """

    def __init__(self, weight: SparseWeight) -> None:
        super().__init__()
        self.weight = weight

    @property
    def num_embeddings(self) -> int:
        """The size of the vocabulary."""
        return self.weight.shape[0]

    @property
    def embedding_dim(self) -> int:
        """The size of each vector."""
        return self.weight.shape[1]

    def reset_parameters(self) -> None:
        """Draw the values again by :meth:`SparseWeight.reset_parameters`."""
        self.weight.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """Return ``W[input]``, dense: the vectors ``[..., embedding_dim]`` of words of any shape.

        ``torch.compile`` breaks its graph here, because the number of links of the words depends on
        the data.

        Raises:
            WordError: a word outside the vocabulary.
            InputError: words that are not integers.
        """
        if input.is_floating_point() or input.is_complex() or input.dtype == torch.bool:
            raise InputError(f"expected words of an integer dtype, found {input.dtype}")
        wrong = (input < 0) | (input >= self.num_embeddings)
        if wrong.any():
            raise WordError(
                f"expected words in [0, {self.num_embeddings}), found {int(input[wrong][0])}"
            )
        weight, rows = self.weight, input.flatten()
        weight.refresh()
        counts = weight.fan_in()[rows]
        # For each link of all words in turn: its word, and its place among the links of the weight.
        word = torch.repeat_interleave(counts)
        skipped = (weight.crow_indices[rows] - counts.cumsum(0) + counts)[word]
        link = torch.arange(word.numel(), device=word.device) + skipped
        vectors = weight.values.new_zeros(rows.numel(), self.embedding_dim)
        at = word, weight.col_indices[link].long()
        vectors = vectors.index_put(at, weight.values.index_select(0, link))
        if weight.captured is not None and vectors.requires_grad:
            vectors.register_hook(partial(self._capture, rows))
        return vectors.view(*input.shape, self.embedding_dim)

    def _capture(self, rows: Tensor, dy: Tensor) -> None:
        """Capture the gradient of row i: the sum of dy where the input is word i."""
        self.weight.capture(dy, nn.functional.one_hot(rows, self.num_embeddings).to(dy.dtype))


class EmbeddingDropout(nn.Module):
    """Embedding that in training drops whole words, wherever they occur in the input.

    See Gal and Ghahramani 2016; AWD-LSTM has p = 0.1.

    Args:
        embedding: :class:`torch.nn.Embedding` or :class:`SparseEmbedding`.
        p: fraction of the vocabulary that each call drops, in [0, 1].

    Raises:
        ValueError: p out of range.

    Example:
        >>> EmbeddingDropout(nn.Embedding(50, 8), p=0.1)(torch.randint(50, (35, 20))).shape
        torch.Size([35, 20, 8])
    """

    def __init__(self, embedding: nn.Embedding | SparseEmbedding, p: float = 0.1) -> None:
        super().__init__()
        check_fraction("p", p)
        self.embedding = embedding
        self.dropout = nn.Dropout(p)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``embedding(input)``; in training some words are 0 and the others scaled."""
        vectors = self.embedding(input)
        if not self.training:
            return vectors
        mask = self.dropout(vectors.new_ones(self.embedding.num_embeddings))
        return vectors * mask[input].unsqueeze(-1)


class LockedDropout(nn.Dropout):
    """:class:`torch.nn.Dropout` with one mask for all time steps (Gal and Ghahramani 2016).

    Args:
        p: fraction of a sequence's features that is dropped, in [0, 1].
        batch_first: sequences are [batch, steps, features] instead of [steps, batch, features].

    Raises:
        ValueError: p out of range.
        TypeError: batch_first is no bool.

    Example:
        >>> LockedDropout(0.5)(torch.ones(35, 20, 64)).shape
        torch.Size([35, 20, 64])
    """

    def __init__(self, p: float = 0.5, *, batch_first: bool = False) -> None:
        check_fraction("p", p)
        check_flag("batch_first", batch_first)
        super().__init__(p)
        self.batch_first = batch_first

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input * mask / (1 - p)``, with one mask for all steps; in eval() the input."""
        if not self.training:
            return input
        shape = [*input.shape]
        shape[1 if self.batch_first and input.dim() == 3 else 0] = 1
        return input * super().forward(input.new_ones(shape))


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
