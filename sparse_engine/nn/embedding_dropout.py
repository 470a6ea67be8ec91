"""Dropout of whole words."""

from __future__ import annotations

from torch import Tensor, nn

from sparse_engine.nn._checks import check_fraction
from sparse_engine.nn.embedding import SparseEmbedding


class EmbeddingDropout(nn.Module):
    """Embedding that in training drops whole words, wherever they occur in the input.

    See Gal and Ghahramani 2016; AWD-LSTM has p = 0.1.

    Args:
        embedding: :class:`torch.nn.Embedding` or :class:`SparseEmbedding`.
        p: fraction of the vocabulary that each call drops, in [0, 1].

    Raises:
        ValueError: p out of range.
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
