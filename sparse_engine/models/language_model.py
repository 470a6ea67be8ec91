"""Word language model: embedding, recurrent layers, and a distribution over the next word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparse_engine.nn import MixtureOfSoftmaxes, SparseLinear


class Hidden(NamedTuple):
    """Outputs and states of the recurrent layers of a :class:`LanguageModel`.

    Attributes:
        outputs: outputs of the last layer, ``[steps, batch, features]``.
        dropped: the same after dropout.
        state: the final state of each layer, see :meth:`LanguageModel.forward`.
    """

    outputs: Tensor
    dropped: Tensor
    state: tuple[Tensor, ...]


class LanguageModel(nn.Module):
    """Recurrent network that predicts the next word of a text.

    Words pass through an embedding, recurrent layers of any sizes with dropout before, between and
    after them, and a decoder, whose log-probabilities are normalised over the vocabulary.
    :class:`sparse_engine.lab.networks.LanguageNetwork` makes those of Liu et al. (ICML 2021).

    Args:
        embedding: module from words ``[steps, batch]`` to vectors.
        layers: networks of one layer and one direction, time first, each with inputs of the size
            of the outputs before it. A network may be sparse, in a :class:`DropConnect`, or one of
            :mod:`torch.nn`.
        decoder: layer from the last layer's outputs to one value for each word of the vocabulary,
            or a :class:`MixtureOfSoftmaxes`.
        dropouts: the modules that drop the vectors of words, the outputs between layers, and the
            outputs of the last layer; None for no dropout.
        activation_penalty: weight in the training loss of the mean square of the last layer's
            outputs after dropout (Merity et al. 2017).
        slowness_penalty: weight in the training loss of the mean square of the difference between
            successive outputs of the last layer before dropout (Merity et al. 2017).

    Example:
        >>> model = LanguageModel(
        ...     nn.Embedding(10_000, 650),
        ...     [SparseLSTM(650, 650, density=0.33, input_density=0.33)],
        ...     SparseLinear(650, 10_000, density=0.33),
        ... )
        >>> log_p, state = model(words)
        >>> log_p, state = model(later_words, state)
    """

    def __init__(
        self,
        embedding: nn.Module,
        layers: Iterable[nn.Module],
        decoder: nn.Linear | SparseLinear | MixtureOfSoftmaxes,
        *,
        dropouts: tuple[nn.Module, nn.Module, nn.Module] | None = None,
        activation_penalty: float = 0.0,
        slowness_penalty: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(layers)
        self.decoder = decoder
        self.dropouts = nn.ModuleList(dropouts or [nn.Identity() for _ in range(3)])
        self.activation_penalty = activation_penalty
        self.slowness_penalty = slowness_penalty

    def forward(
        self, words: Tensor, state: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return log-probabilities of the next words, and the state after the last word.

        Args:
            words: integers ``[steps, batch]``.
            state: the state after the words before these, of the same batch; zeros by default. It
                has one tensor for each layer, ``[states of the cell, batch, features]``, which for
                an LSTM are h and c.

        Returns:
            Log-probabilities ``[steps, batch, vocabulary]``, and the state.
        """
        run = self.run(words, state)
        return self.log_probabilities(run.dropped), run.state

    def loss(
        self, words: Tensor, following: Tensor, state: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the mean cross-entropy of the following words in nats, and the state.

        In training mode the penalties are added to it.

        Args:
            words: integers ``[steps, batch]``.
            following: the word after each word, of the same shape.
            state: the state before the words, as in :meth:`forward`.
        """
        run = self.run(words, state)
        log_p = self.log_probabilities(run.dropped)
        loss = nn.functional.nll_loss(log_p.flatten(0, 1), following.flatten())
        if self.training and self.activation_penalty:
            loss = loss + self.activation_penalty * run.dropped.square().mean()
        if self.training and self.slowness_penalty and len(words) > 1:
            loss = loss + self.slowness_penalty * run.outputs.diff(dim=0).square().mean()
        return loss, run.state

    def run(self, words: Tensor, state: Sequence[Tensor] | None = None) -> Hidden:
        """Run the embedding and the recurrent layers, with dropout, over words."""
        on_input, between, on_output = self.dropouts
        outputs = on_input(self.embedding(words))
        ends = []
        for number, layer in enumerate(self.layers):
            x = between(outputs) if number else outputs
            # Networks with a single state take a tensor, the others a tuple.
            start = None if state is None else state[number]
            if start is not None and len(start) > 1:
                start = start.split(1)
            outputs, end = layer(x, start)
            ends.append(torch.cat(end) if isinstance(end, tuple) else end)
        return Hidden(outputs, on_output(outputs), tuple(ends))

    def log_probabilities(self, outputs: Tensor) -> Tensor:
        """Return log-probabilities ``[..., vocabulary]`` of outputs of the last layer."""
        decoded = self.decoder(outputs)
        return decoded if isinstance(self.decoder, MixtureOfSoftmaxes) else decoded.log_softmax(-1)
