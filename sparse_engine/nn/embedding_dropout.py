"""Dropout of whole words."""

from __future__ import annotations

from torch import Tensor, nn

from sparse_engine.nn.embedding import SparseEmbedding


class EmbeddingDropout(nn.Module):
    """An embedding that in training drops whole words wherever they occur.

    Gal and Ghahramani 2016; AWD-LSTM has p = 0.1.

    Args:
        embedding: :class:`torch.nn.Embedding` or :class:`SparseEmbedding`.
        p: the share of the vocabulary that each call drops, in [0, 1].
    """

    def __init__(self, embedding: nn.Embedding | SparseEmbedding, p: float = 0.1) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = nn.Dropout(p)

    def forward(self, words: Tensor) -> Tensor:
        """``embedding(words)``, in training with the vectors of some words 0 and others scaled."""
        vectors = self.embedding(words)
        if not self.training:
            return vectors
        mask = self.dropout(vectors.new_ones(self.embedding.num_embeddings))
        return vectors * mask[words].unsqueeze(-1)
