"""Embedding of words: their vectors are the rows of a sparse weight."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from sparse_engine.errors import InputError, WordError
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
        """Return ``W[input]``, dense.

        ``torch.compile`` breaks its graph here, because the number of links of the words depends on
        the data.

        Args:
            input: words, integers of any shape.

        Returns:
            Their vectors ``[..., embedding_dim]``.

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
