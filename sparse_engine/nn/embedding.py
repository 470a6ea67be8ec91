"""Vectors of words as rows of a sparse weight."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from sparse_engine.errors import InputError, WordError
from sparse_engine.nn.weight import SparseWeight


class SparseEmbedding(nn.Module):
    """:class:`torch.nn.Embedding` of which only the links exist: word i is row i of the weight.

    Its weight may be that of a :class:`SparseLinear` which predicts words (tied weights, Press and
    Wolf 2017). As a module that is used twice, it is trained and rewired once, by what both need.

    Args:
        weight: ``num_embeddings x embedding_dim``.

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
        """Draws the values again: :meth:`SparseWeight.reset_parameters` of the weight."""
        self.weight.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """``W[input]``, dense: integers of any shape, words, to ``[..., embedding_dim]``.

        How many links the words have is known only when it runs: ``torch.compile`` breaks its graph
        here.

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
        # Link by link of all words: which word it belongs to, and its place among all links.
        word = torch.repeat_interleave(counts)
        skipped = (weight.crow_indices[rows] - counts.cumsum(0) + counts)[word]
        link = torch.arange(word.numel(), device=word.device) + skipped
        vectors = weight.values.new_zeros(rows.numel(), self.embedding_dim)
        at = word, weight.col_indices[link].long()
        vectors = vectors.index_put(at, weight.values.index_select(0, link))
        if weight.factors is not None and vectors.requires_grad:
            vectors.register_hook(partial(self._note, rows))
        return vectors.view(*input.shape, self.embedding_dim)

    def _note(self, rows: Tensor, dy: Tensor) -> None:
        """The gradient of row i is the sum of dy over the places of word i."""
        self.weight.note(dy, nn.functional.one_hot(rows, self.num_embeddings).to(dy.dtype))
