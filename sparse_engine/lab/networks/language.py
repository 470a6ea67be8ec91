"""Descriptions of word language models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from sparse_engine import nn as sparse
from sparse_engine.lab.networks.limits import check_size
from sparse_engine.lab.networks.recurrent import Network, layers_of
from sparse_engine.models.language_model import LanguageModel
from sparse_engine.nn import CELLS, SparseLinear, SparseWeight


@dataclass(frozen=True)
class LanguageNetwork(Network):
    """Description of a word language model: sizes, cell, sparse parts and dropout.

    The defaults are a network of Zaremba et al. (2014) with two layers of 650 units, in which every
    matrix is sparse as in Selfish-RNN (Liu et al., ICML 2021).
    """

    density: float = 0.33
    """Fraction of the sparse weights' positions that hold a link at the start, in (0, 1]."""
    dense: Literal["nothing", "words", "everything"] = "nothing"
    """Parts of the model that are layers of torch.nn: nothing, the embedding and the decoder, or,
    to compare with, every layer."""
    cell: Literal[tuple(CELLS)] = "lstm"  # type: ignore[valid-type]
    """Recurrent cell."""
    embedding: int = 650
    """Size of the words' vectors."""
    hidden: int = 650
    """Units of each layer."""
    last: int | None = None
    """Units of the last layer; by default as many as in the others."""
    layers: int = 2
    """Recurrent layers on top of each other."""
    tied: bool = False
    """Whether the decoder's weight is the embedding's."""
    experts: int = 1
    """Softmaxes in the mixture of the output; 1 is a plain softmax."""
    gain: float = 1.0
    """Scale of the initial recurrent weights, U(-g, g) / sqrt(fan-in); the square root of the
    density gives each link the value that it would have in a dense network of torch.nn."""
    word_bound: float = 0.1
    """Initial values of embedding and decoder are U(-b, b); published runs have 0.1 at any density,
    which leaves the signals of sparse networks small."""
    cell_options: Mapping[str, int | float | bool] = field(default_factory=dict)
    """Further options of the cell, such as chunk_size of on_lstm or recurrence_depth of rhn."""
    locked: bool = False
    """Whether each mask of dropped features is the same for all steps."""
    word_dropout: float = 0.0
    """Fraction of the vocabulary whose vectors are dropped."""
    input_dropout: float = 0.0
    """Fraction of the features of the words' vectors that is dropped."""
    between_dropout: float = 0.0
    """Fraction of the outputs between layers that is dropped."""
    output_dropout: float = 0.0
    """Fraction of the outputs of the last layer that is dropped."""
    expert_dropout: float = 0.0
    """Fraction of the experts' inputs to the decoder that is dropped."""
    link_dropout: float = 0.0
    """Fraction of the recurrent links that is dropped for a whole sequence."""
    activation_penalty: float = 0.0
    """Weight in the loss of the mean square of the outputs."""
    slowness_penalty: float = 0.0
    """Weight in the loss of the mean square of the change between successive outputs."""

    def language_model(
        self, vocabulary: int, *, generator: torch.Generator, positions: int = 1
    ) -> LanguageModel:
        """Make the model of a vocabulary of so many words; training keeps states of positions."""
        for name in ("embedding", "hidden", "last", "layers", "experts"):
            if (found := getattr(self, name)) is not None and found < 1:
                raise ValueError(f"expected {name} of at least 1, found {found}")
        check_size(self.hidden, self.density, positions)
        sizes = [self.embedding, *[self.hidden] * (self.layers - 1), self.last or self.hidden]
        decoder = self._head(sizes[-1], vocabulary, generator)
        words = decoder.decoder if isinstance(decoder, sparse.MixtureOfSoftmaxes) else decoder
        if self.tied and words.in_features != self.embedding:
            raise ValueError(
                "expected a last layer of as many units as the size of the words' vectors, "
                f"{self.embedding}, where the weights are tied, found {words.in_features}"
            )
        return LanguageModel(
            sparse.EmbeddingDropout(
                self._embedding(words, vocabulary, generator), self.word_dropout
            ),
            [self._layer(inputs, units, generator) for inputs, units in pairwise(sizes)],
            decoder,
            dropouts=(
                self._dropout(self.input_dropout),
                self._dropout(self.between_dropout),
                self._dropout(self.output_dropout),
            ),
            activation_penalty=self.activation_penalty,
            slowness_penalty=self.slowness_penalty,
        )

    def _dropout(self, p: float) -> nn.Module:
        return sparse.LockedDropout(p) if self.locked else nn.Dropout(p)

    def _layer(self, inputs: int, units: int, generator: torch.Generator) -> nn.Module:
        density = 1.0 if self.dense == "everything" else self.density
        layer: nn.Module = layers_of(
            self.cell,
            inputs,
            units,
            gain=self.gain,
            density=density,
            input_density=density,
            generator=generator,
            **self.cell_options,
        )
        if self.dense == "everything":
            if CELLS[self.cell].cell.dense_type is None:
                known = ", ".join(name for name, cell in CELLS.items() if cell.cell.dense_type)
                raise ValueError(
                    f"expected a cell that torch.nn has, one of {known}, where everything is "
                    f"dense, found {self.cell}"
                )
            layer = cast(sparse.Recurrent, layer).to_dense()
        return sparse.DropConnect(layer, self.link_dropout) if self.link_dropout else layer

    def _linear(
        self, inputs: int, outputs: int, generator: torch.Generator, *, bias: bool = True
    ) -> nn.Linear | SparseLinear:
        if self.dense == "nothing":
            return SparseLinear(
                inputs, outputs, bias, density=self.density, gain=self.gain, generator=generator
            )
        linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)
        for parameter in linear.parameters():
            nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=generator)
        return linear

    def _head(
        self, inputs: int, vocabulary: int, generator: torch.Generator
    ) -> nn.Linear | SparseLinear | sparse.MixtureOfSoftmaxes:
        features = inputs if self.experts == 1 else self.embedding
        decoder = self._linear(features, vocabulary, generator)
        self._draw(decoder.weight, generator)
        nn.init.zeros_(decoder.bias)
        if self.experts == 1:
            return decoder
        return sparse.MixtureOfSoftmaxes(
            self._linear(inputs, self.experts, generator, bias=False),
            self._linear(inputs, self.experts * features, generator),
            decoder,
            dropout=self._dropout(self.expert_dropout),
        )

    def _embedding(
        self, decoder: nn.Linear | SparseLinear, vocabulary: int, generator: torch.Generator
    ) -> nn.Embedding | sparse.SparseEmbedding:
        if self.tied:
            weight = decoder.weight
        else:
            weight = self._linear(self.embedding, vocabulary, generator, bias=False).weight
            self._draw(weight, generator)
        if isinstance(weight, SparseWeight):
            return sparse.SparseEmbedding(weight)
        embedding = nn.utils.skip_init(nn.Embedding, vocabulary, self.embedding)
        embedding.weight = cast(nn.Parameter, weight)
        return embedding

    def _draw(self, weight: Tensor | SparseWeight, generator: torch.Generator) -> None:
        values = weight.values if isinstance(weight, SparseWeight) else weight
        nn.init.uniform_(values, -self.word_bound, self.word_bound, generator=generator)
